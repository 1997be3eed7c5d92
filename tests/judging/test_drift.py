"""Drift: distances against hand counts; a planted shift exceeds the floor and a copy does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers import Attributions, explain
from bantamweight.explainers._core import Explainer, Heat
from bantamweight.explainers.gradient import gradient
from bantamweight.facts import select
from bantamweight.judging.drift import MEASURES, distances, drift_facts, noise_floor
from bantamweight.models.small_cnn import small_cnn


def maps(values: Tensor, name: str = "given") -> Attributions:
    flat = values.flatten(1).amax(dim=1) == values.flatten(1).amin(dim=1)
    return Attributions(name, values, torch.zeros(len(values), dtype=torch.int64), flat)


def blob(row: int, column: int, side: int = 12) -> Tensor:
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.exp(-((y - row) ** 2 + (x - column) ** 2) / 4.0)[None]


def test_the_same_map_is_nowhere_else() -> None:
    one = maps(torch.rand(5, 12, 12))
    for measure, values in distances(one, one).items():
        np.testing.assert_allclose(values, 0.0, atol=1e-6, err_msg=measure)


def test_distances_by_hand() -> None:
    """A point that moves by (3, 4) on 12 x 16 pixels, whose diagonal is 20, moves by a quarter of it."""
    first, second = torch.zeros(1, 12, 16), torch.zeros(1, 12, 16)
    first[0, 2, 2], second[0, 5, 6] = 1.0, 1.0
    assert distances(maps(first), maps(second))["centre"][0] == pytest.approx(0.25)
    ramp = torch.arange(100.0).reshape(1, 10, 10)
    turned = distances(maps(ramp), maps(-ramp))
    assert turned["rank"][0] == pytest.approx(2.0)
    assert turned["top"][0] == 1.0, "the first fifth and the last fifth share nothing"
    half = ramp.clone()
    half[0, 9] = ramp[0, 7] - 100  # of the upper 20 pixels the last 10 leave, the next 10 take their place
    assert distances(maps(ramp), maps(half))["top"][0] == pytest.approx(1 - 10 / 30)


def test_scale_means_nothing() -> None:
    first, second = torch.rand(3, 12, 12), torch.rand(3, 12, 12)
    plain, large = distances(maps(first), maps(second)), distances(maps(first), maps(1000 * second))
    for measure in MEASURES:
        np.testing.assert_allclose(plain[measure], large[measure], rtol=1e-4)


def test_flat_maps_have_no_place_and_are_counted() -> None:
    first = torch.rand(4, 12, 12)
    first[1] = 0.0
    moved = distances(maps(first), maps(torch.rand(4, 12, 12)))
    assert all(np.isnan(values).tolist() == [False, True, False, False] for values in moved.values())
    floor = {measure: np.zeros(4) for measure in MEASURES}
    facts = drift_facts(moved, floor, item="given", variant="cut", against="dense")
    assert {fact.n for fact in facts} == {3}
    assert select(facts, "drift_rank")[0].note.startswith("1 of 4 images left out")
    with pytest.raises(InputError, match="one explainer"):
        distances(maps(first), maps(first, "other"))
    with pytest.raises(InputError, match="one map per image"):
        distances(maps(first), maps(first[:2]))


def following(dy: int = 0, dx: int = 0) -> Explainer:
    """A method whose map is the image's brightness, looked at from (dy, dx) pixels beside it."""

    def explain_(_module: nn.Module, images: Tensor, classes: Tensor, _layer: str | None) -> Heat:
        seen = images.mean(dim=1).roll((dy, dx), dims=(1, 2))
        return Heat(seen[:, None].expand(-1, classes.shape[1], -1, -1).clone())

    return Explainer("following", explain_)


@pytest.fixture(scope="module")
def images() -> Tensor:
    draw = torch.Generator().manual_seed(0)
    places = torch.randint(3, 9, (16, 2), generator=draw).tolist()
    return (0.1 + 0.8 * torch.stack([blob(row, column) for row, column in places])).expand(-1, 3, -1, -1).contiguous()


def test_a_planted_shift_exceeds_the_floor_and_a_copy_does_not(images: Tensor) -> None:
    net, classes = small_cnn(size=12).eval(), torch.zeros(16, dtype=torch.int64)
    before = explain(following(), net, images, classes)
    floor = noise_floor(following(), net, images, before)
    assert (floor["rank"] > 0).all()
    copied = drift_facts(distances(before, explain(following(), net, images, classes)), floor, item="following")
    (still,) = select(copied, "gaze_moved")
    assert (still.value, still.note) == (0.0, "not shown above the method's own noise")
    assert all(fact.p_adjusted == 1.0 for fact in copied if fact.metric == "drift_rank")
    shifted = explain(following(2, 1), net, images, classes)
    facts = drift_facts(distances(before, shifted), floor, item="following", variant="cut", step=0.5)
    (moved,) = select(facts, "gaze_moved")
    assert (moved.value, moved.variant, moved.step) == (1.0, "cut", 0.5)
    assert moved.note == "above the method's own noise: rank, top, centre, ssim"
    for measure in MEASURES:
        (own,), (still,) = select(facts, f"drift_{measure}"), select(facts, f"drift_{measure}_floor")
        assert own.low > still.high
        assert own.p_adjusted < 0.001


def test_noise_alone_is_not_movement(images: Tensor) -> None:
    """Other noise of the floor's size moves the map by about the floor, which proves nothing."""
    torch.manual_seed(0)
    net, classes = small_cnn(size=12).eval(), torch.zeros(16, dtype=torch.int64)
    before = explain(gradient(), net, images, classes)
    floor = noise_floor(gradient(), net, images, before, draws=4)
    other = noise_floor(gradient(), net, images, before, draws=1, seed=7)
    assert select(drift_facts(other, floor, item="gradient"), "gaze_moved")[0].value == 0.0
    strange = explain(gradient(), small_cnn(size=12).eval(), images, classes)
    assert select(drift_facts(distances(before, strange), floor, item="gradient"), "gaze_moved")[0].value == 1.0


def test_other_seeds_raise_the_floor_of_a_method_that_draws(images: Tensor) -> None:
    def drawing(seed: int) -> Explainer:
        def explain_(_module: nn.Module, rows: Tensor, classes: Tensor, _layer: str | None) -> Heat:
            lots = torch.rand(len(rows), 12, 12, generator=torch.Generator().manual_seed(seed))
            return Heat((rows.mean(dim=1) + lots)[:, None].expand(-1, classes.shape[1], -1, -1).clone())

        return Explainer("drawing", explain_)

    net, classes = small_cnn(size=12).eval(), torch.zeros(16, dtype=torch.int64)
    before = explain(drawing(0), net, images, classes)
    plain = noise_floor(drawing(0), net, images, before)
    again = noise_floor(drawing(0), net, images, before, again=[drawing(1), drawing(2)])
    assert (again["rank"] > plain["rank"]).all()
    facts = drift_facts(distances(before, explain(drawing(3), net, images, classes)), again, item="drawing")
    assert select(facts, "gaze_moved")[0].value == 0.0
    with pytest.raises(InputError, match="at least 1 draw"):
        noise_floor(drawing(0), net, images, before, draws=0)
