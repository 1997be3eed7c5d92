"""Cross-entropy with label smoothing: Szegedy et al. 2016, "Rethinking the Inception architecture", section 7."""

from __future__ import annotations

from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.training._values import Loss, Objective, Step
from bantamweight.types import Images, Labels

__all__ = ["standard"]


def standard(label_smoothing: float) -> Objective:
    """Natural training: mean cross-entropy against (1 - s) one-hot + s / k, with s the label smoothing."""

    def objective(module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:  # noqa: ARG001
        logits = module(images)
        return Loss(cross_entropy(logits.float(), labels, label_smoothing=label_smoothing), logits)

    return objective
