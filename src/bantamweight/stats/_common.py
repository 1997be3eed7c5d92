"""What the statistics share: checked inputs and the interval."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np
from scipy.stats import norm

from bantamweight.errors import InputError

Values = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """Two ends of a confidence interval, in the unit of the estimate."""

    low: float
    high: float


class Ratio(NamedTuple):
    """A ratio with its interval; above 1 the numerator is the larger."""

    value: float
    low: float
    high: float


def count(value: SupportsIndex) -> int:
    """A whole number of things, or InputError."""
    try:
        whole = operator.index(value)
    except TypeError:
        raise InputError(f"expected a whole count, got {value}; no experiment gives part of an image") from None
    if whole < 0:
        raise InputError(f"expected a count of 0 or more, got {whole}")
    return whole


def share(k: SupportsIndex, n: SupportsIndex) -> tuple[int, int]:
    """`k` of `n` as counted, or InputError where no experiment gives that."""
    part, total = count(k), count(n)
    if part > total or total == 0:
        raise InputError(f"expected 0 <= k <= n and n > 0, got {part} of {total}")
    return part, total


def numbers(values: Values, *, finite: bool = True) -> np.ndarray:
    """A non-empty list of numbers as an array, or InputError."""
    array = np.asarray(list(values), dtype=float)
    if array.ndim != 1 or array.size == 0:
        raise InputError(f"expected a list of numbers, got shape {array.shape}")
    if np.isnan(array).any() or (finite and np.isinf(array).any()):
        raise InputError("expected finite numbers, got NaN or infinity; leave out what was not measured")
    return array


def axis(xs: Sequence[float], size: int) -> np.ndarray:
    """Positions along which a trend is sought, or InputError."""
    x = numbers(xs)
    if x.size != size or np.ptp(x) == 0:
        raise InputError(f"expected {size} values of x of which two differ, got {list(xs)}")
    return x


def tail(confidence: float) -> float:
    """The probability left outside on each side."""
    if not 0 < confidence < 1:
        raise InputError(f"expected a confidence in (0, 1), got {confidence}; 0.95 is usual")
    return (1 - confidence) / 2


def normal_quantile(confidence: float) -> float:
    """How many standard deviations hold that confidence, both sides."""
    return float(norm.isf(tail(confidence)))
