"""Scores of maps to facts: each with n and interval beside maps that know nothing, and the gate of the parameters.

`map_NAME` is a metric's mean over images, `map_NAME_gain` its paired difference from a baseline (positive is better),
`mprt_failed` the gate: the fact by which a method's maps are marked wherever they appear, without a value where the
images are too few to tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bantamweight.explainers.metrics._baselines import BASELINES
from bantamweight.explainers.metrics._core import Metric, Scores
from bantamweight.facts import Fact
from bantamweight.stats import holm, mean_interval, mean_of_shares, signed_rank
from bantamweight.types import Int64, Tensor

__all__ = ["GATE", "Table", "checked", "gain_facts", "gate_fact", "score_facts", "sentences"]

GATE = 0.5
"""The largest mean rank correlation with re-initialised models at which maps still pass for the trained model's.

Fixed beforehand: at a half, more of the order of the pixels would be the image's doing than the parameters'.
"""

Table = Mapping[tuple[str, str], Scores]
"""Scores by method and metric, of the same images in the same order."""


def score_facts(method: str, metric: Metric, found: Scores, classes: Int64[Tensor, " n"], **columns: Any) -> list[Fact]:
    """One metric of one method: the mean with its interval, and what the curve holds (IoU's best, MPRT's layers).

    `classes` are those the maps speak of, for metrics that are averaged class by class. Images without a score are left
    out and counted in the note. `columns` are further columns of Fact.
    """
    kept = np.isfinite(found.values)
    left_out = int((~kept).sum())
    note = f"{left_out} of {kept.size} images left out: {found.why}" if left_out else ""
    about = {"item": method, "n": int(kept.sum()), **columns}
    if not kept.any():
        return [Fact(metric=f"map_{metric.name}", kind="mean", value=None, note=note, **about)]
    value: float
    low: float | None
    high: float | None
    if metric.share:
        value, low, high = _by_class(found.values[kept], classes.numpy()[kept])
        note = "; ".join(text for text in ("mean over classes", note) if text)
    else:
        value = float(found.values[kept].mean())
        interval = mean_interval(found.values[kept])
        low, high = interval if interval else (None, None)
    facts = [Fact(metric=f"map_{metric.name}", kind="mean", value=value, low=low, high=high, note=note, **about)]
    return facts + _curve_facts(metric, found, kept, about)


def _by_class(hits: np.ndarray, classes: np.ndarray) -> tuple[float, float, float]:
    there = np.unique(classes)
    ks = [int(hits[classes == one].sum()) for one in there]
    value, (low, high) = mean_of_shares(ks, [int((classes == one).sum()) for one in there])
    return value, low, high


def _curve_facts(metric: Metric, found: Scores, kept: np.ndarray, about: Mapping[str, Any]) -> list[Fact]:
    if found.curve is None or metric.name not in ("iou", "mprt"):
        return []
    with np.errstate(invalid="ignore"):
        means = [float(np.nanmean(column)) if np.isfinite(column).any() else None for column in found.curve[kept].T]
    facts = []
    for place, (stop, value) in enumerate(zip(found.stops, means, strict=True)):
        named = {"step": stop} if isinstance(stop, float) else {"step": float(place + 1), "against": stop}
        facts.append(Fact(metric=f"map_{metric.name}_curve", kind="mean", value=value, **{**about, **named}))
    if metric.name == "iou":
        best = max(value for value in means if value is not None)
        facts.append(Fact(metric="map_iou_max", kind="score", value=best, **about))
    return facts


def gate_fact(method: str, found: Scores, **columns: Any) -> Fact:
    """Whether a method fails the check of the parameters on this model: 1 where it does, 0 where it passes.

    It passes when the whole interval of its mean correlation lies below `GATE` and fails when none of it does. Between
    the two, and with fewer than two images to compare, neither is shown: there is no value, and the note says why.
    """
    values = found.values[np.isfinite(found.values)]
    about = {"metric": "mprt_failed", "kind": "flag", "item": method, "n": int(values.size), **columns}
    if values.size < 2:
        note = f"{values.size} of {found.values.size} images have maps to compare, and an interval needs two"
        return Fact(value=None, note=note, **about)
    interval = mean_interval(values)
    assert interval is not None
    said = f"rank correlation {values.mean():.2f} [{interval.low:.2f}, {interval.high:.2f}] with re-initialised models"
    if interval.low < GATE <= interval.high:
        return Fact(value=None, note=f"{said}, on both sides of {GATE}; more images may tell", **about)
    failed = interval.low >= GATE
    return Fact(value=float(failed), note=f"{said}, {'not below' if failed else 'below'} {GATE}", **about)


class _Gain(NamedTuple):
    method: str
    metric: Metric
    baseline: str
    differences: np.ndarray


def gain_facts(methods: Sequence[str], metrics: Sequence[Metric], table: Table, **columns: Any) -> list[Fact]:
    """Each method against each baseline on the same images, metric by metric, in the direction that is good.

    Wilcoxon's signed ranks with Holm's correction over all methods and baselines of one metric.
    """
    facts = []
    for metric in metrics:
        if metric.better == "neither" or metric.name == "mprt":
            continue
        found = [gain for method in methods if (method, metric.name) in table for gain in _gains(method, metric, table)]
        ps = [signed_rank(gain.differences) for gain in found]
        facts += [_gain_fact(gain, p, adjusted, columns) for gain, p, adjusted in zip(found, ps, holm(ps), strict=True)]
    return facts


def _gains(method: str, metric: Metric, table: Table) -> list[_Gain]:
    sign = 1.0 if metric.better == "higher" else -1.0
    gains = []
    for baseline in BASELINES:
        if (baseline, metric.name) in table and baseline != method:
            difference = sign * (table[method, metric.name].values - table[baseline, metric.name].values)
            kept = difference[np.isfinite(difference)]
            if kept.size > 1:
                gains.append(_Gain(method, metric, baseline, kept))
    return gains


def _gain_fact(gain: _Gain, p: float, adjusted: float, columns: Mapping[str, Any]) -> Fact:
    interval = mean_interval(gain.differences)
    assert interval is not None
    return Fact(
        metric=f"map_{gain.metric.name}_gain",
        kind="score",
        value=float(gain.differences.mean()),
        low=interval.low,
        high=interval.high,
        n=int(gain.differences.size),
        item=gain.method,
        against=gain.baseline,
        p=p,
        p_adjusted=adjusted,
        note="positive is better",
        **columns,
    )


def sentences(facts: Sequence[Fact], *, alpha: float = 0.05) -> list[str]:
    """What the scores allow one to say, one sentence per method, in the order of the facts."""
    methods = list(dict.fromkeys(fact.item for fact in facts if fact.item and fact.item not in BASELINES))
    return [_sentence(method, [fact for fact in facts if fact.item == method], alpha) for method in methods]


def _sentence(method: str, facts: Sequence[Fact], alpha: float) -> str:
    undefined = next((fact for fact in facts if fact.metric == "explainer_undefined"), None)
    if undefined is not None:
        return f"{method} has no meaning for this model: {undefined.note}."
    gate = next((fact for fact in facts if fact.metric == "mprt_failed"), None)
    trust = "was not put to the check of the parameters" if gate is None else checked(gate)
    gains = [fact for fact in facts if fact.metric.endswith("_gain")]
    if not gains:
        return f"{method} {trust}; no score was compared with maps that know nothing."
    parts = []
    for metric in dict.fromkeys(fact.metric for fact in gains):
        mine = [fact for fact in gains if fact.metric == metric]
        parts.append(_against(metric.removeprefix("map_").removesuffix("_gain"), mine, alpha))
    return f"{method} {trust}; {'; '.join(parts)} (n = {min(fact.n or 0 for fact in gains)}, p < {alpha:g} after Holm)."


def checked(gate: Fact) -> str:
    """What the gate of a method allows one to say of its maps on this model."""
    if gate.value is None:
        return f"was not shown to pass the check of the parameters ({gate.note})"
    if gate.value:
        return "fails the check of the parameters, so its maps may not be read as what this model looks at"
    return "passes the check of the parameters"


def _against(name: str, gains: Sequence[Fact], alpha: float) -> str:
    """`deletion: better than random map, no difference shown from edge map`."""
    told: dict[str, list[str]] = {}
    for fact in gains:
        shown = fact.p_adjusted is not None and fact.p_adjusted < alpha
        verdict = "no difference shown from" if not shown else "better than" if (fact.value or 0) > 0 else "worse than"
        told.setdefault(verdict, []).append(f"the {fact.against.replace('_', ' ')}")
    return f"{name.replace('_', ' ')} " + ", ".join(
        f"{verdict} {' and '.join(others)}" for verdict, others in told.items()
    )
