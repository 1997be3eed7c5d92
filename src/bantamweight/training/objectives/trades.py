"""TRADES: Zhang et al. 2019, "Theoretically principled trade-off between robustness and accuracy", algorithm 1."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.training._inner import Crafted, Forward, Robust, Start, ascent, crafted, divergence
from bantamweight.training._values import Loss, Step
from bantamweight.types import Images, Labels

__all__ = ["trades"]


def trades(
    label_smoothing: float,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    beta: Annotated[float, Field(ge=0, le=1000)] = 6.0,
    steps: Annotated[int, Field(ge=1, le=1000)] = 10,
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "noise",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    pace: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Robust:
    """Be right on the image, and answer alike all around it: CE(f(x), y) + beta KL(f(x) || f(x')).

    Choose it to trade accuracy for robustness by one number, the paper's 1 / lambda. x' maximises the divergence, from
    x and noise of 0.001 (algorithm 1), the net being in eval mode as in the paper's code; the loss meets it in training
    mode, x and x' in passes of their own. `rate` is the step in pixels; None means eps / 4. `growth` is a schedule
    that multiplies eps, `pace` one that multiplies `steps`. Raises InputError for a threat without an eps, or with one
    above 1 in L-inf.
    """
    how = ascent(
        "trades", threat, steps=steps, rate=rate, share=0.25, start=start, mode="eval", growth=growth,
        pace=pace,         against="clean answer",
    )  # fmt: skip

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        return crafted(how, module, images, labels, step)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:
        natural, adversarial = forward(images).float(), forward(worst).float()
        right = cross_entropy(natural, labels, label_smoothing=label_smoothing)
        return Loss(right + beta * divergence(natural, adversarial).mean(), adversarial, scale=1 + beta)

    return Robust(craft, weigh, how.probe, how.eps)
