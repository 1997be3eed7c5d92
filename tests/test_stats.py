"""Published values, closed forms, coverage, and what no experiment can give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bantamweight import stats
from bantamweight.errors import InputError

CALM = settings(deadline=None)
COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
DISCORDANT = st.integers(1, 300).flatmap(
    lambda n: st.integers(0, n).flatmap(
        lambda gained: st.tuples(st.just(gained), st.integers(0, n - gained), st.just(n))
    )
)


class TestProportions:
    @pytest.mark.parametrize(  # Newcombe 1998, Stat. Med. 17:857, table I, methods 3 (score) and 5 (exact)
        ("k", "n", "score", "exact"),
        [
            (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
            (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
            (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
            (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
        ],
    )
    def test_newcombe_table(self, k, n, score, exact):
        assert stats.wilson(k, n) == pytest.approx(score, abs=5e-5)
        assert stats.clopper_pearson(k, n) == pytest.approx(exact, abs=5e-5)

    def test_wilson_ends_solve_his_equation(self):
        low, high = stats.wilson(7, 31, confidence=0.9)
        z = scipy_stats.norm.isf(0.05)
        for end in (low, high):
            assert abs(7 / 31 - end) == pytest.approx(z * math.sqrt(end * (1 - end) / 31))

    @CALM
    @given(COUNTS)
    def test_intervals_hold_the_estimate_and_mirror(self, counts):
        k, n = counts
        for interval in (stats.wilson, stats.clopper_pearson):
            low, high = interval(k, n)
            assert 0 <= low <= k / n <= high <= 1
            mirrored = interval(n - k, n)
            assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((low, high), abs=1e-9)

    @CALM
    @given(COUNTS)
    def test_more_right_or_more_confidence_moves_the_ends_outward(self, counts):
        k, n = counts
        here, wider = stats.wilson(k, n), stats.wilson(k, n, confidence=0.99)
        assert wider.low <= here.low
        assert here.high <= wider.high
        if k < n:
            there = stats.wilson(k + 1, n)
            assert here.low < there.low
            assert here.high <= there.high

    def test_exact_interval_never_covers_less_than_it_says(self):
        for p in (0.02, 0.3, 0.5):
            weights = scipy_stats.binom.pmf(range(41), 40, p)
            covered = [low <= p <= high for low, high in (stats.clopper_pearson(k, 40) for k in range(41))]
            assert (weights * covered).sum() >= 0.95

    def test_wilson_covers_nominally_on_average(self):
        shares = np.linspace(0.02, 0.98, 49)
        intervals = [stats.wilson(k, 50) for k in range(51)]
        coverage = [
            sum(scipy_stats.binom.pmf(k, 50, p) for k, (low, high) in enumerate(intervals) if low <= p <= high)
            for p in shares
        ]
        assert np.mean(coverage) == pytest.approx(0.95, abs=0.01)
        assert min(coverage) > 0.90

    @pytest.mark.parametrize(("k", "n"), [(12.4, 20), (0.62, 20), (-1, 5), (6, 5), (0, 0), ("3", 5)])
    def test_impossible_counts_are_refused(self, k, n):
        with pytest.raises(InputError, match="expected"):
            stats.wilson(k, n)

    @pytest.mark.parametrize("confidence", [0, 1, 95, -0.5])
    def test_a_confidence_is_a_share(self, confidence):
        with pytest.raises(InputError, match=r"confidence in \(0, 1\)"):
            stats.wilson(1, 2, confidence=confidence)


class TestPaired:
    def test_published_tables(self):
        # Cavo et al. 2012 and Bentur et al. 2009, as analysed by Fagerland, Lydersen and Laake 2017, chapter 8.
        assert stats.mcnemar(6, 16) == pytest.approx(0.052479, abs=5e-7)
        assert stats.paired_interval(6, 16, 161) == pytest.approx((-0.1240, -0.0054), abs=5e-5)
        assert stats.mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)
        assert stats.paired_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)
        assert stats.paired_interval(3, 0, 3) == pytest.approx((-0.1230, 1.0), abs=5e-5)
        assert stats.paired_ratio(6, 16, 59) == pytest.approx((0.8667, 0.7579, 0.9910), abs=5e-5)

    def test_mcnemar_is_a_sign_test(self):
        assert stats.mcnemar(0, 0) == stats.mcnemar(4, 4) == 1.0
        assert stats.mcnemar(0, 5) == 2 / 2**5
        assert stats.mcnemar(101, 59) == pytest.approx(scipy_stats.binomtest(59, 160).pvalue)

    def test_two_reports_saw_no_difference(self):
        # 62% against 58%, and 72% against 68%, of 50 images were called effects.
        assert stats.fisher(31, 50, 29, 50) == pytest.approx(0.84, abs=0.005)
        assert stats.fisher(36, 50, 34, 50) == pytest.approx(0.83, abs=0.005)

    @CALM
    @given(DISCORDANT)
    def test_paired_interval_holds_the_estimate_and_mirrors(self, counts):
        gained, lost, n = counts
        low, high = stats.paired_interval(gained, lost, n)
        assert -1 <= low <= (gained - lost) / n <= high <= 1
        assert stats.paired_interval(lost, gained, n) == pytest.approx((-high, -low), abs=1e-8)
        assert stats.mcnemar(gained, lost) == stats.mcnemar(lost, gained) <= 1

    @CALM
    @given(DISCORDANT, st.integers(0, 50))
    def test_paired_ratio_holds_the_estimate(self, counts, both):
        gained, lost, _ = counts
        ratio = stats.paired_ratio(gained, lost, both)
        if both + gained and both + lost:
            assert ratio is not None
            assert ratio.low <= ratio.value + 1e-9
            assert ratio.value <= ratio.high + 1e-9
        else:
            assert ratio is None

    def test_paired_interval_covers(self):
        rng = np.random.default_rng(5)
        draws = rng.multinomial(200, [0.13, 0.08, 0.79], size=1500)
        cache = {(g, lost): stats.paired_interval(g, lost, 200) for g, lost in {(int(g), int(b)) for g, b, _ in draws}}
        covered = np.mean([cache[int(g), int(b)].low <= 0.05 <= cache[int(g), int(b)].high for g, b, _ in draws])
        assert covered == pytest.approx(0.95, abs=0.02)

    def test_equivalence_needs_images_not_just_agreement(self):
        assert stats.equivalence(10, 10, 1000, 0.02).p < 0.05
        assert stats.equivalence(1, 1, 50, 0.02).p > 0.05
        assert stats.equivalence(40, 10, 1000, 0.02).p > 0.05

    @CALM
    @given(DISCORDANT, st.floats(0.01, 0.5))
    def test_equivalence_agrees_with_its_interval(self, counts, margin):
        result = stats.equivalence(*counts, margin)
        if abs(result.p - 0.05) > 1e-6:
            assert (result.p < 0.05) == (-margin < result.low and result.high < margin)

    @pytest.mark.parametrize("counts", [(3, 3, 5), (-1, 0, 5), (0, 0, 0), (1.5, 0, 5)])
    def test_impossible_tables_are_refused(self, counts):
        with pytest.raises(InputError, match="expected"):
            stats.paired_interval(*counts)

    @pytest.mark.parametrize("margin", [0, 1, -0.1, 2])
    def test_a_margin_is_a_share(self, margin):
        with pytest.raises(InputError, match="margin"):
            stats.equivalence(1, 1, 10, margin)


class TestHolm:
    def test_the_textbook_steps(self):
        assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert stats.holm([]) == []
        assert stats.holm([0.6, 0.7]) == [1.0, 1.0]

    @CALM
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_between_raw_and_bonferroni_and_in_order(self, ps):
        adjusted = stats.holm(ps)
        assert all(p <= q <= min(1.0, p * len(ps)) + 1e-12 for p, q in zip(ps, adjusted, strict=True))
        assert [adjusted[i] for i in np.argsort(ps, kind="stable")] == sorted(adjusted)

    @pytest.mark.parametrize("ps", [[0.5, 1.2], [float("nan")], [-0.1]])
    def test_only_probabilities(self, ps):
        with pytest.raises(InputError, match="p-values"):
            stats.holm(ps)


class TestDetectable:
    def test_what_it_says_is_found_four_times_in_five(self):
        n, share = 300, 0.2
        difference = stats.detectable_difference(n, share)
        up, down = (share + difference) / 2, (share - difference) / 2
        draws = np.random.default_rng(1).multinomial(n, [up, down, 1 - up - down], size=4000)
        found = np.mean([stats.mcnemar(int(gained), int(lost)) < 0.05 for gained, lost, _ in draws])
        assert found == pytest.approx(0.8, abs=0.02)

    def test_large_samples_agree_with_the_normal_approximation(self):
        # Connor 1987, Biometrics 43:207: n d^2 = (z_a sqrt(share) + z_b sqrt(share - d^2))^2.
        n, share = 20_000, 0.15
        za, zb = scipy_stats.norm.isf(0.025), scipy_stats.norm.isf(0.2)
        d = stats.detectable_difference(n, share)
        assert n * d * d == pytest.approx((za * math.sqrt(share) + zb * math.sqrt(share - d * d)) ** 2, rel=0.03)

    def test_more_images_see_more_and_more_disagreement_hides_more(self):
        by_n = [stats.detectable_difference(n, 0.1) for n in (50, 200, 1000, 5000)]
        assert by_n == sorted(by_n, reverse=True)
        by_share = [stats.detectable_difference(1000, share) for share in (0.0, 0.05, 0.2, 0.6)]
        assert by_share == sorted(by_share)
        assert stats.detectable_difference(1000, 0.1, alpha=0.005) > stats.detectable_difference(1000, 0.1)

    def test_five_images_find_nothing(self):
        assert stats.detectable_difference(5, 0.5) is None
        assert stats.detectable_difference(6, 0.0) is not None

    def test_fifty_images_miss_what_the_reports_claimed(self):
        assert stats.detectable_difference(50, 0.2) > 0.15

    def test_a_share_is_not_a_count(self):
        with pytest.raises(InputError, match="divide by n"):
            stats.detectable_difference(100, 12)


class TestSamples:
    def test_median_interval_is_the_known_pair_of_ranks(self):
        # Conover: n = 16 gives the 4th and 13th of the ordered values.
        assert stats.median_interval(range(1, 17)) == (4, 13)
        assert stats.median_interval([1, 2, 3, 4, 5]) is None
        assert stats.median_interval([1, 2, 3, 4, 5, 6]) == (1, 6)

    def test_a_run_that_never_succeeded_is_a_value(self):
        low, high = stats.median_interval([1, 2, 3] + [math.inf] * 5)
        assert (low, high) == (1, math.inf)

    @CALM
    @given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=60), st.randoms())
    def test_median_interval_holds_the_median_in_any_order(self, values, random):
        low, high = stats.median_interval(values)
        assert low <= np.median(values) <= high
        random.shuffle(values)
        assert stats.median_interval(values) == (low, high)

    def test_median_interval_covers_just_enough(self):
        for n in (6, 10, 25, 100):
            rank = int(stats.median_interval(range(n)).low)  # the median of any law lies outside iff <= rank are below
            assert 2 * scipy_stats.binom.cdf(rank, n, 0.5) <= 0.05 < 2 * scipy_stats.binom.cdf(rank + 1, n, 0.5)

    def test_mean_interval_covers(self):
        rng = np.random.default_rng(3)
        normal = [stats.mean_interval(row) for row in rng.normal(2.0, size=(1000, 5))]
        assert np.mean([low <= 2.0 <= high for low, high in normal]) == pytest.approx(0.95, abs=0.02)

    def test_mean_interval_matches_student(self):
        expected = scipy_stats.t.interval(0.95, 3, loc=2.5, scale=scipy_stats.sem([1, 2, 3, 4]))
        assert stats.mean_interval([1, 2, 3, 4]) == pytest.approx(expected)
        assert stats.mean_interval([1.0]) is None

    def test_bootstrap_is_seeded_and_degenerates_to_a_point(self):
        values = np.random.default_rng(0).exponential(size=60)
        here = stats.bootstrap_interval(values, np.mean, 7, resamples=999)
        assert here == stats.bootstrap_interval(values, np.mean, 7, resamples=999)
        assert here != stats.bootstrap_interval(values, np.mean, 8, resamples=999)
        assert here.low < values.mean() < here.high
        assert stats.bootstrap_interval([3.0] * 9, np.median, 0) == (3.0, 3.0)

    def test_ratio_cancels_what_both_sides_share(self):
        rng = np.random.default_rng(2)
        drift = np.linspace(1, 3, 100)  # the machine slows down threefold
        slow, fast = (base * drift * rng.lognormal(0, 0.02, 100) for base in (2.0, 1.0))
        ratio = stats.ratio_interval(slow, fast)
        assert ratio.low < 2.0 < ratio.high
        assert ratio.high - ratio.low < 0.05
        inverse = stats.ratio_interval(fast, slow)
        assert (1 / inverse.high, 1 / inverse.low) == pytest.approx((ratio.low, ratio.high))

    @pytest.mark.parametrize(("a", "b"), [([1] * 5, [1] * 5), ([1] * 6, [1] * 7), ([1] * 6, [0] * 6)])
    def test_ratios_of_too_little_are_refused(self, a, b):
        with pytest.raises(InputError, match="pairs"):
            stats.ratio_interval(a, b)

    def test_spearman_ignores_scale_and_sign_flips_it(self):
        a = [1.0, 2.0, 3.0, 4.0, 5.0]
        assert stats.spearman(a, [math.exp(x) for x in a])[:3] == (1, 1, 1)
        mixed = stats.spearman(a, [1, 2, 3, 5, 4])
        assert mixed.value == 0.9
        assert mixed.low < 0.9 < mixed.high
        assert stats.spearman(a, [-1, -2, -3, -5, -4]).value == -0.9
        with pytest.raises(InputError, match="constant"):
            stats.spearman(a, [1] * 5)

    @pytest.mark.parametrize("values", [[], [1.0, float("nan")], [[1.0, 2.0]]])
    def test_only_lists_of_numbers(self, values):
        with pytest.raises(InputError, match="expected"):
            stats.median_interval(values)


class TestTrends:
    def test_alcohol_and_malformation(self):
        # Agresti, Categorical Data Analysis, 2nd ed., section 3.4.5: z^2 = 6.57, p = .010.
        ns = [17066 + 48, 14464 + 38, 788 + 5, 126 + 1, 37 + 1]
        result = stats.trend([48, 38, 5, 1, 1], ns, [0, 0.5, 1.5, 4, 7])
        assert result.z**2 == pytest.approx(6.57, abs=0.005)
        assert result.p == pytest.approx(0.0104, abs=5e-5)

    def test_two_groups_are_the_pooled_z_test(self):
        result = stats.trend([30, 45], [100, 100], [0, 1])
        assert result.slope == pytest.approx(0.15)
        table = [[30, 70], [45, 55]]
        assert result.z**2 == pytest.approx(scipy_stats.chi2_contingency(table, correction=False).statistic)

    def test_no_trend_where_nothing_changes(self):
        assert stats.trend([5, 5], [5, 5], [0, 1])[1:] == (0, 1)
        assert stats.paired_trend(np.ones((9, 3)), [0, 1, 2])[1:] == (0, 1)

    def test_two_columns_are_mcnemars_asymptotic_test(self):
        right = np.array([[1, 0]] * 16 + [[0, 1]] * 6 + [[1, 1]] * 59 + [[0, 0]] * 80)
        result = stats.paired_trend(right, [0, 1])
        assert result.slope == pytest.approx(-10 / 161)
        assert result.p == pytest.approx(0.033006, abs=5e-7)  # the asymptotic p of the same table, published

    def test_paired_trend_holds_its_level(self):
        rng = np.random.default_rng(4)
        ps = []
        for _ in range(800):
            ease = rng.uniform(size=(100, 1))  # images differ in difficulty; columns are correlated through it
            ps.append(stats.paired_trend(rng.uniform(size=(100, 4)) < ease, [0, 0.2, 0.5, 0.8]).p)
        assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.02)

    def test_x_must_vary(self):
        with pytest.raises(InputError, match="two differ"):
            stats.trend([1, 2], [5, 5], [1, 1])
