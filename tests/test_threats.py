"""The geometry of norm and box, against closed forms, certificates of optimality and linear programs."""

from __future__ import annotations

import importlib
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import bantamweight as bw
from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.parts import find
from bantamweight.threats import NORMS, TOLERANCE, _level, l0, l1, l2, linf, sizes
from bantamweight.threats._core import moved

ALL = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
CONVEX = pytest.mark.parametrize("norm", [NORMS["linf"], NORMS["l2"], NORMS["l1"]], ids=lambda norm: norm.name)
SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=25, deadline=None)
SHAPE = (3, 2, 2)


def scene(seed, scale=1.0, shape=(3, 5, 5), rows=4):
    """Images of which a fifth of the pixels is black or white, and points around them."""
    draw = torch.Generator().manual_seed(seed)
    origin = (1.4 * torch.rand(rows, *shape, generator=draw) - 0.2).clamp(0, 1)
    return origin, origin + scale * torch.randn(rows, *shape, generator=draw)


def inner(a, b):
    return (a.double() * b.double()).flatten(1).sum(dim=1)


def budgets_of(norm, share, images):
    return torch.full((len(images),), share * norm.largest(images.shape[1:]))


@ALL
@given(seed=SEEDS, share=st.floats(1e-3, 1.0), scale=st.floats(1e-4, 10))
@FEW
def test_projection_lands_in_ball_and_box_and_is_idempotent(norm, seed, share, scale):
    origin, points = scene(seed, scale)
    eps = budgets_of(norm, share, origin)
    inside = norm.project(points, origin, eps)
    assert (norm.size(inside - origin) <= eps + TOLERANCE * eps.clamp_min(1.0)).all()
    assert float(inside.min()) >= 0
    assert float(inside.max()) <= 1
    assert torch.allclose(norm.project(inside, origin, eps), inside, atol=1e-6)
    assert torch.equal(norm.project(origin, origin, eps), origin)
    assert torch.equal(norm.project(points, origin, torch.full((4,), math.inf)), points.clamp(0, 1))
    assert torch.equal(norm.project(points, origin, torch.zeros(4)), origin)


def best_of_l1_ball(direction, origin, eps):
    """The largest <direction, x> over the L1 ball around one image, in the box, by linear programming."""
    gain, start = direction.flatten().double().numpy(), origin.flatten().double().numpy()
    bounds = [(0, 1 - x) for x in start] + [(0, x) for x in start]
    found = linprog([*-gain, *gain], A_ub=[[1.0] * (2 * len(start))], b_ub=[eps], bounds=bounds)
    return gain @ start - found.fun


@given(seed=SEEDS, eps=st.floats(0.01, 6.0), scale=st.floats(0.01, 3))
@FEW
def test_no_point_of_l1_ball_and_box_is_closer_than_the_projection(seed, eps, scale):
    origin, points = scene(seed, scale, SHAPE, rows=2)
    inside = NORMS["l1"].project(points, origin, torch.full((2,), eps))
    away = points - inside
    for row in range(2):
        # The projection onto a convex set: no point of the set lies further along what is left.
        most = best_of_l1_ball(away[row], origin[row], eps)
        assert most <= float(inner(away, inside)[row]) + 1e-5 * (1 + scale)


@given(seed=SEEDS, eps=st.integers(0, 5), scale=st.floats(0.01, 3))
@FEW
def test_no_choice_of_pixels_is_closer_than_the_l0_projection(seed, eps, scale):
    origin, points = scene(seed, scale, SHAPE, rows=2)
    inside = NORMS["l0"].project(points, origin, torch.full((2,), float(eps)))
    distance = (inside - points).square().flatten(1).sum(dim=1)
    for chosen in itertools.combinations(range(4), min(eps, 4)):
        other = origin.flatten(2).clone()
        other[:, :, list(chosen)] = points.flatten(2)[:, :, list(chosen)].clamp(0, 1)
        assert (distance <= (other - points.flatten(2)).square().flatten(1).sum(dim=1) + 1e-5).all()


@CONVEX
@given(seed=SEEDS, eps=st.floats(0.01, 6.0), scale=st.floats(0.01, 10))
@FEW
def test_ball_is_the_nearest_perturbation_and_dual_its_support(norm, seed, eps, scale):
    delta = scene(seed, scale)[1]
    inside = norm.ball(delta, torch.full((4,), eps))
    assert (norm.size(inside) <= eps * (1 + 1e-5)).all()
    left = delta - inside
    slack = 1e-4 * eps * norm.dual(delta).double()
    assert (eps * norm.dual(left).double() <= inner(left, inside) + slack)[norm.size(delta) > eps].all()
    assert torch.allclose(inside[norm.size(delta) <= eps], delta[norm.size(delta) <= eps], atol=1e-6 * scale)


