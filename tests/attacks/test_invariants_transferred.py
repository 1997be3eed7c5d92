"""Images that fooled another model: brought into the budget, tried once, and kept where they fool this one."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._core import run
from bantamweight.attacks._transferred import transferred
from bantamweight.oracle import margin, oracle
from bantamweight.threats import NORMS, TOLERANCE, Threat
from tests.attacks.nets import grey_images, linear


def scene(norm):
    """Starts a little past the boundary of a linear model for one half of the images, as far on this side for others.

    The budget is twice the median of their sizes: most are within it.
    """
    model, images = linear(seed=2), grey_images(32, seed=5)
    labels = model(images).argmax(dim=1)
    weights = (model.layer.weight[0] - model.layer.weight[1]).reshape(1, *images.shape[1:])
    gap = margin(model(images), labels, torch.full_like(labels, -1))
    length = gap / weights.square().sum() * (1.0 + 0.05 * (-1.0) ** torch.arange(len(images)))
    starts = images + (length * (2 * labels - 1))[:, None, None, None] * weights
    return model, images, labels, starts, Threat(norm, 2.0 * float(norm.size(starts - images).median()))


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_transferred_images_are_tried_once_within_the_budget(norm):
    model, images, labels, starts, threat = scene(norm)
    verdicts = run(transferred(threat), oracle(model, fold=False), images, labels, threat, starts=starts)
    inside = norm.project(starts, images, threat.budgets(len(images)))
    fools = model(inside).argmax(dim=1) != labels
    assert 8 < fools.sum() < 24
    assert (verdicts["success"] == fools.numpy()).all()
    assert torch.equal(verdicts.images, inside)
    assert (verdicts["forwards"] == 0).all(), "the judge alone looks at them"
    assert (verdicts["backwards"] == 0).all()


@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_what_is_too_far_away_comes_nearer_or_is_no_success(norm):
    model, images, labels, starts, threat = scene(norm)
    near = Threat(norm, 1.0 if norm.name == "l0" else threat.eps / 8.0)
    for far in (starts, 1.0 - images):
        verdicts = run(transferred(near), oracle(model, fold=False), images, labels, near, starts=far)
        assert (norm.size(verdicts.images - images) <= near.eps + TOLERANCE * max(1.0, near.eps)).all()
        assert (norm.size(verdicts.images - images) > 0.9 * near.eps).all()


def test_without_starts_it_breaks_nothing():
    model, images, labels, _, threat = scene(NORMS["linf"])
    verdicts = run(transferred(threat), oracle(model, fold=False), images, labels, threat)
    assert not verdicts["success"].any()
    assert torch.equal(verdicts.images, images)
