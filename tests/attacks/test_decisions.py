"""Attacks that see only labels: the distance they reach on a linear model, their starts, and what they may see."""

from __future__ import annotations

import math

import pytest
import torch

from bantamweight.attacks._core import run
from bantamweight.attacks.boundary import boundary
from bantamweight.attacks.hop_skip_jump import hop_skip_jump
from bantamweight.errors import AccessError, InputError
from bantamweight.oracle import margin, oracle
from bantamweight.threats import l2, linf
from tests.attacks.nets import Convolutional, grey_images, images_in_box, linear

FAR_L2, FAR_LINF = l2(eps=100.0), linf(eps=1.0)
# Attack, threat, the dual norm, and how far above the closed form it may end after these few labels.
CASES = {
    "boundary": (boundary(FAR_L2, steps=1500), FAR_L2, 2, 1.1),
    "hop_skip_jump-l2": (hop_skip_jump(FAR_L2, steps=8, evaluations=30), FAR_L2, 2, 1.15),
    "hop_skip_jump-linf": (hop_skip_jump(FAR_LINF, steps=8, evaluations=30), FAR_LINF, 1, 1.3),
}
SHORT = {
    "boundary": (boundary(FAR_L2, steps=30, draws=10), FAR_L2),
    "hop_skip_jump-l2": (hop_skip_jump(FAR_L2, steps=2, evaluations=10, draws=10), FAR_L2),
    "hop_skip_jump-linf": (hop_skip_jump(FAR_LINF, steps=2, evaluations=10, draws=10), FAR_LINF),
}


@pytest.mark.parametrize("case", CASES)
def test_the_distance_on_a_linear_model_is_nearly_the_closed_form(case):
    attack, threat, dual, ratio = CASES[case]
    model, images = linear(), grey_images(12)
    labels = model(images).argmax(dim=1)
    none = torch.full_like(labels, -1)
    slope = (model.layer.weight[0] - model.layer.weight[1]).norm(p=dual)
    exact = (margin(model(images), labels, none) / slope).detach()
    asked = oracle(model, fold=False)
    verdicts = run(attack, asked, images, labels, threat, until="converged")
    found = torch.tensor(verdicts[f"size_{threat.norm.name}"])
    assert verdicts["success"].all()
    assert (found >= exact * 0.9999).all()
    assert float((found / exact).median()) < ratio
    assert (verdicts["backwards"] == 0).all()
    assert asked.ledger.backwards == 0
    assert (verdicts["forwards"] <= attack.queries).all()


@pytest.mark.parametrize("case", SHORT)
def test_a_given_start_is_where_it_begins_and_a_target_needs_one(case):
    attack, threat = SHORT[case]
    model, images = linear(classes=10, pixels=192, seed=1), images_in_box(80, seed=3)
    labels = model(images).argmax(dim=1)
    target = int(labels.bincount().argmin())
    chosen = torch.nonzero(labels != target)[:6, 0]
    targets = torch.full_like(chosen, target)
    # The image as far towards the target as the box lets it be.
    start = (model.layer.weight[target] - model.layer.weight.mean(dim=0)).reshape(images.shape[1:]).sign()
    starts = (0.5 + 0.5 * start).expand(len(chosen), *images.shape[1:]).contiguous()
    assert (model(starts).argmax(dim=1) == target).all()
    problem = (oracle(model, fold=False), images[chosen], labels[chosen], threat)
    verdicts = run(attack, *problem, targets=targets, until="converged", starts=starts)
    assert verdicts["success"].all()
    assert (verdicts["query"] == 0).all()
    assert (model(verdicts.images).argmax(dim=1) == target).all()
    size = threat.norm.size(starts - images[chosen]).numpy()
    assert (verdicts[f"size_{threat.norm.name}"] < size).all()