def test_the_most_that_a_linear_function_rises_by_hand():
    """Two entries, 3 and -4: both at once, along them, the larger one alone (L1, and L0 of one channel)."""
    gradient = torch.tensor([3.0, -4.0]).reshape(1, 1, 1, 2)
    assert {name: float(norm.dual(gradient)) for name, norm in NORMS.items()} == {
        "linf": 7.0,
        "l2": 5.0,
        "l1": 4.0,
        "l0": 4.0,
    }


def test_l0_ball_keeps_the_pixels_with_the_largest_changes():
    delta = torch.zeros(1, 2, 1, 4)
    delta[0, :, 0] = torch.tensor([[0.3, 0.0, -0.5, 0.2], [0.3, 0.0, 0.0, 3.0]])
    kept = [NORMS["l0"].ball(delta, torch.tensor([eps]))[0].abs().sum(dim=0)[0] > 0 for eps in (0, 1, 2.9, 4, math.inf)]
    assert [row.tolist() for row in kept] == [
        [False, False, False, False],
        [False, False, False, True],
        [False, False, True, True],
        [True, False, True, True],
        [True, False, True, True],
    ]


@ALL
@given(seed=SEEDS)
@FEW
def test_steepest_is_the_best_unit_direction(norm, seed):
    points, gradient = scene(seed, 1.0)
    gradient = gradient - points
    way = norm.steepest(gradient, points)
    assert torch.allclose(norm.size(way), torch.ones(4), atol=1e-5)
    room = torch.where(gradient > 0, 1 - points, points)
    free = torch.where(room > 0, gradient.abs(), 0.0).flatten(1)
    best = {
        "linf": gradient.abs().flatten(1).sum(dim=1),
        "l2": gradient.flatten(1).norm(dim=1),
        "l1": free.amax(dim=1),
        "l0": (gradient.abs() * room).sum(dim=1).flatten(1).amax(dim=1),
    }
    assert torch.allclose(inner(way, gradient).float(), best[norm.name], rtol=1e-5)


@ALL
@given(seed=SEEDS)
@FEW
def test_a_step_is_as_long_as_it_is_asked_to_be(norm, seed):
    points, gradient = scene(seed, 1.0)
    gradient = gradient - points
    # Off the edges of the box, so that every pixel can move.
    points = 0.1 + 0.8 * points
    length = torch.tensor([0.2, 1.0, 2.5, 4.0])
    found = norm.step(gradient, points, length)
    if norm.name == "l0":  # the rest lies beyond the box
        found = (points + found).clamp(0.0, 1.0) - points
    else:
        assert torch.allclose(norm.size(found), length, rtol=1e-5)
        assert torch.allclose(found, length[:, None, None, None] * norm.steepest(gradient, points))
        return
    assert norm.size(found).tolist() == [1, 1, 3, 4], "whole pixels, and at least one"
    room = torch.where(gradient > 0, 1 - points, points)
    gains = (gradient.abs() * room).sum(dim=1).flatten(1).sort(dim=1, descending=True).values
    best = torch.stack([row[:count].sum() for row, count in zip(gains, (1, 1, 3, 4), strict=True)])
    assert torch.allclose(inner(found, gradient).float(), best, rtol=1e-4)


@given(seed=SEEDS)
@FEW
def test_l1_steps_move_the_best_hundredth_that_the_box_leaves_free(seed):
    points, gradient = scene(seed, 1.0, (3, 10, 10))
    way = NORMS["l1"].steepest(gradient, points)
    blocked = torch.where(gradient > 0, points == 1, points == 0)
    moved = way != 0
    assert (moved.flatten(1).sum(dim=1) == 3).all()
    assert not (moved & blocked).any()
    assert (way[moved].sign() == gradient[moved].sign()).all()
    assert torch.allclose(way[moved].abs(), torch.tensor(1 / 3))
    least = torch.where(moved, gradient.abs(), math.inf).flatten(1).amin(dim=1)
    assert (torch.where(moved | blocked, 0.0, gradient.abs()).flatten(1).amax(dim=1) <= least).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20])
def test_steepest_survives_tiny_and_huge_gradients(scale):
    gradient = torch.full((1, 1, 2, 2), scale)
    assert torch.allclose(l2(eps=1.0).norm.steepest(gradient, gradient), torch.full((1, 1, 2, 2), 0.5))
    assert torch.allclose(l2(eps=1.0).norm.dual(gradient), torch.tensor(2 * scale))
    assert (l2(eps=1.0).norm.steepest(gradient * 0, gradient) == 0).all()


