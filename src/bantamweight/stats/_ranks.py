"""Paired values by rank, and means over strata: for scores whose scale is nobody's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy import stats

from bantamweight.errors import InputError
from bantamweight.stats._common import Interval, Values, numbers
from bantamweight.stats._proportions import wilson

__all__ = ["mean_of_shares", "signed_rank"]


def signed_rank(differences: Values, *, alternative: Literal["two-sided", "greater", "less"] = "two-sided") -> float:
    """p against paired differences that are symmetric about 0; "greater": they tend to be above it.

    Source: Wilcoxon 1945, Biometrics Bulletin 1:80; zeros keep their ranks and speak for neither side (Pratt 1959,
    J. Am. Stat. Assoc. 54:655). Differences that are all zero show nothing: p is 1.

    >>> signed_rank([1, 2, 3, 4, 5, 6], alternative="greater")
    0.015625
    """
    sample = numbers(differences)
    if not sample.any():
        return 1.0
    return float(stats.wilcoxon(sample, alternative=alternative, zero_method="pratt").pvalue)


def mean_of_shares(ks: Sequence[int], ns: Sequence[int], *, confidence: float = 0.95) -> tuple[float, Interval]:
    """The unweighted mean of several proportions (an accuracy per class), with its interval.

    The interval recovers each proportion's variance from its Wilson interval. Source: Zou, Huang, Zhang 2009, Comput.
    Stat. Data Anal. 53:1080. Raises InputError for counts no experiment can give.

    >>> value, interval = mean_of_shares([8, 3], [10, 6])
    >>> round(value, 2), [round(end, 3) for end in interval]
    (0.65, [0.43, 0.822])
    """
    if not ks or len(ks) != len(ns):
        raise InputError(f"expected as many counts as totals, got {len(ks)} and {len(ns)}")
    ends = [wilson(k, n, confidence=confidence) for k, n in zip(ks, ns, strict=True)]
    shares = np.array([k / n for k, n in zip(ks, ns, strict=True)])
    low, high = (np.array(column) for column in zip(*ends, strict=True))
    value = float(shares.mean())
    down = float(np.sqrt(((shares - low) ** 2).sum())) / len(shares)
    up = float(np.sqrt(((high - shares) ** 2).sum())) / len(shares)
    return value, Interval(max(0.0, value - down), min(1.0, value + up))
