"""ARD: Goldblum, Fowl, Feizi, Goldstein 2020, "Adversarially robust distillation", equation 3."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.training._inner import Crafted, Forward, Robust, Start, ascent, crafted, divergence
from bantamweight.training._taught import warned
from bantamweight.training._values import Loss, Step
from bantamweight.types import Images, Labels

__all__ = ["ard"]


def ard(
    label_smoothing: float,
    teacher: nn.Module,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    weight: Annotated[float, Field(ge=0, le=1)] = 1.0,
    temperature: Annotated[float, Field(gt=0, le=100)] = 30.0,
    steps: Annotated[int, Field(ge=1, le=1000)] = 10,
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "random",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    pace: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Robust:
    """Answer at the attacked image as a robust teacher answers at the clean one, softened by `temperature`.

    `weight` T^2 KL(T(x) || S(x')) at temperature T, and the rest on the labels of the clean images. x' maximises the
    student's cross-entropy, the net being in eval mode. `rate` is the step in pixels; None means eps / 4. `growth`
    is a schedule that multiplies eps, `pace` one that multiplies `steps`. A teacher that falls to an attack on the
    first batch is warned about: it has no robustness to teach. Raises InputError for a threat without an eps.
    """
    how = ascent("ard", threat, steps=steps, rate=rate, share=0.25, start=start, mode="eval", growth=growth, pace=pace)
    checked = warned(teacher, how)

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        checked(images, labels, step)
        return crafted(how, module, images, labels, step)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:
        with torch.no_grad():
            told = teacher(images).float() / temperature
        adversarial = forward(worst).float()
        soft = divergence(told, adversarial / temperature).mean()
        total = weight * temperature**2 * soft
        if weight < 1:
            natural = forward(images).float()
            total = total + (1 - weight) * cross_entropy(natural, labels, label_smoothing=label_smoothing)
        return Loss(total, adversarial, scale=max(1.0, weight * temperature**2 + 1 - weight))

    return Robust(craft, weigh, how.probe, how.eps)
