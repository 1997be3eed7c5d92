"""What a method that only looks at answers takes for the class score."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from bantamweight.explainers._gradients import Make, answers, scores_in
from bantamweight.types import Float, Int

__all__ = ["Score", "scores_of"]

Score = Literal["probability", "logit"]


def scores_of(
    module: nn.Module, count: int, make: Make, classes: Int[Tensor, "n k"], rows: int, score: Score
) -> Float[Tensor, "n k"]:
    """Scores of made-up images for their classes, one row of `classes` per image; `rows` images exist at any time."""
    logits = answers(module, count, make, rows)
    told = torch.log_softmax(logits, dim=1).exp() if score == "probability" else logits
    return scores_in(told, classes)
