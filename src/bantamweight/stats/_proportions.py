"""Counts of n: one proportion, two on the same images, many along an axis."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple, SupportsIndex

import numpy as np
from scipy import optimize, stats

from bantamweight.errors import InputError
from bantamweight.stats._common import Interval, Ratio, axis, count, normal_quantile, share, tail


class Equivalence(NamedTuple):
    """`p` below alpha: the paired difference lies inside the margin. The interval is the 1 - 2 alpha one."""

    p: float
    low: float
    high: float


class Trend(NamedTuple):
    """`slope`: change of the proportion per unit of x; `z` and two-sided `p` against no trend."""

    slope: float
    z: float
    p: float


def wilson(k: SupportsIndex, n: SupportsIndex, *, confidence: float = 0.95) -> Interval:
    """The score interval of a proportion: the one to state beside any k of n.

    Source: Wilson 1927, J. Am. Stat. Assoc. 22:209. Raises InputError for counts no experiment can give.

    >>> [round(end, 4) for end in wilson(81, 263)]
    [0.2553, 0.3662]
    """
    k, n = share(k, n)
    z = normal_quantile(confidence)
    centre = (k + z * z / 2) / (n + z * z)
    half = z * math.sqrt(k * (n - k) / n + z * z / 4) / (n + z * z)
    # Exact at the ends, where rounding would otherwise leave 1e-17 on the wrong side.
    return Interval(0.0 if k == 0 else centre - half, 1.0 if k == n else centre + half)


def most_of(k: SupportsIndex, n: SupportsIndex, population: SupportsIndex, *, confidence: float = 0.95) -> int:
    """The most of a population that can have a property of which `n`, drawn without replacement, showed `k`.

    Exact and one-sided: any more would have shown no more than `k` in at most 1 - confidence of all draws. Source:
    Buonaccorsi 1987, The American Statistician 41:215. Raises InputError for counts no draw can give.

    >>> most_of(0, 59, 263), most_of(0, 59, 10_000), most_of(1, 18, 18)
    (11, 493, 1)
    """
    found, drawn, whole = operator.index(k), operator.index(n), operator.index(population)
    if not 0 <= found <= drawn <= whole or not 0.0 < confidence < 1.0:
        raise InputError(
            f"expected 0 <= k <= n <= population and a confidence between 0 and 1, got k={found}, n={drawn}, "
            f"population={whole}, confidence={confidence}"
        )
    possible = np.arange(found, whole - drawn + found + 1)
    seen = stats.hypergeom.cdf(found, whole, possible, drawn)
    return int(possible[seen > 1.0 - confidence].max())


def clopper_pearson(k: SupportsIndex, n: SupportsIndex, *, confidence: float = 0.95) -> Interval:
    """The exact interval of a proportion, never below its confidence: for certified numbers.

    Source: Clopper and Pearson 1934, Biometrika 26:404. Raises InputError for counts no experiment can give.

    >>> [round(end, 4) for end in clopper_pearson(81, 263)]
    [0.2527, 0.3676]
    """
    k, n = share(k, n)
    outside = tail(confidence)
    low = 0.0 if k == 0 else float(stats.beta.ppf(outside, k, n - k + 1))
    high = 1.0 if k == n else float(stats.beta.isf(outside, k + 1, n - k))
    return Interval(low, high)


def mcnemar(gained: SupportsIndex, lost: SupportsIndex) -> float:
    """Exact two-sided p that two variants right on the same images differ; only discordant images speak.

    Source: McNemar 1947, Psychometrika 12:153; the exact form is a sign test on gained + lost images.

    >>> round(mcnemar(6, 16), 6)
    0.052479
    """
    up, down = count(gained), count(lost)
    return min(1.0, 2 * float(stats.binom.cdf(min(up, down), up + down, 0.5)))


def paired_interval(
    gained: SupportsIndex, lost: SupportsIndex, n: SupportsIndex, *, confidence: float = 0.95
) -> Interval:
    """The score interval of a paired difference (gained - lost) / n, in [-1, 1].

    It can disagree with the exact test near alpha: that test is conservative. The verdict is the test's.
    Source: Tango 1998, Stat. Med. 17:891.

    >>> [round(end, 4) for end in paired_interval(6, 16, 161)]
    [-0.124, -0.0054]
    """
    gained, lost, n = _discordant(gained, lost, n)
    z, difference = normal_quantile(confidence), (gained - lost) / n
    low = high = difference
    if difference > -1:
        low = optimize.brentq(lambda d: _tango(gained, lost, n, d) - z, -1 + 1e-12, difference)
    if difference < 1:
        high = optimize.brentq(lambda d: _tango(gained, lost, n, d) + z, difference, 1 - 1e-12)
    return Interval(float(low), float(high))


def paired_ratio(
    gained: SupportsIndex, lost: SupportsIndex, both: SupportsIndex, *, confidence: float = 0.95
) -> Ratio | None:
    """The ratio of two proportions on the same images, (both + gained) / (both + lost); None if either is 0.

    `both` counts the images that both get right. Source: the hybrid Wilson interval of Bonett and Price 2006,
    Stat. Med. 25:3039.

    >>> [round(end, 4) for end in paired_ratio(6, 16, 59)]
    [0.8667, 0.7579, 0.991]
    """
    up, down, shared = count(gained), count(lost), count(both)
    first, second, union = shared + up, shared + down, shared + up + down
    if not first or not second:
        return None
    spread = math.sqrt((up + down + 2) / ((first + 1) * (second + 1)))
    parts = [math.sqrt((1 - (right + 1) / (union + 2)) / (right + 1)) for right in (first, second)]
    z = normal_quantile(confidence) * spread / sum(parts)
    halves = [z * math.sqrt(z * z + 4 * right * (1 - right / union)) for right in (first, second)]
    ends = [(2 * right + z * z + np.array([-half, half])) for right, half in zip((first, second), halves, strict=True)]
    return Ratio(first / second, float(ends[0][0] / ends[1][1]), float(ends[0][1] / ends[1][0]))


def equivalence(
    gained: SupportsIndex, lost: SupportsIndex, n: SupportsIndex, margin: float, *, alpha: float = 0.05
) -> Equivalence:
    """Two one-sided tests that a paired difference lies inside +-margin: the only way to say so.

    Source: Schuirmann 1987 (TOST) with the score statistic of Tango 1998, Stat. Med. 17:891.
    Raises InputError for a margin outside (0, 1).

    >>> equivalence(10, 10, 1000, 0.02).p < 0.05, equivalence(1, 1, 50, 0.02).p < 0.05
    (True, False)
    """
    gained, lost, n = _discordant(gained, lost, n)
    if not 0 < margin < 1:
        raise InputError(f"expected an equivalence margin in (0, 1), got {margin}; 0.02 is two points")
    above = stats.norm.sf(_tango(gained, lost, n, -margin))
    below = stats.norm.cdf(_tango(gained, lost, n, margin))
    low, high = paired_interval(gained, lost, n, confidence=1 - 2 * alpha)
    return Equivalence(float(max(above, below)), low, high)


def detectable_difference(
    n: SupportsIndex, discordant: float, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The smallest paired difference that `mcnemar` at `alpha` finds with probability `power`.

    A smaller one would usually be missed; None: so few images find none at all. `discordant` is the share of the
    n images on which the two variants disagree; a difference above it needs more, so the share grows with it.
    Source: the exact unconditional power of Duffy 1984, Biometrics 40:1005, solved for the difference.

    >>> round(detectable_difference(1000, 0.1), 3)
    0.029
    """
    n = share(0, n)[1]
    if not 0 <= discordant <= 1:
        raise InputError(f"expected the share of discordant images in [0, 1], got {discordant}; divide by n")

    def missing(difference: float) -> float:
        return _mcnemar_power(n, max(discordant, difference), difference, alpha) - power

    if missing(1.0) < 0:
        return None
    return float(optimize.brentq(missing, 1e-9, 1.0, xtol=1e-7))


