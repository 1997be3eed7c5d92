"""What attacks raise: published values where arithmetic allows, the right way up where it does not."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._objectives import (
    OBJECTIVES,
    chosen,
    cross_entropy,
    dlr,
    negative_margin,
    probability_margin,
    to_aim,
)

EVERY = {**OBJECTIVES, "to_aim": to_aim}


def gradient(objective, logits, labels, targets):
    logits = logits.clone().requires_grad_(True)
    values = objective(logits, labels, targets)
    return values.detach(), torch.autograd.grad(values.sum(), logits)[0]


def scene(classes, scale=3.0, seed=0, rows=64):
    draw = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(rows, classes, generator=draw)
    labels = torch.randint(classes, (rows,), generator=draw)
    targets = (labels + torch.randint(1, classes, (rows,), generator=draw)) % classes
    return logits, labels, targets, torch.full_like(labels, -1)


def test_dlr_is_the_paper_s():
    logits = torch.tensor([[4.0, 3.0, 1.0, 0.0], [1.0, 5.0, 2.0, 0.0]])
    labels, none = torch.tensor([0, 0]), torch.tensor([-1, -1])
    assert dlr(logits, labels, none).tolist() == pytest.approx([-1 / 3, 4 / 4])
    targets = torch.tensor([2, 2])
    assert to_aim(logits, labels, targets).tolist() == pytest.approx([-3 / 3.5, 1 / 4.5])
    # A target must lead everyone, not the label alone.
    assert dlr(logits, labels, targets).tolist() == pytest.approx([-3 / 3.5, -3 / 4.5])
    assert torch.equal(to_aim(logits, labels, none), dlr(logits, labels, none))


@pytest.mark.parametrize("objective", [dlr, to_aim])
def test_dlr_does_not_see_scale_or_shift(objective):
    logits, labels, targets, none = scene(10)
    for aims in (none, targets):
        assert torch.allclose(
            objective(logits, labels, aims), objective(100 * logits + 7, labels, aims), rtol=1e-3, atol=1e-5
        )


def test_too_few_classes_for_dlr_leave_the_margin():
    for classes, targeted in ((2, False), (2, True), (3, True)):
        logits, labels, targets, none = scene(classes)
        aims = targets if targeted else none
        assert torch.equal(dlr(logits, labels, aims), negative_margin(logits, labels, aims))
    lead = logits.gather(1, targets[:, None]) - logits.gather(1, labels[:, None])
    assert torch.equal(to_aim(logits, labels, targets), lead[:, 0])


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_the_probability_margin_is_there_in_log_odds(classes):
    logits, labels, targets, none = scene(classes)
    share = torch.softmax(logits.double(), dim=1)
    for aims in (none, targets):
        exact = negative_margin(share, labels, aims)
        found, way = gradient(probability_margin, logits, labels, aims)
        assert torch.allclose(torch.tanh(found.double() / 2), exact, atol=1e-5)
        wide = logits.double().requires_grad_(True)
        margins = negative_margin(torch.softmax(wide, dim=1), labels, aims)
        (wanted,) = torch.autograd.grad(margins.sum(), wide)
        assert (torch.cosine_similarity(way.double(), wanted, dim=1) > 0.9999).all()


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
@pytest.mark.parametrize("targeted", [False, True])
def test_every_objective_rises_with_success_and_stays_a_number(name, classes, targeted):
    objective = EVERY[name]
    tied = torch.zeros(8, classes)
    for scale in (1e-6, 1.0, 10.0, 1e4, 1e30):
        logits, labels, targets, none = scene(classes, scale)
        aims = targets if targeted else none
        values, way = gradient(objective, logits, labels, aims)
        assert values.isfinite().all()
        assert way.isfinite().all()
        if scale < 1e4:  # beyond, cross-entropy's gradient is too small for float32
            intact = logits.argmax(dim=1) == labels
            slope = way.gather(1, (aims if targeted else labels)[:, None])[intact, 0]
            assert (slope > 0 if targeted else slope < 0).all()
        values, way = gradient(objective, tied, labels[:8], aims[:8])
        assert values.isfinite().all()
        assert way.isfinite().all()


@pytest.mark.parametrize("objective", [negative_margin, dlr, probability_margin])
def test_the_sign_says_whether_it_is_a_success(objective):
    logits, labels, targets, none = scene(6)
    for aims, success in (
        (none, logits.argmax(dim=1) != labels),
        (targets, logits.argmax(dim=1) == targets),
    ):
        assert torch.equal(objective(logits, labels, aims) > 0, success)


def test_the_probability_margin_keeps_its_direction_where_probabilities_are_0_and_1():
    logits = torch.tensor([[5000.0, 10.0, 7.0], [60.0, -60.0, -61.0]])
    labels, none = torch.tensor([0, 0]), torch.tensor([-1, -1])
    values, way = gradient(probability_margin, logits, labels, none)
    assert values.tolist() == pytest.approx([-4990, -120], rel=0.01)
    assert (way[:, 0] < -0.5).all()
    assert (way[:, 1] > 0.5).all()


def test_no_row_sees_another():
    logits, labels, targets, none = scene(7, rows=16)
    for objective in EVERY.values():
        for aims in (none, targets, torch.where(labels % 2 == 0, targets, none)):
            values, way = gradient(objective, logits, labels, aims)
            for row in (0, 5, 15):
                alone, its_way = gradient(objective, logits[[row]], labels[[row]], aims[[row]])
                assert torch.allclose(values[[row]], alone, rtol=1e-5)
                assert torch.allclose(way[[row]], its_way, rtol=1e-4, atol=1e-7)


def test_each_row_has_its_own_objective_in_a_tile_filled_up_too():
    logits, labels, _, none = scene(5, rows=3)
    which = torch.tensor([1, 0, 2])
    several = chosen(which, cross_entropy, dlr, negative_margin)
    each = [dlr, cross_entropy, negative_margin]
    wanted = torch.stack([one(logits, labels, none)[row] for row, one in enumerate(each)])
    assert torch.equal(several(logits, labels, none), wanted)
    tile = torch.tensor([0, 1, 2, 0, 0])
    assert torch.equal(several(logits[tile], labels[tile], none[tile])[:3], wanted)
