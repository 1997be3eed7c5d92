"""The line from the best adversarial point to the image: what each margin on it narrows down."""

from __future__ import annotations

import torch

from bantamweight.attacks import _inwards as line
from bantamweight.threats import NORMS
from tests.attacks.nets import grey_images, rows_of

NORM = NORMS["l2"]
LATE = torch.tensor([True, True])


def begun():
    """Two rows that saw the image itself (margin 1) and then an adversarial point at distance 1 (margin -1)."""
    rows = rows_of(grey_images(2, seed=1))
    state = {"points": rows.images.clone(), **line.begun(rows)}
    state |= line.seen(NORM, rows, state, torch.ones(2))
    far = rows.images.clone()
    far[:, 0, 0, :4] += torch.where(far[:, 0, 0, :4] > 0.5, -0.5, 0.5)
    state["points"] = far
    return rows, state | line.seen(NORM, rows, state, -torch.ones(2)), far


def test_nothing_is_drawn_before_an_adversarial_point_is_known():
    rows = rows_of(grey_images(2, seed=1))
    state = {"points": rows.images.clone(), **line.begun(rows)}
    state |= line.seen(NORM, rows, state, torch.ones(2))
    assert line.closed_in(NORM, rows, state, LATE) == {}


def test_margins_on_the_line_narrow_it_from_both_ends():
    rows, state, far = begun()
    state |= line.closed_in(NORM, rows, state, LATE)
    assert torch.allclose(state["share"], torch.full((2,), 0.51)), "halfway, and 2% of what is left"
    assert torch.allclose(state["points"], torch.lerp(rows.images, far, 0.51))
    state |= line.seen(NORM, rows, state, torch.tensor([0.5, -0.5]))
    assert torch.equal(state["anchor"], far), "the line stays where it was drawn"
    assert torch.allclose(state["low"], torch.tensor([0.51, 0.0]))
    assert torch.allclose(state["high"], torch.tensor([1.0, 0.51]))
    assert state["low_gap"].tolist() == [0.5, 1.0]
    assert state["high_gap"].tolist() == [-1.0, -0.5]
    share = line.closed_in(NORM, rows, state, LATE)["share"]
    third, two = 1 / 3 + 0.02 * 2 / 3, 2 / 3 + 0.02 / 3
    assert torch.allclose(share, torch.tensor([0.51 + third * 0.49, two * 0.51]))


def test_a_better_point_of_the_walk_draws_another_line():
    rows, state, far = begun()
    state["points"] = rows.images + (far - rows.images) / 2
    state |= line.seen(NORM, rows, state, torch.tensor([-0.1, 0.2]))
    assert torch.allclose(state["reached"], torch.tensor([0.5, 1.0]))
    assert torch.equal(state["anchor"][0], state["points"][0])
    assert torch.equal(state["anchor"][1], far[1])
    assert state["low"].tolist() == [0.0, 0.0], "a point beside the line says nothing of it"
    assert state["low_gap"].tolist() == [1.0, 1.0]


def test_a_margin_that_is_no_number_halves_what_is_left():
    rows, state, _ = begun()
    state |= line.closed_in(NORM, rows, state, LATE)
    state |= line.seen(NORM, rows, state, torch.full((2,), torch.nan))
    share = line.closed_in(NORM, rows, state, LATE)["share"]
    assert torch.allclose(share, torch.full((2,), (0.51 + 1.0) / 2))