def fisher(k1: SupportsIndex, n1: SupportsIndex, k2: SupportsIndex, n2: SupportsIndex) -> float:
    """Exact two-sided p that two proportions from *different* images differ; same images: `mcnemar`.

    >>> round(fisher(31, 50, 29, 50), 2)
    0.84
    """
    (k1, n1), (k2, n2) = share(k1, n1), share(k2, n2)
    return float(stats.fisher_exact([[k1, n1 - k1], [k2, n2 - k2]])[1])


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted for being one family, in the order given: compare each with alpha as it stands.

    Source: Holm 1979, Scand. J. Stat. 6:65. Raises InputError for anything outside [0, 1].

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    raw = np.asarray(ps, dtype=float)
    if raw.size and not ((raw >= 0) & (raw <= 1)).all():
        raise InputError(f"expected p-values in [0, 1], got {list(ps)}")
    order = np.argsort(raw, kind="stable")
    stepped = np.maximum.accumulate(raw[order] * np.arange(raw.size, 0, -1)) if raw.size else raw
    adjusted = np.empty_like(raw)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(p) for p in adjusted]


def trend(ks: Sequence[int], ns: Sequence[int], xs: Sequence[float]) -> Trend:
    """Does a proportion rise or fall along x, the groups being different images? Same images: `paired_trend`.

    Source: Cochran 1954, Biometrics 10:417; Armitage 1955, Biometrics 11:375.

    >>> round(trend([48, 38, 5, 1, 1], [17114, 14502, 793, 127, 38], [0, 0.5, 1.5, 4, 7]).p, 3)
    0.01
    """
    pairs = [share(k, n) for k, n in zip(ks, ns, strict=True)]
    k, n = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    x = axis(xs, k.size)
    pooled = k.sum() / n.sum()
    spread = float((n * x * x).sum() - (n * x).sum() ** 2 / n.sum())
    rise = float((x * (k - n * pooled)).sum())
    deviation = math.sqrt(pooled * (1 - pooled) * spread)
    z = rise / deviation if deviation > 0 else 0.0
    return Trend(rise / spread, z, 2 * float(stats.norm.sf(abs(z))))


