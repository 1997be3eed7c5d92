"""Intervals and tests for the numbers a report states.

Two variants judged on the same images are compared paired (`mcnemar`, `paired_interval`), never by looking at
whether two intervals overlap. `gained` counts the images that only the first variant gets right, `lost` those
that only the second gets right; the difference is (gained - lost) / n.
"""

from bantamweight.stats._agreement import fleiss_kappa, krippendorff_alpha
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
    most_of,
    paired_interval,
    paired_ratio,
    paired_trend,
    trend,
    wilson,
)
from bantamweight.stats._ranks import mean_of_shares, signed_rank
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
    "fleiss_kappa",
    "holm",
    "krippendorff_alpha",
    "mcnemar",
    "mean_interval",
    "mean_of_shares",
    "median_interval",
    "most_of",
    "paired_interval",
    "paired_ratio",
    "paired_trend",
    "ratio_interval",
    "signed_rank",
    "spearman",
    "trend",
    "wilson",
]
