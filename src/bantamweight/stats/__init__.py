"""Intervals and tests for the numbers a report states.

Two variants judged on the same images are compared paired (`mcnemar`, `paired_interval`), never by looking at
whether two intervals overlap. `gained` counts the images that only the first variant gets right, `lost` those
that only the second gets right; the difference is (gained - lost) / n.
"""

from bantamweight.stats._common import Interval, Ratio
from bantamweight.stats._proportions import (
    Equivalence,
    Trend,
    clopper_pearson,
    detectable_difference,
    equivalence,
    fisher,
    holm,
    mcnemar,
    paired_interval,
    paired_ratio,
    paired_trend,
    trend,
    wilson,
)
from bantamweight.stats._samples import (
    Correlation,
    bootstrap_interval,
    mean_interval,
    median_interval,
    ratio_interval,
    spearman,
)

__all__ = [
    "Correlation",
    "Equivalence",
    "Interval",
    "Ratio",
    "Trend",
    "bootstrap_interval",
    "clopper_pearson",
    "detectable_difference",
    "equivalence",
    "fisher",
    "holm",
    "mcnemar",
    "mean_interval",
    "median_interval",
    "paired_interval",
    "paired_ratio",
    "paired_trend",
    "ratio_interval",
    "spearman",
    "trend",
    "wilson",
]
