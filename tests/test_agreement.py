"""Agreement against the worked examples of the papers; ranks and strata against hand counts."""

from __future__ import annotations

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.stats import fleiss_kappa, krippendorff_alpha, mean_of_shares, signed_rank, wilson

# Krippendorff 2011, section C: four observers, twelve units, five values, missing data.
X = None
FOUR = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3),
    (X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X),
)
# Fleiss 1971: ten subjects, fourteen raters, five categories, as printed on many pages since.
TEN = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(level, alpha) -> None:
    assert krippendorff_alpha(FOUR, level=level) == pytest.approx(alpha, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert krippendorff_alpha([[1, 2, 3], [1, 2, 3]], level="interval") == pytest.approx(1.0)
    # Two raters who always disagree on two values: -(n - 1) (2 n / 2) / (n^2 / 2) + 1 with n = 8 is -.75.
    assert krippendorff_alpha([[0, 1, 0, 1], [1, 0, 1, 0]]) == pytest.approx(-0.75)
    assert krippendorff_alpha([[1, 1], [1, 1]]) is None
    assert krippendorff_alpha([[1, X], [X, 2]]) is None
    draw = np.random.default_rng(0)
    chance = krippendorff_alpha(draw.integers(1, 6, (3, 2000)).tolist(), level="ordinal")
    assert abs(chance) < 0.03
    with pytest.raises(InputError, match="one row of ratings per rater"):
        krippendorff_alpha([])


def test_kappa_of_the_published_example() -> None:
    assert fleiss_kappa(TEN) == pytest.approx(0.210, abs=5e-4)
    assert fleiss_kappa([[2, 0], [2, 0]]) is None
    for wrong in ([[2, 0], [1, 0]], [[1, 0]], []):
        with pytest.raises(InputError):
            fleiss_kappa(wrong)


def test_signed_ranks() -> None:
    """Of n positive differences the one-sided exact p is 2^-n; zeros alone show nothing."""
    assert signed_rank([3, 1, 2, 5, 4], alternative="greater") == pytest.approx(2**-5)
    assert signed_rank([3, 1, 2, 5, 4]) == pytest.approx(2**-4)
    assert signed_rank([-3, -1, -2, -5, -4], alternative="greater") == 1.0
    assert signed_rank([0.0, 0.0, 0.0]) == 1.0
    assert signed_rank([0.0] * 20 + [-1.0], alternative="greater") > 0.5


def test_the_mean_of_shares_of_one_class_is_wilson() -> None:
    value, interval = mean_of_shares([7], [10])
    assert value == 0.7
    assert interval == pytest.approx(wilson(7, 10))
    balanced, narrow = mean_of_shares([7, 7, 7, 7], [10, 10, 10, 10])
    assert balanced == pytest.approx(0.7)
    assert narrow.high - narrow.low == pytest.approx((interval.high - interval.low) / 2)
    uneven, _ = mean_of_shares([90, 0], [100, 2])
    assert uneven == 0.45, "the mean of accuracies, not the accuracy of the mean"
    with pytest.raises(InputError):
        mean_of_shares([1], [1, 2])
