"""The Square attack, piece by piece: its schedule, its squares, its bumps, and that it keeps only what is better."""

from __future__ import annotations

import pytest
import torch

from bantamweight import rng
from bantamweight.attacks import _squares
from bantamweight.attacks.square import _halvings, square
from bantamweight.oracle import margin, oracle
from bantamweight.threats import LINF, NORMS, linf
from tests.attacks.nets import grey_images, images_in_box, linear, rows_of


def test_the_square_shrinks_on_the_paper_s_schedule():
    steps = torch.tensor([0, 10, 11, 50, 51, 200, 201, 4001, 8001, 9999])
    assert _halvings(steps, 10_000).tolist() == [0, 0, 1, 1, 2, 2, 3, 7, 9, 9]
    assert _halvings(torch.tensor([5, 6, 4001]), 5000).tolist() == [0, 1, 9]
    sides = [_squares.squares(LINF).side(0.8 / 2**n * 1024, 32) for n in range(10)]
    assert sides == [29, 20, 14, 10, 7, 5, 4, 3, 2, 1]
    sides = [_squares.squares(NORMS["l2"]).side(0.8 / 2**n * 1024, 32) for n in range(10)]
    assert sides == [29, 21, 15, 11, 7, 5, 5, 3, 3, 3]


def test_each_row_has_a_square_of_its_own_anywhere_in_the_image():
    images = 0.3 + 0.4 * images_in_box(2000, (3, 6, 6))
    kind = _squares.squares(LINF)
    rows = rows_of(images)
    level = torch.arange(2000) % 2
    changed = kind.propose(rows, images, (4, 2), level, rng.bits(rows.keys, kind.words(3), "test")) - images
    touched = changed.abs().amax(dim=1) > 0
    for number, side in enumerate((4, 2)):
        mine = touched[level == number]
        high, wide = mine.any(dim=2), mine.any(dim=1)
        assert (high.sum(dim=1) == side).all()
        assert (wide.sum(dim=1) == side).all()
        assert (mine.sum(dim=(1, 2)) == side * side).all()
        corners = high.float().argmax(dim=1) * 6 + wide.float().argmax(dim=1)
        counts = corners.bincount(minlength=36)[corners.unique()]
        assert len(counts) == (7 - side) ** 2, "every place, the last ones included"
        assert counts.min() > 0.5 * 1000 / len(counts)
    size = changed.abs().flatten(2).amax(dim=2)
    assert torch.allclose(size, torch.full_like(size, 0.1), atol=1e-6)


def rings(height, width, power):
    """The bump as the reference draws it: smaller squares on top of larger ones."""
    bump = torch.zeros(height, width, dtype=torch.float64)
    for ring in range(max(height // 2, width // 2) + 1):
        top, left = height // 2 - ring, width // 2 - ring
        bump[max(top, 0) : top + 2 * ring + 1, max(left, 0) : left + 2 * ring + 1] += 1.0 / (ring + 1) ** power
    return bump


@pytest.mark.parametrize(("order", "power"), [(2, 2), (1, 4)])
@pytest.mark.parametrize("side", [1, 3, 6, 7])
def test_bumps_are_two_of_opposite_sign_and_of_size_one(order, power, side):
    upper, lower = rings(side // 2, side, power), rings(side - side // 2, side, power)
    pair = torch.cat([part / part.norm(p=order).clamp_min(1e-12) for part in (upper, -lower)])
    found = _squares._bump(side, order, power)
    assert torch.allclose(found.double(), pair / pair.norm(p=order), atol=1e-6)
    table = _squares._bumps((7, side), order, power)
    assert torch.equal(table[1, 1, :side, :side], found.T)


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_what_square_proposes_spends_the_budget_and_stays_in_the_box(norm):
    images, kind = images_in_box(64, (3, 12, 10)), _squares.squares(NORMS[norm])
    rows = rows_of(images)
    points = kind.start(rows)
    for step in range(6):
        size = NORMS[norm].size(points - images)
        assert (size <= 0.1 + 1e-6).all()
        assert size.median() > 0.07
        assert 0 <= points.min() <= points.max() <= 1
        words = rng.bits(rows.keys, kind.words(3), "test", step)
        points = kind.propose(rows, points, (7, 3), torch.arange(64) % 2, words)


def test_random_search_keeps_only_what_is_better():
    model, images, threat = linear(), grey_images(16), linf(eps=0.01)
    labels = model(images).argmax(dim=1)
    attack = square(threat, queries=50)
    rows = rows_of(images, labels)
    state = attack.init(rows)
    losses = []
    for step in range(50):
        rows = rows_of(images, labels, step)
        answer = oracle(model, fold=False).ask(attack.ask(rows, state), labels, rows.aims, torch.ones(16).bool())
        state = attack.tell(rows, state, answer)
        losses.append(state["loss"])
        assert torch.allclose(state["loss"], margin(model(state["best"]), labels, rows.aims), atol=1e-5)
    steps = torch.stack(losses).diff(dim=0)
    assert (steps <= 0).all()
    assert (steps < 0).any(dim=0).all()
