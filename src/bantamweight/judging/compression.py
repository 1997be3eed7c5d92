"""What a cut was asked for and what it reached -> facts. Counts are exact: they carry no interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bantamweight.errors import InputError
from bantamweight.facts import Fact

__all__ = ["histogram_facts", "share_facts", "target_facts"]

UNITS = {"size_bytes": "bytes", "latency_ms": "ms"}


def target_facts(
    kind: str,
    asked: float,
    reached: float,
    *,
    below: float | None = None,
    above: float | None = None,
    uncut: Mapping[str, str] | None = None,
    **columns: Any,
) -> list[Fact]:
    """target_asked and target_reached side by side (item = kind), and a flag `uncut` for each group left alone.

    `below` and `above` are the nearest points that could have been taken instead; the note says them.

    >>> [fact.value for fact in target_facts("macs", 0.5, 0.49, below=0.48)]
    [0.5, 0.49]
    """
    unit = UNITS.get(kind, "")
    origin: Any = "measured" if kind == "latency_ms" else "computed"
    beside = [f"{side:.6g}" for side in (below, above) if side is not None]
    note = f"the nearest other points: {', '.join(beside)}" if beside else ""
    common: dict[str, Any] = {"kind": "score", "item": kind, "unit": unit, **columns}
    return [
        Fact(metric="target_asked", value=asked, **common),
        Fact(metric="target_reached", value=reached, origin=origin, note=note, **common),
        *(Fact(metric="uncut", kind="flag", value=1.0, item=name, note=why, **columns) for name, why in _said(uncut)),
    ]


def _said(uncut: Mapping[str, str] | None) -> list[tuple[str, str]]:
    return sorted((uncut or {}).items())


def share_facts(costs: Mapping[str, int], dense: Mapping[str, int], **columns: Any) -> list[Fact]:
    """macs_share and parameters_share: a variant's counts over those of the dense net it descends from."""
    for name in costs:
        if dense.get(name, 0) <= 0:
            raise InputError(f"expected a positive count of {name} in the dense net, got {dense.get(name)}")
    return [
        Fact(metric=f"{name}_share", kind="score", value=count / dense[name], k=count, n=dense[name], **columns)
        for name, count in costs.items()
    ]


def histogram_facts(middles: np.ndarray, counts: np.ndarray, **columns: Any) -> list[Fact]:
    """weight_histogram: how many of the n weights that are not zero lie in the bin around `step`."""
    n = int(counts.sum())
    return [
        Fact(metric="weight_histogram", kind="count", value=float(count), n=n, step=float(middle), **columns)
        for middle, count in zip(middles, counts, strict=True)
    ]
