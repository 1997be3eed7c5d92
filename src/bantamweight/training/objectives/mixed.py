"""Natural and adversarial images in one batch: Kurakin et al. 2017, "Adversarial machine learning at scale", eq. 1."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.training._inner import Crafted, Forward, Robust, Start, ascent, crafted
from bantamweight.training._values import Loss, Step
from bantamweight.types import Images, Labels

__all__ = ["mixed"]


def mixed(
    label_smoothing: float,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    weight: Annotated[float, Field(ge=0, le=1)] = 0.5,
    steps: Annotated[int, Field(ge=1, le=1000)] = 1,
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "clean",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    pace: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Robust:
    """`weight` of the loss on adversarial images and the rest on the natural ones; to give up less clean accuracy.

    Both halves pass the net as one batch, so that batch norm sees both (section 3). `rate` is the step in pixels; None
    means eps for one step (FGSM, as in the paper) and 2.5 eps / steps for more. The net is attacked in training mode.
    `growth` is a schedule that multiplies eps, `pace` one that multiplies `steps`. Raises InputError for a threat
    without an eps, or above 1 in L-inf.
    """
    share = min(1.0, 2.5 / max(steps, 1))
    how = ascent(
        "mixed", threat, steps=steps, rate=rate, share=share, start=start, mode="train", growth=growth, pace=pace
    )

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        return crafted(how, module, images, labels, step)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:
        natural, adversarial = forward(torch.cat([images, worst])).chunk(2)
        plain = cross_entropy(natural.float(), labels, label_smoothing=label_smoothing)
        robust = cross_entropy(adversarial.float(), labels, label_smoothing=label_smoothing)
        return Loss((1 - weight) * plain + weight * robust, adversarial)

    return Robust(craft, weigh, how.probe, how.eps)
