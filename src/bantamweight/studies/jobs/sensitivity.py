"""Accuracy when one layer alone is cut, layer by layer and sparsity by sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from bantamweight.compression._core import prunable
from bantamweight.compression._sensitivity import sensitivity as readings
from bantamweight.facts import Fact, proportion
from bantamweight.predict import logits_of
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.variants import build

__all__ = ["sensitivity"]


def sensitivity(
    place: Place, *, criterion: dict[str, Any], sparsity: Sequence[float], n: int, split: str
) -> list[Fact]:
    """Facts sensitivity_accuracy, a proportion per layer (item) and sparsity (step; 0 is the uncut net)."""
    module = build(place.variant(), trust=place.trust)
    chosen = split_of(place, split)
    index = draw(len(chosen), n)
    images, labels = chosen.images[index], chosen.labels[index]
    total, seen = len(prunable(module)) * len(sparsity), 0

    def right(cut: nn.Module) -> int:
        nonlocal seen
        seen += 1
        place.tell(min(1.0, seen / total), "")
        return int((logits_of(cut, images).argmax(dim=1) == labels).sum())

    uncut = right(module)
    rows = readings(module, part(place, "compression", criterion), right, sparsities=sparsity)
    layers = dict.fromkeys(row.layer for row in rows)
    points = [(layer, 0.0, uncut) for layer in layers] + [(row.layer, row.sparsity, row.result) for row in rows]
    return [
        proportion("sensitivity_accuracy", k, len(labels), item=layer, step=step, split=split)
        for layer, step, k in points
    ]
