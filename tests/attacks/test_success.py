"""One rule of success everywhere: the answer is the first of the largest logits, as before an attack."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bantamweight.attacks._core import run
from bantamweight.attacks._smallest import smallest_eps
from bantamweight.attacks._transferred import transferred
from bantamweight.attacks.cw import cw
from bantamweight.attacks.fab import fab, fab_t
from bantamweight.attacks.fmn import fmn
from bantamweight.attacks.hop_skip_jump import hop_skip_jump
from bantamweight.attacks.pgd import pgd
from bantamweight.attacks.square import square
from bantamweight.errors import AccessError
from bantamweight.oracle import fooled, oracle
from bantamweight.threats import NORMS, Threat, l2, linf
from tests.attacks.nets import Convolutional, grey_images, images_in_box, linear


class Coarse(nn.Module):
    """Logits of few bits, which tie; gradients go straight through."""

    def __init__(self, inner: nn.Module, level: float) -> None:
        super().__init__()
        self.inner, self.level = inner, level

    def forward(self, images):
        logits = self.inner(images)
        return logits + (torch.round(logits / self.level) * self.level - logits).detach()


def free(labels):
    return torch.full_like(labels, -1)


def test_the_first_of_the_largest_is_the_answer_and_nan_is_none():
    logits = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, math.nan, 2.0], [0.0, 3.0, 1.0]])
    labels = torch.tensor([0, 1, 0, 1])
    assert fooled(logits, labels, free(labels)).tolist() == [False, True, False, False]
    assert fooled(logits, labels, torch.tensor([0, 0, 2, 2])).tolist() == [True, True, False, False]
    assert fooled(logits, 1 - labels, free(labels), confidence=0.5).tolist() == [False, False, False, True]


def test_an_image_that_is_answered_wrongly_is_broken_though_two_logits_tie():
    model, images = Coarse(linear(classes=6), 0.5), grey_images(80)
    labels = model(images).argmax(dim=1)
    verdicts = run(pgd(linf(eps=0.02)), oracle(model, fold=False), images, labels, linf(eps=0.02))
    wrong = model(verdicts.images).argmax(dim=1) != labels
    assert 5 < int(wrong.sum()) < 80
    assert (torch.tensor(verdicts["success"]) == wrong).all()


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_labels_from_tied_logits_give_the_distance_that_the_attack_saw(norm):
    plain, images = linear(classes=6), grey_images(24)
    labels, threat = plain(images).argmax(dim=1), Threat(NORMS[norm], math.inf)
    made = hop_skip_jump(threat, steps=4, evaluations=20, draws=10)
    sizes = []
    for model in (plain, Coarse(plain, 0.05)):
        right = model(images).argmax(dim=1) == labels
        verdicts = run(made, oracle(model, fold=False), images[right], labels[right], threat, until="converged")
        sizes.append(float(torch.tensor(verdicts[f"size_{norm}"]).median()))
    assert sizes[1] < 2.0 * sizes[0], "not the noise that it began from"


@pytest.mark.parametrize("until", ["first", "budget", "converged"])
def test_a_success_has_the_margin_that_was_asked_for(until):
    model, images = linear(classes=4), grey_images(32)
    labels = model(images).argmax(dim=1)
    made = cw(l2(eps=0.7), steps=60, rounds=3, const=1.0, kappa=3.0)
    verdicts = run(made, oracle(model, fold=False), images, labels, l2(eps=0.7), until=until)
    broken = verdicts["success"]
    assert 0 < broken.sum() < len(images)
    assert (verdicts["margin"][broken] < -3.0).all()


def test_scores_are_those_of_the_model_and_not_of_its_surrogate():
    model, other, images = linear(), linear(seed=1), images_in_box(40, (3, 4, 4))
    labels, threat = model(images).argmax(dim=1), linf(eps=0.1)
    made = square(threat, queries=60)
    alone, grey = (
        run(made, oracle(model, fold=False, fuse=False, surrogate=stand_in), images, labels, threat)
        for stand_in in (None, other)
    )
    assert 0 < alone["success"].sum() < len(images)
    assert torch.equal(alone.images, grey.images)
    assert (alone["query"] == grey["query"]).all()


def test_an_image_in_eight_bits_survives_only_within_its_budget():
    model = linear(classes=40, pixels=768)
    images = (grey_images(100, (3, 16, 16)) * 255.0).round() / 255.0
    labels, threat = model(images).argmax(dim=1), linf(eps=0.6 / 255)
    verdicts = run(pgd(threat), oracle(model, fold=False), images, labels, threat)
    assert verdicts["success"].any()
    assert not verdicts["survives_8bit"].any(), "0.6 of a level becomes a whole one"
    wide = linf(eps=3 / 255)
    assert run(pgd(wide), oracle(model, fold=False), images, labels, wide)["survives_8bit"].any()


def test_the_smallest_budget_is_found_where_there_is_none_to_begin_with():
    model, images = linear(), grey_images(16)
    labels, threat = model(images).argmax(dim=1), l2(eps=math.inf)
    asked = oracle(model, fold=False)
    found = smallest_eps(fmn(threat, steps=30), asked, images, labels, threat, rounds=12)
    exact = run(fmn(threat, steps=30), asked, images, labels, threat, until="converged")["size_l2"]
    assert (found < 1.1 * exact + 0.005).all()


def test_restarts_are_made_towards_the_target_of_ones_own_too():
    model, images = Convolutional(), images_in_box(6, (3, 8, 8))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    goals, threat, spent = (labels + 1) % 5, l2(eps=1e-3), {}
    for restarts in (1, 3):
        made = fab_t(threat, steps=4, restarts=restarts, targets=2)
        spent[restarts] = run(made, oracle(model), images, labels, threat, targets=goals)["forwards"]
    assert (spent[3] == 3 * spent[1]).all()


def test_images_of_another_model_are_tried_where_nothing_may_be_asked():
    model, images = linear(), images_in_box(20, (3, 4, 4))
    labels, threat = model(images).argmax(dim=1), linf(eps=0.1)
    found = run(pgd(threat), oracle(model, fold=False), images, labels, threat)
    asked = oracle(model, fold=False, access="transfer")
    carried = run(transferred(threat), asked, images, labels, threat, starts=found.images)
    assert (carried["success"] == found["success"]).all()
    assert found["success"].any()
    assert asked.ledger.forwards == asked.ledger.backwards == 0
    with pytest.raises(AccessError, match="transfer"):
        run(square(threat), asked, images, labels, threat)


def test_a_grey_pixel_moves_half_the_rate_in_the_first_step_of_carlini_and_wagner():
    images, seen = torch.full((2, 3, 4, 4), 0.5), []

    class Noted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = linear()

        def forward(self, points):
            seen.append(points.detach().clone())
            return self.inner(points)

    model = Noted()
    labels = model(images).argmax(dim=1)
    run(cw(linf(eps=1.0), steps=1), oracle(model, fold=False, fuse=False), images, labels, linf(eps=1.0))
    moved = next(points for points in seen if not torch.equal(points[:1], images[:1]))[0] - 0.5
    assert float(moved.abs().median()) == pytest.approx(0.0025, rel=5e-3)


def test_fab_takes_no_gradient_at_a_point_that_it_only_looks_at():
    model, images = linear(classes=4), grey_images(100)
    model.layer.bias.data[3] = -1e6
    labels, threat = model(images).argmax(dim=1), l2(eps=math.inf)
    # Every other image is aimed at a class that nothing reaches and given up sooner; others take their places.
    goals = torch.where(torch.arange(100) % 2 == 0, 3, (labels + 1) % 3)
    asked = oracle(model, fold=False)
    verdicts = run(fab(threat, steps=4), asked, images, labels, threat, targets=goals, until="converged", batch=64)
    assert 0 < verdicts["success"].sum() < len(images)
    assert asked.ledger.backwards < 1.2 * verdicts["backwards"].sum(), (
        "all but those that end their search beside others"
    )


def test_a_smaller_tile_is_looked_at_once_as_many_rows_were_filled_up_as_that_costs():
    model, images = Convolutional(), images_in_box(20, (3, 8, 8))
    asked, looked = oracle(model, fuse=False), 0
    for filled in range(0, 64 + 3 * 32 + 1, 16):
        asked.ledger.padding = filled
        before = asked.ledger.probed
        asked.fit(images, 20)
        looked += asked.ledger.probed > before
        assert (asked.ledger.probed > before) == (filled >= 64 + 3 * 32)
    assert looked == 1
