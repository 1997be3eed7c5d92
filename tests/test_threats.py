"""The geometry of norm and box."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.threats import TOLERANCE, l2, linf, sizes

NORMS = {"linf": linf, "l2": l2}


def scene(seed, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    origin = torch.rand(4, 3, 5, 5, generator=draw)
    return origin, origin + scale * torch.randn(4, 3, 5, 5, generator=draw)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000), eps=st.floats(1e-3, 1.0), scale=st.floats(1e-4, 10))
@settings(max_examples=40, deadline=None)
def test_projection_lands_in_ball_and_box_and_is_idempotent(norm, seed, eps, scale):
    threat = NORMS[norm](eps=eps)
    origin, points = scene(seed, scale)
    inside = threat.norm.project(points, origin, threat.budgets(4))
    assert float(threat.norm.size(inside - origin).max()) <= eps + TOLERANCE
    assert float(inside.min()) >= 0
    assert float(inside.max()) <= 1
    assert torch.allclose(threat.norm.project(inside, origin, threat.budgets(4)), inside, atol=1e-6)
    assert torch.equal(threat.norm.project(origin, origin, threat.budgets(4)), origin)


@pytest.mark.parametrize("norm", NORMS)
@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_steepest_is_the_best_unit_direction(norm, seed):
    threat = NORMS[norm](eps=0.1)
    _, gradient = scene(seed)
    way = threat.norm.steepest(gradient, gradient)
    assert torch.allclose(threat.norm.size(way), torch.ones(4), atol=1e-5)
    gain = (way * gradient).flatten(1).sum(dim=1)
    dual = gradient.abs().flatten(1).sum(dim=1) if norm == "linf" else gradient.flatten(1).norm(dim=1)
    assert torch.allclose(gain, dual, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20])
def test_steepest_survives_tiny_and_huge_gradients(scale):
    gradient = torch.full((1, 1, 2, 2), scale)
    assert torch.allclose(l2(eps=1.0).norm.steepest(gradient, gradient), torch.full((1, 1, 2, 2), 0.5))
    assert (l2(eps=1.0).norm.steepest(gradient * 0, gradient) == 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_samples_fill_the_ball_and_each_row_has_its_own_budget(norm):
    threat = NORMS[norm](eps=0.4)
    origin = torch.full((200, 1, 2, 2), 0.5)
    budgets = torch.linspace(0.01, 0.4, 200)
    drawn = threat.norm.sample(origin, budgets, torch.arange(200), "start")
    share = threat.norm.size(drawn - origin) / budgets
    assert float(share.max()) <= 1 + 1e-4
    # In d = 4 dimensions P(size <= r) = r^4 for both norms.
    assert abs(float((share**4).mean()) - 0.5) < 0.08


def test_per_image_sizes():
    delta = torch.zeros(1, 3, 2, 2)
    delta[0, :, 0, 0] = torch.tensor([0.3, -0.4, 0.0])
    measured = {name: round(float(size), 6) for name, size in sizes(delta).items()}
    assert measured == {"linf": 0.4, "l2": 0.5, "l1": 0.7, "l0": 1.0}


def test_budgets_are_written_as_papers_write_them():
    assert [str(linf(eps=8 / 255)), str(linf(eps=0.03)), str(l2(eps=0.5))] == ["linf 8/255", "linf 0.03", "l2 0.5"]


@pytest.mark.parametrize(("norm", "eps"), [(linf, 0), (linf, 8), (l2, -1), (linf, float("nan"))])
def test_impossible_budgets_are_refused(norm, eps):
    with pytest.raises(InputError, match="expected an epsilon"):
        norm(eps=eps)


def test_keys_decide_the_sample():
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    keys, budgets = rng.image_keys(images), torch.full((3,), 0.1)
    whole = linf(eps=0.1).norm.sample(images, budgets, keys, "start")
    assert torch.equal(linf(eps=0.1).norm.sample(images[1:], budgets[1:], keys[1:], "start"), whole[1:])
