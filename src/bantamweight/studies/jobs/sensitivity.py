"""Accuracy when one layer alone is cut, or one group of channels, at each sparsity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from bantamweight.compression import compress_channels, coupled
from bantamweight.compression._core import ChannelCriterion, Criterion, prunable
from bantamweight.compression._sensitivity import sensitivity as readings
from bantamweight.facts import Fact, proportion
from bantamweight.predict import logits_of
from bantamweight.recipes._shown import evidence_of
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.variants import Variant, build

__all__ = ["sensitivity"]

Right = Callable[[nn.Module], int]
Evidence = Mapping[str, Tensor] | None


def sensitivity(
    place: Place, *, criterion: dict[str, Any], sparsity: Sequence[float], n: int, split: str
) -> list[Fact]:
    """Facts sensitivity_accuracy, a proportion per layer or group (item) and sparsity (step; 0 is the uncut net)."""
    variant, rule = place.variant(), part(place, "compression", criterion)
    chosen = split_of(place, split)
    index = draw(len(chosen), n)
    images, labels = chosen.images[index], chosen.labels[index]
    evidence = evidence_of(variant, rule, place.data, None, place.trust)
    total, seen = len(sparsity) * len(prunable(build(variant, trust=place.trust))), 0

    def right(cut: nn.Module) -> int:
        nonlocal seen
        seen += 1
        place.tell(min(1.0, seen / total), "")
        return int((logits_of(cut, images).argmax(dim=1) == labels).sum())

    uncut = right(build(variant, trust=place.trust))
    each = _groups if isinstance(rule, ChannelCriterion) else _layers
    rows = list(each(place, variant, rule, evidence, right, sparsity))
    points = [(name, 0.0, uncut) for name in dict.fromkeys(name for name, _, _ in rows)] + rows
    return [
        proportion("sensitivity_accuracy", k, len(labels), item=name, step=step, split=split)
        for name, step, k in points
    ]


def _layers(
    place: Place, variant: Variant, rule: Criterion, evidence: Evidence, right: Right, sparsity: Sequence[float]
) -> Iterator[tuple[str, float, int]]:
    module = build(variant, trust=place.trust)
    for row in readings(module, rule, right, sparsities=sparsity, evidence=evidence):
        yield row.layer, row.sparsity, row.result


def _groups(
    place: Place, variant: Variant, rule: ChannelCriterion, evidence: Evidence, right: Right, sparsity: Sequence[float]
) -> Iterator[tuple[str, float, int]]:
    """Every group that can be cut, by the share of its channels that goes."""
    for group in coupled(variant, trust=place.trust):
        for share in sparsity if not group.reason and group.size > 1 else ():
            cut, _ = compress_channels(
                variant,
                rule,
                target={"ratio": share},
                allocate="local",
                layers=[group.name],
                evidence=evidence,
                trust=place.trust,
            )
            yield group.name, share, right(build(cut, trust=place.trust))
