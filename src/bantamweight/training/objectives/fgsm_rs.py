"""FGSM with a random start: Wong, Rice, Kolter 2020, "Fast is better than free", algorithm 3.

The guard is that of Li, Wang, Jana, Carin 2020, "Towards understanding fast adversarial training": where
robustness against many steps is lost while one step still seems harmless, train with PGD until it is back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.training._inner import Ascent, Crafted, Forward, Robust, Start, ascent, crafted, quietly
from bantamweight.training._values import Loss, Step
from bantamweight.types import Images, Labels

__all__ = ["fgsm_rs"]


def fgsm_rs(
    label_smoothing: float,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "random",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    every: Annotated[int, Field(ge=0)] = 50,
    steps: Annotated[int, Field(ge=2, le=1000)] = 10,
    gap: Annotated[float, Field(gt=0, le=1)] = 0.25,
    rows: Annotated[int, Field(ge=1)] = 64,
) -> Robust:
    """One step from a random point of the ball: robust training at twice the price of natural training.

    `rate` is the step in pixels; None means 1.25 eps. The net is attacked in training mode, as in the paper's code.
    At the first step of each epoch and after every `every` steps (0: never) the guard attacks `rows` images of the
    batch, the net being in eval mode: where the single step leaves an accuracy above PGD's (`steps` steps of
    2.5 eps / steps) by more than `gap`, robustness has been lost (catastrophic overfitting), and batches are attacked
    with that PGD until the next look finds it back; a row of the history counts those steps. `growth` is a schedule
    that multiplies eps. Raises InputError for a threat without an eps, or with one above 1 in L-inf.
    """
    fast = ascent("fgsm_rs", threat, steps=1, rate=rate, share=1.25, start=start, mode="train", growth=growth)
    slow = replace(fast.taking(steps, 2.5 / steps), start="random")
    guard = _Guard(fast, slow, every, gap, rows)

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        recovering, forwards, backwards = guard.lost(module, images, labels, step)
        made = crafted(slow if recovering else fast, module, images, labels, step)
        return Crafted(made.images, recovering, made.forwards + forwards, made.backwards + backwards)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:  # noqa: ARG001
        logits = forward(worst)
        return Loss(cross_entropy(logits.float(), labels, label_smoothing=label_smoothing), logits)

    return Robust(craft, weigh, slow.probe, fast.eps)


@dataclass
class _Guard:
    """Remembers its last verdict within an epoch and never beyond, so that a resumed training comes to the same."""

    fast: Ascent
    slow: Ascent
    every: int
    gap: float
    rows: int
    epoch: int = -1
    first: int = 0
    verdict: bool = False

    def lost(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> tuple[bool, int, int]:
        """Whether many steps fool the net where one does not, as of the last look; and what a look cost the net."""
        if not self.every:
            return False, 0, 0
        if step.epoch != self.epoch:
            self.epoch, self.first = step.epoch, step.step
        if (step.step - self.first) % self.every:
            return self.verdict, 0, 0
        some = slice(0, self.rows)
        at = replace(step, index=step.index[some])
        shares, forwards, backwards = [], 0, 0
        for how in (self.fast, self.slow):
            made = crafted(replace(how, mode="eval"), module, images[some], labels[some], at)
            with quietly(module, "eval", half=step.half) as forward, torch.no_grad():
                shares.append(float((forward(made.images).argmax(dim=1) == labels[some]).float().mean()))
            forwards, backwards = forwards + made.forwards + len(made.images), backwards + made.backwards
        self.verdict = shares[0] - shares[1] > self.gap
        return self.verdict, forwards, backwards
