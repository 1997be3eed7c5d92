"""PGD-AT: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks", equation 2.1."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.training._inner import Crafted, Forward, Robust, Start, ascent, crafted
from bantamweight.training._values import Loss, Step
from bantamweight.types import Images, Labels

__all__ = ["pgd_at"]


def pgd_at(
    label_smoothing: float,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    steps: Annotated[int, Field(ge=1, le=1000)] = 7,
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "random",
    mode: Literal["train", "eval"] = "train",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    pace: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Robust:
    """Train on the worst images that PGD finds and on nothing else; the standard way to a robust net.

    `rate` is the step in pixels; None means eps / 4 (the paper's 2/255 at 8/255, for 7 steps). The net is attacked in
    training mode, as the paper's code does; `mode="eval"` uses its running statistics and drops nothing out, which is
    faster here. `growth` is a schedule that multiplies eps, `pace` one that multiplies `steps`. Raises InputError for a
    threat without an eps, or with one above 1 in L-inf.
    """
    how = ascent("pgd_at", threat, steps=steps, rate=rate, share=0.25, start=start, mode=mode, growth=growth, pace=pace)

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        return crafted(how, module, images, labels, step)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:  # noqa: ARG001
        logits = forward(worst)
        return Loss(cross_entropy(logits.float(), labels, label_smoothing=label_smoothing), logits)

    return Robust(craft, weigh, how.probe, how.eps)
