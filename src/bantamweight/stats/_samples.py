"""Measured values: medians, means, ratios of timings, rank correlation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from bantamweight.errors import InputError
from bantamweight.stats._common import Interval, Ratio, Values, normal_quantile, numbers, tail


class Correlation(NamedTuple):
    """A rank correlation, its interval and the two-sided p against none."""

    value: float
    low: float
    high: float
    p: float


def median_interval(values: Values, *, confidence: float = 0.95) -> Interval | None:
    """Two order statistics that hold the median, with no assumption on its distribution; None below 6 values.

    Infinity is a value like others (a run that never succeeded). At least the confidence asked, by the exact
    binomial. Source: Conover, Practical Nonparametric Statistics, 3rd ed., section 3.2.

    >>> median_interval(range(1, 11))
    Interval(low=2.0, high=9.0)
    """
    ordered = np.sort(numbers(values, finite=False))
    outside = tail(confidence)
    rank = int(stats.binom.ppf(outside, ordered.size, 0.5))
    if stats.binom.cdf(rank, ordered.size, 0.5) > outside:
        rank -= 1
    if rank < 0:
        return None
    return Interval(float(ordered[rank]), float(ordered[-1 - rank]))


def mean_interval(values: Values, *, confidence: float = 0.95) -> Interval | None:
    """Student's interval of a mean, for values like seeds' accuracies; None for a single value.

    >>> [round(end, 3) for end in mean_interval([0.66, 0.68, 0.67])]
    [0.645, 0.695]
    """
    sample = numbers(values)
    if sample.size < 2:
        return None
    half = stats.t.isf(tail(confidence), sample.size - 1) * sample.std(ddof=1) / math.sqrt(sample.size)
    return Interval(float(sample.mean() - half), float(sample.mean() + half))


def bootstrap_interval(
    values: Values,
    statistic: Callable[..., Any],
    seed: int,
    *,
    confidence: float = 0.95,
    resamples: int = 9999,
) -> Interval:
    """A seeded BCa interval of any statistic of one sample, where no closed form exists (a p95).

    `statistic` takes the values, and `axis` if it can be vectorised. A sample without spread gives a point.
    Source: Efron 1987, J. Am. Stat. Assoc. 82:171. Where BCa is undefined, the percentile interval.

    >>> bootstrap_interval([1, 2, 3, 4, 5, 6, 7], np.mean, 0, resamples=999).low > 1
    True
    """
    sample = numbers(values)
    if np.ptp(sample) == 0:
        point = float(statistic(sample))
        return Interval(point, point)
    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", stats.DegenerateDataWarning)
            low, high = stats.bootstrap(
                (sample,),
                statistic,
                n_resamples=resamples,
                confidence_level=confidence,
                method=method,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(float(low), float(high))


def ratio_interval(a: Values, b: Values, *, confidence: float = 0.95) -> Ratio:
    """The median of a[i] / b[i] over interleaved pairs, so drift cancels: the speed-up of b over a.

    Pairs count as independent; where speed wanders over many pairs the interval is too narrow. Raises InputError
    unless there are at least 6 pairs of positive numbers.

    >>> ratio_interval([2.0] * 8, [1.0] * 8)
    Ratio(value=2.0, low=2.0, high=2.0)
    """
    top, bottom = numbers(a), numbers(b)
    if top.size != bottom.size or (top <= 0).any() or (bottom <= 0).any():
        raise InputError(f"expected pairs of positive numbers, got {top.size} and {bottom.size} values")
    quotients = top / bottom
    interval = median_interval(quotients, confidence=confidence)
    if interval is None:
        raise InputError(f"expected at least 6 interleaved pairs, got {top.size}; time more runs")
    return Ratio(float(np.median(quotients)), interval.low, interval.high)


def spearman(a: Values, b: Values, *, confidence: float = 0.95) -> Correlation:
    """Rank correlation of two lists with an interval, for maps or rankings whose scale means nothing.

    Source: Bonett and Wright 2000, Psychometrika 65:23. Raises InputError below 4 pairs or without spread.

    >>> spearman([1, 2, 3, 4, 5], [1, 2, 3, 5, 4]).value
    0.9
    """
    left, right = numbers(a), numbers(b)
    if left.size != right.size or left.size < 4:
        raise InputError(f"expected at least 4 pairs, got {left.size} and {right.size} values")
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        raise InputError("expected values that vary, got a constant list; its correlation is undefined")
    result = stats.spearmanr(left, right)
    value = min(1.0, max(-1.0, round(float(result.statistic), 12)))
    if abs(value) == 1:
        return Correlation(value, value, value, float(result.pvalue))
    half = normal_quantile(confidence) * math.sqrt((1 + value * value / 2) / (left.size - 3))
    low, high = (math.tanh(math.atanh(value) + sign * half) for sign in (-1, 1))
    return Correlation(value, low, high, float(result.pvalue))
