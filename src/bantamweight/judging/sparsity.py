"""What a cut did and what its files weigh -> facts. Counts are exact: they carry no interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from bantamweight.errors import InputError
from bantamweight.facts import Fact

__all__ = ["Counted", "cost_facts", "size_facts", "sparsity_facts"]


class Counted(Protocol):
    """What `compression.compress` says it achieved, counted in the weights of the result."""

    @property
    def asked(self) -> float:
        """Share of zeros that was asked for among the prunable weights."""
        ...

    @property
    def zeros(self) -> int:
        """Zeros among those weights."""
        ...

    @property
    def weights(self) -> int:
        """How many those weights are."""
        ...

    @property
    def layers(self) -> Mapping[str, float]:
        """Share of zeros per weight tensor."""
        ...


def sparsity_facts(achieved: Counted, **columns: Any) -> list[Fact]:
    """sparsity_asked and sparsity side by side, and layer_sparsity (item = tensor); counts are `cost_facts`."""
    facts = [
        Fact(metric="sparsity_asked", kind="score", value=achieved.asked, **columns),
        Fact(
            metric="sparsity",
            kind="score",
            value=achieved.zeros / achieved.weights,
            k=achieved.zeros,
            n=achieved.weights,
            **columns,
        ),
    ]
    return facts + [
        Fact(metric="layer_sparsity", kind="score", value=share, item=layer, **columns)
        for layer, share in achieved.layers.items()
    ]


def cost_facts(costs: Mapping[str, int], **columns: Any) -> list[Fact]:
    """Exact counts by metric: parameters, nonzeros, macs."""
    for metric, count in costs.items():
        if count < 0:
            raise InputError(f"expected a count of 0 or more for {metric}, got {count}")
    return [Fact(metric=metric, kind="count", value=float(count), **columns) for metric, count in costs.items()]


def size_facts(sizes: Mapping[str, int], **columns: Any) -> list[Fact]:
    """size_bytes of each file format (item): dense_fp32, bitmap, onnx, gzip.

    >>> size_facts({"bitmap": 500}, variant="net/magnitude-0.8")[0].value
    500.0
    """
    for form, size in sizes.items():
        if size <= 0:
            raise InputError(f"expected a file size above 0 for {form}, got {size}")
    return [
        Fact(metric="size_bytes", kind="count", value=float(size), item=form, unit="bytes", **columns)
        for form, size in sizes.items()
    ]
