"""Knowledge distillation: Hinton, Vinyals, Dean 2015, "Distilling the knowledge in a neural network", section 2."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from bantamweight.training._values import Loss, Objective, Step
from bantamweight.types import Images, Labels

__all__ = ["distill"]


def distill(
    label_smoothing: float,
    teacher: nn.Module,
    *,
    temperature: Annotated[float, Field(gt=0, le=100)] = 4.0,
    weight: Annotated[float, Field(ge=0, le=1)] = 0.9,
) -> Objective:
    """Answer as the teacher does: `weight` of T^2 KL(teacher || student) at temperature T, the rest on the labels.

    Use it after a cut, with the dense parent as the teacher. The divergence shrinks like 1 / T^2, so T^2 keeps the two
    terms in proportion whatever T is. The teacher sees the same augmented images, in eval mode and in float32.
    """

    def objective(module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:  # noqa: ARG001
        logits = module(images)
        own = logits.float()
        with torch.no_grad():
            told = log_softmax(teacher(images).float() / temperature, dim=1)
        soft = kl_div(log_softmax(own / temperature, dim=1), told, reduction="batchmean", log_target=True)
        hard = cross_entropy(own, labels, label_smoothing=label_smoothing)
        total = weight * temperature**2 * soft + (1 - weight) * hard
        return Loss(total, logits, scale=max(1.0, weight * temperature**2 + 1 - weight))

    return objective