def plane(seed, share, shape=SHAPE):
    """Points of the box, a normal of wild scale with zeros, and a plane; beyond the box where share is above 1."""
    points, around = scene(seed, 1.0, shape, rows=2)
    draw = torch.Generator().manual_seed(seed + 1)
    normal = (around - points) * 10 ** (2 * torch.rand(2, *shape, generator=draw) - 1)
    normal[torch.rand(2, *shape, generator=draw) < 0.2] = 0.0
    rise = inner(normal, (normal > 0).float()) - inner(normal, points)
    fall = inner(normal, (normal < 0).float()) - inner(normal, points)
    wanted = torch.where(torch.arange(2) == 0, rise, fall) * share
    return points, normal, (-inner(normal, points) - wanted).float()


def on_plane(points, normal, offset):
    return inner(normal, points) + offset.double()


@ALL
@given(seed=SEEDS, share=st.floats(0.0, 0.99))
@FEW
def test_hyperplane_points_lie_on_the_plane_in_the_box(norm, seed, share):
    points, normal, offset = plane(seed, share, (3, 6, 6))
    found = norm.hyperplane(points, normal, on_plane(points, normal, offset).float())
    assert float(found.min()) >= 0
    assert float(found.max()) <= 1
    assert (on_plane(found, normal, offset).abs() <= 1e-6 * normal.abs().flatten(1).sum(dim=1)).all()
    assert torch.equal(found[normal == 0], points[normal == 0])


@ALL
@given(seed=SEEDS, share=st.floats(1.0 + 1e-4, 3.0))
@FEW
def test_a_plane_that_the_box_does_not_reach_is_come_closest_to(norm, seed, share):
    points, normal, offset = plane(seed, share)
    found = norm.hyperplane(points, normal, on_plane(points, normal, offset).float())
    up = torch.tensor([1.0, -1.0])[:, None, None, None] * normal > 0
    corner = torch.where(normal == 0, points, up.float())
    assert torch.allclose(found, corner, atol=1e-6)


def shortest(points, normal, offset, kind):
    """The least L1 or L-inf distance from one image to its plane within the box, by linear programming."""
    x, w = points.flatten().double().numpy(), normal.flatten().double().numpy()
    gap, n = -(w @ x + float(offset)), len(x)
    room = [(0, 1 - one) for one in x] + [(0, one) for one in x]
    if kind == "l1":
        return linprog([1.0] * (2 * n), A_eq=[[*w, *-w]], b_eq=[gap], bounds=room).fun
    each = torch.cat([torch.eye(2 * n), -torch.ones(2 * n, 1)], dim=1).numpy()
    cost = [0.0] * (2 * n) + [1.0]
    return linprog(cost, A_ub=each, b_ub=[0.0] * (2 * n), A_eq=[[*w, *-w, 0.0]], b_eq=[gap], bounds=[*room, (0, 1)]).fun


@pytest.mark.parametrize("name", ["linf", "l1"])
@given(seed=SEEDS, share=st.floats(0.01, 0.95))
@FEW
def test_hyperplane_points_are_as_near_as_a_linear_program_finds(name, seed, share):
    points, normal, offset = plane(seed, share)
    size = NORMS[name].size(NORMS[name].hyperplane(points, normal, on_plane(points, normal, offset).float()) - points)
    for row in range(2):
        assert float(size[row]) == pytest.approx(shortest(points[row], normal[row], offset[row], name), abs=1e-5)


@given(seed=SEEDS, share=st.floats(0.01, 0.95))
@FEW
def test_no_point_of_plane_and_box_is_nearer_in_l2(seed, share):
    points, normal, offset = plane(seed, share)
    found = NORMS["l2"].hyperplane(points, normal, on_plane(points, normal, offset).float())
    for row in range(2):
        away = (points - found)[row].flatten().double().numpy()
        equation = normal[row].flatten().double().numpy()
        here = found[row].flatten().double().numpy()
        most = -linprog(-away, A_eq=[equation], b_eq=[equation @ here], bounds=[(0, 1)] * len(away)).fun
        assert most <= away @ here + 1e-5


