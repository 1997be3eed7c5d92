"""ADMM: the known optimum of a convex problem, residuals, schemes, and the same bits after a kill."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from bantamweight import variants
from bantamweight.compression import compress, prunable
from bantamweight.compression.magnitude import magnitude
from bantamweight.errors import InputError
from bantamweight.parts import configure
from bantamweight.training import fresh, train
from bantamweight.training._values import Span
from tests.training.conftest import bits

SMALL = {"epochs": 4, "batch": 32, "rate": 3e-3, "precision": "fp32"}
ADMM = {"use": "admm", "sparsity": 0.8, "rho": 0.05, "updates": 6, "end": 0.6, "tolerance": 0.0}


class Killed(BaseException):
    """A stand-in for SIGKILL that a test can place exactly."""


def least_squares(seed: int):
    """|A x - b|^2 of 12 unknowns with orthogonal columns, whose squared lengths go from 1 to 4."""
    draws = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(40, 12, generator=draws, dtype=torch.float64))
    a = q * torch.linspace(1.0, 4.0, 12, dtype=torch.float64).sqrt()
    return a, torch.randn(40, generator=draws, dtype=torch.float64)


def solved(a, b, kept):
    """The least squares on a support, and its loss."""
    columns = a[:, kept]
    x = torch.linalg.lstsq(columns, b[:, None]).solution[:, 0]
    return x, float((columns @ x - b).square().sum())


def magnitude_misses(seed):
    a, b = least_squares(seed)
    return set((a.T @ b / a.square().sum(dim=0)).abs().topk(3).indices.tolist()) != set(support(a, b).tolist())


def support(a, b):
    """Orthogonal columns: without weight i the loss rises by s_i x_i^2, so the best three are those of the largest."""
    return ((a.T @ b).square() / a.square().sum(dim=0)).topk(3).indices.sort().values


def test_cutting_the_least_squares_by_magnitude_misses_that_optimum_on_some_of_these_problems():
    assert sum(magnitude_misses(seed) for seed in range(8)) >= 3


@pytest.mark.parametrize("seed", range(8))
def test_least_squares_with_three_of_twelve_weights_reaches_the_known_optimum(seed):
    a, b = least_squares(seed)
    best = support(a, b)
    net = nn.Linear(12, 1, bias=False).double()
    nn.init.zeros_(net.weight)
    steps = 600
    part = {"use": "admm", "sparsity": 0.75, "rho": 2.0, "growth": 1.02, "updates": 100, "begin": 0.1, "end": 0.8}
    pruning = configure("pruning", {**part, "tolerance": 0.0}).make(Span(1, steps))
    primal, dual, gone = [], [], None
    for step in range(steps):
        loss = (a @ net.weight[0] - b).square().sum()
        drawn = pruning.penalty(net)
        (gradient,) = torch.autograd.grad(loss if drawn is None else loss + drawn, net.weight)
        with torch.no_grad():
            net.weight -= 0.1 * gradient
            kept = pruning.after(net, step)
            gone = ~kept["weight"] if kept else gone
            if gone is not None:
                net.weight[gone] = 0
        said = pruning.measures(step)
        primal += [said["primal_residual"]] if said else []
        dual += [said["dual_residual"]] if said else []
    found = net.weight[0].detach()
    x, least = solved(a, b, best)
    assert found.nonzero()[:, 0].tolist() == best.tolist()
    assert torch.allclose(found[best], x, atol=1e-6)
    assert float((a @ found - b).square().sum()) == pytest.approx(least)
    assert primal[-1] < 0.05
    assert dual[-1] < 0.05


@pytest.mark.parametrize(
    "scheme", ["magnitude", "random", "funnel", "redundant", "two_four", "filters", "channel_groups", "lamp"]
)
def test_every_scheme_draws_and_cuts_to_what_was_asked(digits, scheme):
    share = 0.5 if scheme == "two_four" else 0.8
    asked = {**ADMM, "scheme": scheme, "sparsity": share}
    trained = train(fresh({"use": "simple_cnn"}, digits, seed=0), digits, **SMALL, compress=asked)
    weights = prunable(variants.build(trained.variant))
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros / sum(weight.numel() for weight in weights.values()) == pytest.approx(share, abs=0.02)
    rows = [row for row in trained.history if row.split == "train"]
    assert set(rows[0].measures) == {"primal_residual", "dual_residual"}
    told = [row for row in trained.history if "accuracy_before_cut" in row.measures]
    assert [(row.split, row.n) for row in told] == [("val", len(digits.splits["val"]))]
    assert 0 <= told[0].measures["accuracy_after_cut"] <= 1
    # Residuals are of updates, and there is none after the cut.
    assert ["primal_residual" in row.measures for row in rows] == [row.epoch <= told[0].epoch for row in rows]


@pytest.mark.parametrize("scheme", ["magnitude", "redundant", "filters", "channel_groups"])
def test_what_is_gone_already_counts_towards_what_was_asked(digits, scheme):
    half, _ = compress(fresh({"use": "simple_cnn"}, digits, seed=0), magnitude(), sparsity=0.5)
    trained = train(half, digits, **SMALL, compress={**ADMM, "scheme": scheme, "sparsity": 0.8})
    weights = prunable(variants.build(trained.variant))
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros / sum(weight.numel() for weight in weights.values()) == pytest.approx(0.8, abs=0.02)
    for name, alive in variants.masks(half).items():
        assert not trained.variant.weights[name][~alive].any()


@pytest.mark.parametrize("way", ["admm", "gradual"])
def test_less_than_is_gone_already_can_t_be_asked(digits, way):
    cut, _ = compress(fresh({"use": "simple_cnn"}, digits, seed=0), magnitude(), sparsity=0.9)
    with pytest.raises(InputError, match=r"above what the net has been cut to already \(0.9\), got 0.5"):
        train(cut, digits, **SMALL, compress={"use": way, "sparsity": 0.5})


def test_the_cut_is_judged_on_the_weights_that_are_given_away(digits):
    asked = {**SMALL, "average": 0.9, "compress": {"use": "gradual", "sparsity": 0.3, "end": 1.0, "every": 1}}
    trained = train(fresh({"use": "simple_cnn"}, digits, seed=0), digits, **asked)
    (told,) = [row for row in trained.history if "accuracy_after_cut" in row.measures]
    assert told.epoch == SMALL["epochs"]
    assert told.measures["accuracy_after_cut"] == told.accuracy


def test_residuals_fall_and_a_tolerance_ends_it_early(digits):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    asked = {**ADMM, "rho": 1.0, "growth": 2.0, "updates": 12, "end": 0.8}
    whole = train(start, digits, **SMALL, compress=asked).history
    falls = [row.measures["primal_residual"] for row in whole if "primal_residual" in row.measures]
    assert falls[-1] < 0.5 * falls[0]
    early = train(start, digits, **SMALL, compress={**asked, "tolerance": 0.5})
    cuts, late = ([row.epoch for row in one if "accuracy_after_cut" in row.measures] for one in (early.history, whole))
    assert cuts < late


def test_killed_between_epochs_it_ends_in_the_same_bits(digits, tmp_path, monkeypatch):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    more = {**SMALL, "average": 0.9, "setbacks": 1}
    whole = train(start, digits, tmp_path / "whole", **more, compress=ADMM)
    renames = os.replace

    def stopping(source, target):
        renames(source, target)
        if str(target).endswith("checkpoint.json"):
            raise Killed

    for _ in range(SMALL["epochs"]):
        monkeypatch.setattr(os, "replace", stopping)
        with pytest.raises(Killed):
            train(start, digits, tmp_path / "killed", **more, compress=ADMM)
        monkeypatch.setattr(os, "replace", renames)
    resumed = train(start, digits, tmp_path / "killed", **more, compress=ADMM)
    assert bits(resumed.last) == bits(whole.last)
    assert bits(resumed.weights) == bits(whole.weights)
    timeless = [[(row.loss, row.right, dict(row.measures)) for row in one.history] for one in (whole, resumed)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"sparsity": 1.0}, "sparsity"),
        ({"scheme": "taylor_weights"}, "taylor_weights can't cut during training"),
        ({"scheme": "two_four", "sparsity": 0.8}, "cuts to a sparsity of 0.5 and no other"),
        (
            {"scheme": "two_four", "sparsity": 0.5, "start": 0.1},
            "two_four has one sparsity only, 0.5",
        ),
        ({"start": 0.9}, "expected a start of at most the sparsity 0.8, got 0.9"),
        ({"allocate": "per_leyer"}, "did you mean 'per_layer'"),
        ({"begin": 0.7, "end": 0.3}, "expected an end after the beginning"),
        ({"keep": 0.1}, r"expected a sparsity or keep, got both \(0.8 and 0.1\)"),
        ({"sparsity": None}, "expected a sparsity, the share of weights that goes, or keep"),
        ({"sparsity": None, "keep": 0}, "expected to keep a share of the weights between 0 and 1, got 0; 0.1 keeps"),
        ({"sparsity": None, "keep": 1.0}, "expected to keep a share of the weights between 0 and 1, got 1"),
        ({"scheme": "l1_channels"}, "can't cut during training"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_trained(digits, asked, said):
    start = fresh({"use": "mlp"}, digits, seed=0)
    with pytest.raises(InputError, match=said):
        train(start, digits, **SMALL, compress={**ADMM, **asked})