@pytest.mark.parametrize("case", SHORT)
def test_a_row_without_an_adversarial_start_fails_and_stops(case):
    threat = SHORT[case][1]
    attack = (boundary if case == "boundary" else hop_skip_jump)(threat, draws=5)

    class Stubborn(torch.nn.Module):
        def forward(self, images):
            return torch.stack([images.flatten(1).sum(dim=1) + 1.0, torch.zeros(len(images))], dim=1)

    images = images_in_box(3)
    labels = torch.zeros(3, dtype=torch.int64)
    verdicts = run(attack, oracle(Stubborn(), fold=False), images, labels, threat, until="converged")
    assert not verdicts["success"].any()
    assert (verdicts["forwards"] == 5).all()
    assert torch.equal(verdicts.images, images)


@pytest.mark.parametrize("case", SHORT)
def test_a_start_of_a_third_class_is_none_for_a_target(case):
    threat = SHORT[case][1]
    attack = (boundary if case == "boundary" else hop_skip_jump)(threat, draws=5)

    class Unreachable(torch.nn.Module):
        """Bright, dark, and a third class that no image is of."""

        def forward(self, images):
            bright = images.flatten(1).mean(dim=1) - 0.5
            return torch.stack([bright, -bright, torch.full_like(bright, -9.0)], dim=1)

    images, model = images_in_box(3) / 2, Unreachable()
    labels, targets = torch.ones(3, dtype=torch.int64), torch.full((3,), 2)
    starts = torch.ones_like(images)  # of class 0
    verdicts = run(attack, oracle(model, fold=False), images, labels, threat, targets=targets, until="converged",
                   starts=starts)  # fmt: skip
    assert not verdicts["success"].any()
    assert (verdicts["forwards"] == 6).all(), "the start, and five draws of noise"


@pytest.mark.parametrize("case", SHORT)
def test_rows_do_not_know_who_else_is_in_the_batch(case):
    attack, threat = SHORT[case]
    model, images = Convolutional().eval(), images_in_box(12)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    whole = run(attack, oracle(model), images, labels, threat, until="converged")
    assert whole["success"].any()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    for index, batch in ((order, 64), (torch.arange(12), 5)):
        again = run(attack, oracle(model), images[index], labels[index], threat, until="converged", batch=batch)
        assert torch.equal(again.images, whole.images[index])
        assert (again["query"] == whole["query"][index]).all()
        assert (again["forwards"] == whole["forwards"][index]).all()


@pytest.mark.parametrize("case", SHORT)
def test_a_label_is_all_they_see(case):
    attack, threat = SHORT[case]
    model, images = linear(), grey_images(4)
    labels = model(images).argmax(dim=1)
    run(attack, oracle(model, fold=False, access="decision"), images, labels, threat, until="converged")
    with pytest.raises(AccessError, match="transfer access"):
        run(attack, oracle(model, fold=False, access="transfer"), images, labels, threat)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: boundary(FAR_LINF), "boundary is defined for l2, not for linf"),
        (lambda: boundary(FAR_L2, steps=0), "steps and draws of at least 1"),
        (lambda: boundary(FAR_L2, converged=1.0), "converged below inward_step"),
        (lambda: hop_skip_jump(FAR_L2, steps=0), "of at least 1"),
        (lambda: hop_skip_jump(FAR_L2, gamma=-1.0), "gamma above 0"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_an_unbounded_budget_is_a_budget():
    threat = l2(eps=math.inf)
    model, images = linear(), grey_images(4)
    labels = model(images).argmax(dim=1)
    attack = hop_skip_jump(threat, steps=2, evaluations=10)
    assert run(attack, oracle(model, fold=False), images, labels, threat, until="converged")["success"].all()


@pytest.mark.parametrize("case", SHORT)
def test_what_is_stored_is_what_was_found_whatever_form_the_net_has(case):
    """Walking along the boundary of a folded net, they would store points that the net itself sees otherwise."""
    attack, threat = SHORT[case]
    model, images = Convolutional().eval(), images_in_box(24, (3, 9, 9), seed=4)
    labels = model(images).argmax(dim=1)
    found = [run(attack, oracle(model, **form), images, labels, threat, until="converged")
             for form in ({"fold": False, "fuse": False}, {}, {"precision": "bf16"})]  # fmt: skip
    for other in found[1:]:
        assert torch.equal(found[0].images, other.images)
        assert (found[0]["forwards"] == other["forwards"]).all()