@given(seed=SEEDS, share=st.floats(0.01, 0.95))
@FEW
def test_no_fewer_pixels_reach_the_plane(seed, share):
    points, normal, offset = plane(seed, share)
    found = NORMS["l0"].size(NORMS["l0"].hyperplane(points, normal, on_plane(points, normal, offset).float()) - points)
    gap = -on_plane(points, normal, offset)
    room = torch.where(gap.sign()[:, None, None, None] * normal > 0, 1 - points, points)
    gains = (normal.abs() * room).sum(dim=1).flatten(1).double()
    for row in range(2):
        fewer = itertools.combinations(gains[row].tolist(), int(found[row]) - 1)
        assert all(sum(chosen) < float(gap[row].abs()) + 1e-5 for chosen in fewer)


@pytest.mark.parametrize("name", ["linf", "l2", "l1"])
def test_samples_fill_the_ball_and_each_row_has_its_own_budget(name):
    norm = NORMS[name]
    origin = torch.full((200, 1, 2, 2), 0.5)
    budgets = torch.linspace(0.01, 0.4, 200)
    drawn = norm.sample(origin, budgets, torch.arange(200), "start")
    share = norm.size(drawn - origin) / budgets
    assert float(share.max()) <= 1 + 1e-4
    # In d = 4 dimensions P(size <= r) = r^4 for every norm.
    assert abs(float((share**4).mean()) - 0.5) < 0.08
    assert float((drawn - origin).mean(dim=0).abs().max()) < 0.03


def test_l0_samples_change_as_many_pixels_as_allowed_each_as_often():
    origin = torch.full((600, 3, 2, 2), 0.5)
    budgets = torch.tensor([0.0, 1.0, 2.0, 3.5, 4.0, math.inf]).repeat(100)
    drawn = NORMS["l0"].sample(origin, budgets, torch.arange(600), "start")
    assert torch.equal(NORMS["l0"].size(drawn - origin), torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0, 4.0]).repeat(100))
    often = (drawn != origin).any(dim=1)[1::6].float().mean(dim=0)
    assert float((often - 0.25).abs().max()) < 0.13


@ALL
def test_samples_without_a_bound_are_points_of_the_box(norm):
    origin, _ = scene(0)
    drawn = norm.sample(origin, torch.full((4,), math.inf), torch.arange(4), "start")
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) <= 1
    assert not torch.equal(drawn, origin)


@ALL
@pytest.mark.parametrize("shape", [(3, 5, 5), (3, 120, 120)])
def test_a_row_does_not_depend_on_the_others(norm, shape):
    origin, points = scene(3, 0.5, shape, rows=5)
    eps = torch.tensor([0.0, 0.01, 0.3, 0.7, math.inf]) * norm.largest(shape) * 0.1
    keys, offset = torch.arange(5), torch.tensor([0.0, 1.0, -1.0, 1e4, -1e4])
    calls = {
        "size": lambda i: norm.size(points[i] - origin[i]),
        "dual": lambda i: norm.dual(points[i]),
        "ball": lambda i: norm.ball(points[i], eps[i]),
        "project": lambda i: norm.project(points[i], origin[i], eps[i]),
        "sample": lambda i: norm.sample(origin[i], eps[i], keys[i], "start"),
        "steepest": lambda i: norm.steepest(points[i], origin[i]),
        "step": lambda i: norm.step(points[i], origin[i], eps[i].clamp_max(1e6)),
        "hyperplane": lambda i: norm.hyperplane(origin[i], points[i], offset[i]),
    }
    for name, call in calls.items():
        whole = call(torch.arange(5))
        for rows in ([0], [2], [4], [3, 1], [4, 3, 2, 1, 0]):
            assert torch.equal(call(torch.tensor(rows)), whole[rows]), (name, rows)


@ALL
def test_nothing_is_nan_where_there_is_nothing_to_do(norm):
    white, zero = torch.ones(2, 3, 4, 4), torch.zeros(2)
    up, flat = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(2, 3, 4, 4)
    assert (norm.steepest(flat, white) == 0).all()
    assert norm.steepest(up, white).isfinite().all()
    assert (norm.dual(flat) == 0).all()
    for eps in (zero, torch.full((2,), math.inf)):
        assert (norm.ball(flat, eps) == 0).all()
        assert torch.equal(norm.project(white, white, eps), white)
        assert torch.equal(norm.project(white + up, white, eps), white)
    assert torch.equal(norm.sample(white, zero, torch.arange(2), "start"), white)
    for normal, offset in ((flat, zero), (flat, zero + 1), (up, -inner(up, white).float() - 1)):
        assert torch.equal(norm.hyperplane(white, normal, on_plane(white, normal, offset).float()), white)
    far = norm.hyperplane(0.5 * white, 1e-30 * up, -inner(1e-30 * up, 0.25 * white).float())
    assert far.isfinite().all()
    assert (far >= 0.5).all()