def paired_trend(right: np.ndarray, xs: Sequence[float]) -> Trend:
    """Does accuracy rise or fall along x when the *same* images are judged at each x?

    `right[i, j]` says whether image i is right at xs[j]. Each image gives one contrast, so only images need
    to be independent. With two columns this is McNemar's asymptotic test, which it extends as Cochran 1950
    (Biometrika 37:256) extends it to unordered columns.

    >>> paired_trend(np.array([[1, 0], [1, 0], [0, 1], [1, 1]]), [0, 1]).slope
    -0.25
    """
    table = np.asarray(right, dtype=float)
    if table.ndim != 2 or table.shape[0] == 0:
        raise InputError(f"expected one row per image and one column per x, got shape {table.shape}")
    x = axis(xs, table.shape[1])
    slopes = table @ (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    size = math.sqrt(float((slopes**2).sum()))
    z = float(slopes.sum()) / size if size > 0 else 0.0
    return Trend(float(slopes.mean()), z, 2 * float(stats.norm.sf(abs(z))))


def _tango(gained: int, lost: int, n: int, difference: float) -> float:
    """Tango's score statistic against a given paired difference (1998), nuisance at its maximum."""
    linear = -gained - lost + (2 * n - gained + lost) * difference
    constant = -lost * difference * (1 - difference)
    nuisance = (math.sqrt(max(linear * linear - 8 * n * constant, 0.0)) - linear) / (4 * n)
    variance = n * (2 * nuisance + difference * (1 - difference))
    return (gained - lost - n * difference) / math.sqrt(variance) if variance > 0 else 0.0


def _mcnemar_power(n: int, discordant: float, difference: float, alpha: float) -> float:
    """P(exact McNemar p <= alpha) when that share of pairs is discordant, summed over how many there are."""
    first, last = stats.binom.ppf([1e-10, 1 - 1e-10], n, discordant)
    m = np.arange(first, last + 1)
    critical = stats.binom.ppf(alpha / 2, m, 0.5)
    critical -= stats.binom.cdf(critical, m, 0.5) > alpha / 2
    up = min(1.0, (1 + difference / discordant) / 2)
    found = stats.binom.cdf(critical, m, up) + stats.binom.cdf(critical, m, 1 - up)
    return float((stats.binom.pmf(m, n, discordant) * found).sum())


def _discordant(gained: SupportsIndex, lost: SupportsIndex, n: SupportsIndex) -> tuple[int, int, int]:
    up, down, total = count(gained), count(lost), count(n)
    if up + down > total or total == 0:
        raise InputError(f"expected gained + lost <= n and n > 0, got {up} + {down} of {total}")
    return up, down, total
