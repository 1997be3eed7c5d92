"""Accuracy when one layer alone is cut, layer by layer and sparsity by sparsity."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bantamweight.compression._core import allocate, prunable, score
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
    weights = prunable(module)
    scores = score(module, part(place, "compression", criterion), weights)

    def right() -> int:
        return int((logits_of(module, images).argmax(dim=1) == labels).sum())

    uncut, facts = right(), []
    for number, (layer, weight) in enumerate(weights.items()):
        facts.append(proportion("sensitivity_accuracy", uncut, len(labels), item=layer, step=0.0, split=split))
        whole = weight.clone()
        for share in sparsity:
            mask = allocate({layer: scores[layer]}, share)[layer]
            weight.copy_(torch.where(mask, whole, 0))
            facts.append(proportion("sensitivity_accuracy", right(), len(labels), item=layer, step=share, split=split))
        weight.copy_(whole)
        place.tell((number + 1) / len(weights), layer)
    return facts