def test_where_the_box_blocks_everything_l1_and_l0_do_not_step():
    white = torch.ones(2, 3, 4, 4)
    for name in ("l1", "l0"):
        assert (NORMS[name].steepest(white, white) == 0).all()


def test_l1_stays_within_a_small_budget_in_many_dimensions():
    origin = torch.rand(6, 3, 200, 200, generator=torch.Generator().manual_seed(0))
    signs = torch.where(origin > 0.5, -1.0, 1.0)
    for eps in (1.0, 100.0):
        # Every coordinate moves by a few float32 steps, so rounding adds up.
        inside = NORMS["l1"].project(origin + 1.2 * eps / 120_000 * signs, origin, torch.full((6,), eps))
        size = (inside.double() - origin.double()).abs().flatten(1).sum(dim=1)
        assert (size <= eps + TOLERANCE * max(eps, 1)).all()
        assert (size >= 0.99 * eps).all()


def test_levels_are_found_in_a_few_steps(monkeypatch):
    origin, points = scene(0, 0.3, (3, 32, 32))
    exact = NORMS["l1"].project(points, origin, torch.full((4,), 12.0))
    monkeypatch.setattr(_level, "STEPS", 14)
    assert torch.equal(NORMS["l1"].project(points, origin, torch.full((4,), 12.0)), exact)
    assert torch.allclose(NORMS["l1"].size(exact - origin), torch.tensor(12.0))


def test_per_image_sizes():
    delta = torch.zeros(1, 3, 2, 2)
    delta[0, :, 0, 0] = torch.tensor([0.3, -0.4, 0.0])
    measured = {name: round(float(size), 6) for name, size in sizes(delta).items()}
    assert measured == {"linf": 0.4, "l2": 0.5, "l1": 0.7, "l0": 1.0}
    assert {name: norm.largest((3, 2, 2)) for name, norm in NORMS.items()} == {
        "linf": 1.0,
        "l2": math.sqrt(12),
        "l1": 12.0,
        "l0": 4.0,
    }


def test_budgets_are_written_as_papers_write_them():
    said = {
        "linf 8/255": linf(eps=8 / 255),
        "linf 0.03": linf(eps=0.03),
        "linf 1": linf(eps=1.0),
        "l2 0.5": l2(eps=0.5),
        "l1 12": l1(eps=12),
        "l0 20": l0(eps=20),
        "l2 unbounded": l2(eps=math.inf),
        "linf unbounded": linf(eps=math.inf),
    }
    assert [str(threat) for threat in said.values()] == list(said)


@pytest.mark.parametrize(
    ("norm", "eps"), [(linf, 0), (linf, 8), (l2, -1), (linf, math.nan), (l1, 0), (l0, 0.5), (l0, 2.5), (l0, -math.inf)]
)
def test_impossible_budgets_are_refused(norm, eps):
    with pytest.raises(InputError, match=r"expected (an epsilon|a whole number of pixels)"):
        norm(eps=eps)


def test_a_name_is_its_function_whatever_was_imported_first():
    for name, function in {"linf": linf, "l2": l2, "l1": l1, "l0": l0}.items():
        importlib.import_module(f"bantamweight.threats.{name}")
        assert importlib.import_module("bantamweight.threats").__dict__[name] is function
        assert find("threats", name) is function is getattr(bw, name)


def test_keys_decide_the_sample():
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    keys, budgets = rng.image_keys(images), torch.full((3,), 0.1)
    whole = linf(eps=0.1).norm.sample(images, budgets, keys, "start")
    assert torch.equal(linf(eps=0.1).norm.sample(images[1:], budgets[1:], keys[1:], "start"), whole[1:])


def test_a_move_beyond_the_box_ends_on_its_wall():
    points, way = torch.tensor([[[[0.9, 0.1, 0.5]]]]), torch.tensor([[[[1.0, -1.0, 0.0]]]])
    assert moved(points, way, torch.full((1, 3), 0.5)).tolist() == [[[[1.0, 0.0, 0.5]]]]


@pytest.mark.parametrize("needed", [0.0, 0.3, 3.0, 40.0, 1e4])
def test_those_of_most_worth_spend_first_however_many_it_takes(needed):
    draw = torch.Generator().manual_seed(0)
    caps, worth = torch.rand(5, 300, generator=draw), torch.rand(5, 300, generator=draw)
    given = _level.spent(caps, worth, torch.full((5,), needed))
    for row in range(5):
        left = needed
        for place in worth[row].argsort(descending=True).tolist():
            share = min(left, float(caps[row, place]))
            assert float(given[row, place]) == pytest.approx(share, abs=1e-6)
            left -= share
