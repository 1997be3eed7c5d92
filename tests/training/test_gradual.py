"""Weights that go while training goes on: the published curve, exact ends, and the same bits after a kill."""

from __future__ import annotations

import os

import pytest
import torch

from bantamweight import variants
from bantamweight.compression import compress, measure, prunable
from bantamweight.compression.random import random
from bantamweight.errors import InputError
from bantamweight.parts import configure
from bantamweight.training import fresh, train
from bantamweight.training._values import Span
from tests.training.conftest import bits

SMALL = {"epochs": 3, "batch": 32, "rate": 3e-3, "precision": "fp32"}
PRUNING = {"use": "gradual", "sparsity": 0.8, "every": 3, "end": 0.6}


class Killed(BaseException):
    """A stand-in for SIGKILL that a test can place exactly."""


def test_the_curve_by_hand():
    """Steps 0 to 9 of 20, every 3 counted back from the last: 0, 3, 6, 9, at 0.8 (1 - (1 - t/9)^3)."""
    part = configure("pruning", {"use": "gradual", "sparsity": 0.8, "end": 0.5, "every": 3})
    pruning = part.make(Span(epochs=2, per_epoch=10))
    due = {step: pruning.due(step) for step in range(20) if pruning.due(step) is not None}
    assert list(due) == [0, 3, 6, 9]
    assert due[0] == 0.0
    assert due[3] == pytest.approx(0.8 * (1 - (2 / 3) ** 3))
    assert due[6] == pytest.approx(0.8 * (1 - (1 / 3) ** 3))
    assert due[9] == 0.8
    assert [pruning.settled(step) for step in (8, 9, 19)] == [False, True, True]


def test_zeros_are_exact_stay_and_are_named_in_the_edit(digits):
    start = fresh({"use": "simple_cnn"}, digits, seed=0, name="net")
    trained = train(start, digits, **SMALL, compress=PRUNING).variant
    weights = prunable(variants.build(trained))
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros == round(0.8 * sum(weight.numel() for weight in weights.values()))
    assert trained.edits == ({"edit": "mask", "layers": sorted(weights)},)
    more = train(trained, digits, epochs=1, precision="fp32").variant
    for name, alive in variants.masks(trained).items():
        assert not more.weights[name][~alive].any()
        assert not torch.equal(more.weights[name], trained.weights[name])


def test_only_the_final_sparsity_counts_as_best(digits):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    done = train(start, digits, **SMALL, compress={**PRUNING, "end": 1.0})
    assert done.best_epoch == 3
    assert bits(done.weights) == bits(done.last)


def test_killed_between_epochs_it_ends_in_the_same_bits(digits, tmp_path, monkeypatch):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    whole = train(start, digits, tmp_path / "whole", **SMALL, compress=PRUNING)
    renames, seen = os.replace, []

    def stopping(source, target):
        renames(source, target)
        seen.append(str(target))
        if str(target).endswith("checkpoint.json"):
            raise Killed

    for _ in range(3):
        monkeypatch.setattr(os, "replace", stopping)
        with pytest.raises(Killed):
            train(start, digits, tmp_path / "killed", **SMALL, compress=PRUNING)
        monkeypatch.setattr(os, "replace", renames)
    resumed = train(start, digits, tmp_path / "killed", **SMALL, compress=PRUNING)
    assert len([name for name in seen if name.endswith("checkpoint.json")]) == 3
    assert bits(resumed.last) == bits(whole.last)
    assert bits(resumed.weights) == bits(whole.weights)


def test_a_variant_that_was_cut_before_keeps_its_zeros(digits):
    start, _ = compress(fresh({"use": "simple_cnn"}, digits, seed=0), random(), sparsity=0.3)
    trained = train(start, digits, **SMALL, compress=PRUNING).variant
    for name, alive in variants.masks(start).items():
        assert not trained.weights[name][~alive].any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"criterion": "taylor_weights"}, "taylor_weights can't cut during training"),
        ({"criterion": "l1_channels"}, "l1_channels can't cut during training"),
        ({"criterion": "two_four"}, "sparsity of 0.5 and no other"),
        ({"criterion": "two_four", "sparsity": 0.5}, "has one sparsity only, 0.5, and none on the way"),
        ({"begin": 0.9, "end": 0.2}, "an end after the beginning"),
        ({"start": 0.9}, "a sparsity above the start"),
        ({"evry": 2}, "did you mean 'every'"),
        ({"sparsity": 1.0}, "sparsity"),
    ],
)
def test_what_can_t_be_meant_is_refused(digits, settings, said):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    with pytest.raises(InputError, match=said):
        train(start, digits, **SMALL, compress={**PRUNING, **settings})


@pytest.mark.parametrize("pruning", [PRUNING, {"use": "admm", "sparsity": 0.8, "end": 0.6}])
def test_a_cut_in_epochs_that_count_as_done_is_refused(digits, pruning):
    start = fresh({"use": "mlp"}, digits, seed=0)
    with pytest.raises(InputError, match="would have made its cut in the 2 epochs that count as done"):
        train(start, digits, **SMALL, compress=pruning, begin=2)
    done = train(start, digits, **SMALL, compress={**pruning, "end": 1.0}, begin=2)
    assert measure(variants.build(done.variant)).sparsity == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("pruning", [PRUNING, {"use": "admm", "sparsity": 0.8, "end": 0.6}])
def test_frozen_weights_are_not_cut(digits, net, pruning):
    module = net()
    module[0].weight.requires_grad_(False)
    done = train(module, digits, **SMALL, compress=pruning)
    assert torch.equal(done.last["0.weight"], module[0].weight)
    assert float((done.last["5.weight"] == 0).float().mean()) == pytest.approx(0.8, abs=1e-3)
    for one in module.parameters():
        one.requires_grad_(one.ndim == 1)
    with pytest.raises(InputError, match="frozen ones only"):
        train(module, digits, **SMALL, compress=pruning)


def test_one_of_three_is_a_share_that_can_be_kept():
    third = {"use": "n_m", "n": 1, "m": 3}
    for share in ({"keep": "1/3"}, {"sparsity": "2/3"}, {"keep": 1 / 3}):
        made = configure("pruning", {"use": "admm", "scheme": third, **share}).make(Span(3, 8))
        assert made.rule.only == pytest.approx(2 / 3)
