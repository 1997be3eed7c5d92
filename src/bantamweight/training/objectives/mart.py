"""MART: Wang et al. 2020, "Improving adversarial robustness requires revisiting misclassified examples"."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.training._inner import Crafted, Forward, Robust, Start, ascent, crafted, divergence
from bantamweight.training._values import Loss, Step
from bantamweight.types import Float, Images, Labels, Logits

__all__ = ["mart"]


def mart(
    label_smoothing: float,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    beta: Annotated[float, Field(ge=0, le=1000)] = 5.0,
    steps: Annotated[int, Field(ge=1, le=1000)] = 10,
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "random",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    pace: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Robust:
    """Boosted cross-entropy on x', and the more wrong x itself is, the more the answers on x and x' must agree.

    BCE(f(x'), y) + beta KL(f(x) || f(x')) (1 - p_y(x)), where BCE adds -log(1 - the largest other p) to cross-entropy.
    Choose it where many images are not learnt even clean. The attack maximises cross-entropy, the net being in eval
    mode as in the paper's code. `rate` is the step in pixels; None means eps / 4. `growth` is a schedule that
    multiplies eps, `pace` one that multiplies `steps`. Raises InputError for a threat without an eps, or with one above
    1 in L-inf.
    """
    how = ascent("mart", threat, steps=steps, rate=rate, share=0.25, start=start, mode="eval", growth=growth, pace=pace)

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        return crafted(how, module, images, labels, step)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:
        natural, adversarial = forward(images).float(), forward(worst).float()
        boosted = cross_entropy(adversarial, labels, label_smoothing=label_smoothing) + _others(adversarial, labels)
        own = natural.softmax(dim=1).gather(1, labels[:, None])[:, 0]
        total = boosted + beta * (divergence(natural, adversarial) * (1 - own)).mean()
        return Loss(total, adversarial, scale=2 + beta)

    return Robust(craft, weigh, how.probe, how.eps)


def _others(logits: Logits, labels: Labels) -> Float[Tensor, ""]:
    """The mean of -log(1 - p of the likeliest wrong class), from logits: finite however sure the net is."""
    wrong = logits.scatter(1, labels[:, None], -torch.inf).argmax(dim=1, keepdim=True)
    rest = logits.scatter(1, wrong, -torch.inf).logsumexp(dim=1)
    return (logits.logsumexp(dim=1) - rest).mean()
