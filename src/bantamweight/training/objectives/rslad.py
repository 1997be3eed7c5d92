"""RSLAD: Zi, Zhao, Ma, Jiang 2021, "Revisiting adversarial robustness distillation: robust soft labels make student
better", equation 5."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from bantamweight.errors import InputError
from bantamweight.parts import Part, Room
from bantamweight.training._inner import Crafted, Forward, Robust, Start, ascent, crafted, divergence
from bantamweight.training._taught import warned
from bantamweight.training._values import Loss, Step
from bantamweight.types import Images, Labels

__all__ = ["rslad"]


def rslad(
    label_smoothing: float,
    teacher: nn.Module,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    weight: Annotated[float, Field(ge=0, le=1)] = 5 / 6,
    steps: Annotated[int, Field(ge=1, le=1000)] = 10,
    rate: Annotated[float, Field(gt=0)] | None = None,
    start: Start = "noise",
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
    pace: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Robust:
    """Answer around each image as a robust teacher answers on it, whatever the label; for a small student.

    `weight` KL(T(x) || S(x')) + (1 - weight) KL(T(x) || S(x)); x' maximises the first, the net being in eval mode.
    `rate` is the step in pixels; None means eps / 4. `growth` is a schedule that multiplies eps, `pace` one that
    multiplies `steps`. A teacher that falls to an attack on the first batch is warned about: it has no robustness to
    teach. Raises InputError for a threat without an eps, and for label smoothing: no label is looked at.
    """
    if label_smoothing:
        raise InputError(f"rslad looks at no labels, got label_smoothing={label_smoothing:g}; leave it out")
    how = ascent(
        "rslad", threat, steps=steps, rate=rate, share=0.25, start=start, mode="eval", growth=growth, pace=pace,
        against="told answer",
    )  # fmt: skip
    checked = warned(teacher, how)

    def craft(module: nn.Module, images: Images, labels: Labels, step: Step) -> Crafted:
        checked(images, labels, step)
        with torch.no_grad():
            told = teacher(images).float()
        return crafted(how, module, images, labels, step, told)

    def weigh(forward: Forward, images: Images, worst: Images, labels: Labels) -> Loss:  # noqa: ARG001
        with torch.no_grad():
            told = teacher(images).float()
        natural, adversarial = forward(images).float(), forward(worst).float()
        around, on = divergence(told, adversarial).mean(), divergence(told, natural).mean()
        return Loss(weight * around + (1 - weight) * on, adversarial)

    return Robust(craft, weigh, how.probe, how.eps)
