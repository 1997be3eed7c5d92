"""Interleaved timings -> facts: latency with its spread, and speed-up over the dense variant in the same rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bantamweight import machine as machines
from bantamweight.errors import InputError, near
from bantamweight.facts import Fact
from bantamweight.stats import mean_interval, median_interval, ratio_interval

__all__ = ["PROTOCOL", "latency_facts"]

PROTOCOL = "interleaved in shuffled rounds after warm-ups; untimed calls of the same model before each timed one"

Seconds = Mapping[tuple[str, str], Mapping[int, np.ndarray]]


def latency_facts(
    seconds: Seconds,
    *,
    threads: int,
    dense: Mapping[str, str] | None = None,
    machine: str | None = None,
    versions: str | None = None,
    protocol: str = PROTOCOL,
    **columns: Any,
) -> list[Fact]:
    """Facts latency_ms (median, order-statistic interval), latency_mean_ms, latency_sd_ms, latency_p95_ms, speedup.

    `seconds` maps (variant, runtime) to seconds per batch size, round by round. `dense` says which variant each is
    compared with on the same runtime (default: the first step of its name, `resnet/l1-0.5` with `resnet`); no
    speed-up is stated where that one was not timed. All are measured facts; n is the number of timed calls.
    Raises InputError for times that are not positive and for a `dense` that was not timed.
    """
    stamp = {
        **columns,
        "origin": "measured",
        "protocol": protocol,
        "threads": threads,
        "machine": str(machines.describe()) if machine is None else machine,
        "versions": machines.versions() if versions is None else versions,
    }
    facts: list[Fact] = []
    for (variant, runtime), by_batch in seconds.items():
        other = _other(variant, runtime, seconds, dense)
        for batch, taken in by_batch.items():
            labels = {**stamp, "variant": variant, "runtime": runtime, "batch": int(batch)}
            facts += _spread(np.asarray(taken, dtype=float) * 1e3, labels)
            if other is not None:
                facts.append(_speedup(seconds[other, runtime][batch], taken, {**labels, "other": other}))
    return facts


def _other(variant: str, runtime: str, seconds: Seconds, dense: Mapping[str, str] | None) -> str | None:
    """The variant to be compared with, when there is one."""
    other = (dense or {}).get(variant, variant.partition("/")[0])
    if other == variant:
        return None
    if (other, runtime) not in seconds:
        if variant in (dense or {}):
            timed = [name for name, on in seconds if on == runtime]
            raise InputError(f"{variant!r} can't be compared with {other!r} on {runtime}{near(other, timed)}")
        return None
    return other


def _spread(taken_ms: np.ndarray, labels: Mapping[str, Any]) -> list[Fact]:
    """Median, mean, standard deviation and 95th percentile (linear between order statistics)."""
    if taken_ms.ndim != 1 or taken_ms.size == 0 or not (taken_ms > 0).all():
        raise InputError(f"expected positive times, one per run, got {taken_ms.size} of which some are not")
    middle, around = median_interval(taken_ms), mean_interval(taken_ms)
    shared = {**labels, "kind": "time", "unit": "ms", "n": int(taken_ms.size)}
    low, high = middle or (None, None)
    facts = [Fact(metric="latency_ms", value=float(np.median(taken_ms)), low=low, high=high, **shared)]
    low, high = around or (None, None)
    facts.append(Fact(metric="latency_mean_ms", value=float(taken_ms.mean()), low=low, high=high, **shared))
    if taken_ms.size > 1:
        facts.append(Fact(metric="latency_sd_ms", value=float(taken_ms.std(ddof=1)), **shared))
    facts.append(Fact(metric="latency_p95_ms", value=float(np.percentile(taken_ms, 95)), **shared))
    return facts


def _speedup(dense: np.ndarray, variant: np.ndarray, labels: Mapping[str, Any]) -> Fact:
    """How many times faster than the dense variant: the median over rounds of the ratio within a round."""
    ratio = ratio_interval(dense, variant)
    return Fact(
        metric="speedup", kind="ratio", value=ratio.value, low=ratio.low, high=ratio.high, n=len(variant), **labels
    )
