"""Localisation against hand-drawn masks, with the failures seen in the field: empty masks and flat maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from bantamweight.errors import InputError
from bantamweight.explainers.metrics.iou import THRESHOLDS, iou
from bantamweight.explainers.metrics.localisation_error import localisation_error
from bantamweight.explainers.metrics.pixel_auc import pixel_auc
from bantamweight.explainers.metrics.pointing_game import pointing_game
from tests.explainers.metrics.scenes import made

ALL = (pointing_game(), iou(), pixel_auc(), localisation_error())


def peak(row: int, column: int, side: int = 28) -> Tensor:
    maps = torch.zeros(1, side, side)
    maps[0, row, column] = 1.0
    return maps


def box(top: int, left: int, bottom: int, right: int, side: int = 28) -> Tensor:
    mask = torch.zeros(1, side, side, dtype=torch.bool)
    mask[0, top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize(("column", "hit"), [(12, 1.0), (14, 1.0), (15, 1.0), (16, 0.0)])
def test_the_tolerance_is_15_pixels_at_224(column: int, hit: float) -> None:
    """At 28 pixels a side that is 1.875: one pixel beside the object hits, two do not."""
    found = pointing_game().score(made(peak(12, column), objects=box(10, 10, 14, 15)))
    assert found.values.tolist() == [hit]


def test_the_tolerance_is_a_circle() -> None:
    """Two off in both directions is 2.83 away, one in both is 1.41."""
    mask = box(10, 10, 14, 15)
    assert pointing_game().score(made(peak(15, 16), objects=mask)).values.tolist() == [0.0]
    assert pointing_game().score(made(peak(14, 15), objects=mask)).values.tolist() == [1.0]
    assert pointing_game(tolerance=0.0).score(made(peak(14, 15), objects=mask)).values.tolist() == [0.0]


def test_an_empty_mask_is_no_hit_and_no_miss_and_a_flat_map_is_a_miss() -> None:
    empty = torch.zeros(1, 28, 28, dtype=torch.bool)
    for metric in ALL:
        assert np.isnan(metric.score(made(peak(3, 3), objects=empty)).values).all(), metric.name
    full, flat = torch.ones(1, 28, 28, dtype=torch.bool), torch.zeros(1, 28, 28)
    assert pointing_game().score(made(flat, objects=box(10, 10, 14, 15))).values.tolist() == [0.0]
    assert pointing_game().score(made(flat, objects=full)).values.tolist() == [0.0]
    assert iou().score(made(flat, objects=box(0, 0, 28, 14))).values.tolist() == [0.0]
    assert pixel_auc().score(made(flat, objects=box(0, 0, 28, 14))).values.tolist() == [0.5]
    assert np.isnan(pixel_auc().score(made(peak(1, 1), objects=full)).values).all()


def test_a_peak_that_ties_must_hit_everywhere() -> None:
    both = peak(12, 12) + peak(0, 0)
    assert pointing_game().score(made(both, objects=box(10, 10, 14, 15))).values.tolist() == [0.0]
    wide = peak(12, 12) + peak(12, 13)
    assert pointing_game().score(made(wide, objects=box(10, 10, 14, 15))).values.tolist() == [1.0]


def test_iou_by_hand() -> None:
    """A ramp 0, .25, .5, .75, 1 over 5 pixels, the object being the last two: at t <= .2 four are above, and so on."""
    maps = torch.tensor([[[0.0, 0.25, 0.5, 0.75, 1.0]]])
    mask = torch.tensor([[[False, False, False, True, True]]])
    found = iou().score(made(maps, objects=mask))
    by_hand = [2 / 4, 2 / 4, 2 / 3, 2 / 3, 2 / 3, 2 / 2, 2 / 2, 1 / 2, 1 / 2]
    np.testing.assert_allclose(found.curve[0], by_hand)
    np.testing.assert_allclose(found.values, np.mean(by_hand))
    assert found.curve.max() == 1.0
    assert found.stops == THRESHOLDS == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def test_scaling_a_map_beforehand_changes_no_localisation() -> None:
    """Maps are scaled once, in the metric; a map that came scaled, shifted or huge scores the same."""
    torch.manual_seed(0)
    maps, mask = torch.rand(1, 28, 28), box(5, 5, 20, 15)
    for metric in ALL:
        once = metric.score(made(maps, objects=mask)).values
        for changed in (1e6 * maps, 0.5 * maps + 3, (maps - maps.min()) / (maps.max() - maps.min())):
            np.testing.assert_allclose(metric.score(made(changed, objects=mask)).values, once, rtol=1e-4)


def test_iou_scales_between_the_least_and_the_most_of_a_signed_map() -> None:
    maps, mask = torch.randn(1, 28, 28, generator=torch.Generator().manual_seed(0)), box(5, 5, 20, 15)
    once = iou().score(made(maps, objects=mask)).values
    np.testing.assert_allclose(iou().score(made(0.5 * maps + 3, objects=mask)).values, once, rtol=1e-4)


def test_contributions_against_the_class_rank_with_none_and_not_below() -> None:
    """Both signs lie on the object, nothing beside it: what speaks for the class still finds it."""
    mask = box(5, 5, 20, 15)
    signs = torch.ones(1, 28, 28)
    signs[..., ::2] = -1
    both = pixel_auc().score(made(mask * signs, objects=mask)).values
    np.testing.assert_allclose(pixel_auc().score(made((mask * signs).relu(), objects=mask)).values, both)
    assert both > 0.7
    assert pixel_auc().score(made(-mask.float(), objects=mask)).values.tolist() == [0.5]


def test_pixel_auc_by_hand() -> None:
    """Inside 3 and 1, outside 2 and 1: of four pairs two are won (3 > 2, 3 > 1), one ties: 2.5 / 4."""
    maps = torch.tensor([[[3.0, 1.0], [2.0, 1.0]]])
    mask = torch.tensor([[[True, True], [False, False]]])
    assert pixel_auc().score(made(maps, objects=mask)).values.tolist() == [0.625]


def test_the_error_is_the_distance_over_the_diagonal() -> None:
    """The box of rows 2 to 4 and columns 2 to 6 has its centre at (3, 4); from (0, 0) that is 5."""
    found = localisation_error().score(made(peak(0, 0, 30), objects=box(2, 2, 5, 7, 30)))
    assert found.values[0] == pytest.approx(5 / (30 * 2**0.5))
    assert localisation_error().score(made(peak(3, 4, 30), objects=box(2, 2, 5, 7, 30))).values[0] == 0.0
    whole = localisation_error().score(made(box(2, 2, 5, 7, 30).float(), objects=box(2, 2, 5, 7, 30)))
    assert whole.values[0] == 0.0, "the mask itself is where the object is"
    flat = localisation_error().score(made(torch.zeros(1, 1, 3), objects=torch.tensor([[[True, False, False]]])))
    assert flat.values[0] == pytest.approx((0 + 1 + 2) / 3 / 10**0.5)


def test_sensitivities_count_by_magnitude_and_contributions_by_sign() -> None:
    from tests.explainers.metrics.scenes import given

    maps, mask = -peak(12, 12) + 0.5 * peak(2, 2), box(10, 10, 14, 15)
    for name, hit in (("gradient", 1.0), ("integrated_gradients", 0.0)):
        assert pointing_game().score(made(maps, objects=mask, explainer=given(maps, name))).values.tolist() == [hit]


@pytest.mark.parametrize("metric", ALL, ids=lambda metric: metric.name)
def test_without_masks_it_says_what_is_missing(metric) -> None:
    with pytest.raises(InputError, match=f"{metric.name} needs to know where the object is"):
        metric.score(made(peak(1, 1)))
    with pytest.raises(InputError, match="masks of shape"):
        made(peak(1, 1), objects=box(0, 0, 2, 2, 27))
