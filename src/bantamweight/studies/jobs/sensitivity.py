"""Accuracy when one layer alone is cut, layer by layer and sparsity by sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from bantamweight.compression import prunable
from bantamweight.compression import sensitivity as readings
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
    index = torch.from_numpy(draw(len(chosen), n))
    images, labels = chosen.images[index], chosen.labels[index]
    layers = list(prunable(module))
    judged = 0

    def right(net: nn.Module) -> int:
        nonlocal judged
        judged += 1
        place.tell(judged / (1 + len(layers) * len(sparsity)), "")
        return int((logits_of(net, images).argmax(dim=1) == labels).sum())

    uncut = right(module)
    counts = {(layer, 0.0): uncut for layer in layers}
    for row in readings(module, part(place, "compression", criterion), right, sparsities=sparsity):
        counts[row.layer, row.sparsity] = row.result
    return [
        proportion("sensitivity_accuracy", count, len(labels), item=layer, step=share, split=split)
        for (layer, share), count in counts.items()
    ]
