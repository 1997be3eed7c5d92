"""Interleaved timings -> facts: latency with its spread, and speed-up over the dense variant in the same rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from bantamweight import machine as machines
from bantamweight.errors import InputError, near
from bantamweight.facts import Fact
from bantamweight.stats import mean_interval, median_interval, ratio_interval

__all__ = ["latency_facts", "over_facts"]

Seconds = Mapping[tuple[str, str], Mapping[int, np.ndarray]]
FEWEST = 6
"""Rounds below which an order-statistic interval of 95% does not exist."""


def latency_facts(
    seconds: Seconds,
    *,
    threads: int,
    dense: Mapping[str, str] | None = None,
    machine: str | None = None,
    versions: str | None = None,
    **columns: Any,
) -> list[Fact]:
    """Facts latency_ms (median), latency_mean_ms, latency_sd_ms, latency_p95_ms (n calls each) and speedup (n rounds).

    `seconds` maps (variant, runtime) to seconds per batch size, an array (rounds, calls) or one call per round. Calls
    of a round share what slowed them, so intervals are over rounds: order statistics of the rounds' medians, Student's
    of their means. The speed-up is the median over rounds of dense / variant, each the median of its round. `dense`
    says which variant each is compared with on the same runtime (default: the first step of its name, `resnet/l1-0.5`
    with `resnet`); no speed-up is stated where that one was not timed. All are measured facts. Raises InputError for
    times that are not positive and for a `dense` that was not timed.
    """
    stamp = {
        **columns,
        "origin": "measured",
        "threads": threads,
        "machine": str(machines.describe()) if machine is None else machine,
        "versions": machines.versions() if versions is None else versions,
    }
    facts: list[Fact] = []
    for (variant, runtime), by_batch in seconds.items():
        other = _other(variant, runtime, seconds, dense)
        for batch, taken in by_batch.items():
            table = _table(taken)
            labels = {
                "variant": variant,
                "runtime": runtime,
                "batch": int(batch),
                "protocol": _protocol(table),
                **stamp,
            }
            facts += _spread(table, labels)
            if other is not None:
                facts.append(_speedup(_table(seconds[other, runtime][batch]), table, {**labels, "other": other}))
    return facts


def over_facts(
    seconds: Seconds,
    over: tuple[str, str],
    *,
    threads: int,
    machine: str | None = None,
    versions: str | None = None,
    **columns: Any,
) -> list[Fact]:
    """speedup_over: how many times as fast each (variant, runtime) is as one of them, `over`, in the same rounds.

    `other` and `against` name its variant and its runtime: what a cut and another runtime come to together. Raises
    InputError when `over` was not timed.
    """
    if over not in seconds:
        raise InputError(f"{over[0]!r} on {over[1]} was not timed, so nothing can be compared with it")
    stamp = {
        **columns,
        "origin": "measured",
        "threads": threads,
        "machine": str(machines.describe()) if machine is None else machine,
        "versions": machines.versions() if versions is None else versions,
        "other": over[0],
        "against": over[1],
    }
    found = []
    for (variant, runtime), by_batch in seconds.items():
        for batch, taken in by_batch.items() if (variant, runtime) != over else ():
            table = _table(taken)
            labels = {**stamp, "variant": variant, "runtime": runtime, "batch": int(batch)}
            ratio = _speedup(_table(seconds[over][batch]), table, {**labels, "protocol": _protocol(table)})
            found.append(ratio.model_copy(update={"metric": "speedup_over"}))
    return found


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


def _table(seconds: np.ndarray) -> np.ndarray:
    """Milliseconds (rounds, calls in a round)."""
    table = np.asarray(seconds, dtype=float) * 1e3
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or table.size == 0 or not (np.isfinite(table) & (table > 0)).all():
        raise InputError(f"expected positive times (rounds, calls), got shape {table.shape} or times that are not")
    return table


def _protocol(table: np.ndarray) -> str:
    rounds, calls = table.shape
    return f"interleaved: {rounds} shuffled rounds of {calls} calls, each after untimed calls of the same model"


def _spread(table: np.ndarray, labels: Mapping[str, Any]) -> list[Fact]:
    """Median, mean, standard deviation and 95th percentile (linear between order statistics)."""
    shared = {**labels, "kind": "time", "unit": "ms", "n": int(table.size)}
    middle, around = float(np.median(table)), median_interval(np.median(table, axis=1))
    # The median of all calls can lie just outside what the rounds' medians span.
    low, high = (min(around.low, middle), max(around.high, middle)) if around else (None, None)
    facts = [Fact(metric="latency_ms", value=middle, low=low, high=high, **shared)]
    ends = mean_interval(table.mean(axis=1)) or (None, None)
    facts.append(Fact(metric="latency_mean_ms", value=float(table.mean()), low=ends[0], high=ends[1], **shared))
    if table.size > 1:
        facts.append(Fact(metric="latency_sd_ms", value=float(table.std(ddof=1)), **shared))
    facts.append(Fact(metric="latency_p95_ms", value=float(np.percentile(table, 95)), **shared))
    return facts


def _speedup(dense: np.ndarray, variant: np.ndarray, labels: Mapping[str, Any]) -> Fact:
    """How many times faster than the dense variant."""
    if len(dense) != len(variant):
        raise InputError(f"expected times of the same rounds, got {len(dense)} and {len(variant)} rounds")
    top, bottom = np.median(dense, axis=1), np.median(variant, axis=1)
    shared = {**labels, "metric": "speedup", "kind": "ratio", "n": len(variant)}
    if len(variant) < FEWEST:
        return Fact(value=float(np.median(top / bottom)), **shared)
    ratio = ratio_interval(top, bottom)
    return Fact(value=ratio.value, low=ratio.low, high=ratio.high, **shared)
