"""Criteria that look at a net under attack: what they score, and what their cuts leave."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bantamweight import variants
from bantamweight.compression import prunable
from bantamweight.data import load
from bantamweight.errors import InputError
from bantamweight.parts import configure
from bantamweight.recipes._cuts import cut_to
from bantamweight.recipes._shown import _attacked, _Kept, evidence_of
from bantamweight.training import fresh, train
from tests.training.conftest import few

THREAT = {"use": "linf", "eps": 0.1}
HYDRA = {"use": "hydra", "objective": {"use": "pgd_at", "threat": THREAT, "steps": 2}, "epochs": 2, "batch": 64}
TAYLOR = {"use": "adversarial_taylor", "threat": THREAT, "steps": 3}


@pytest.fixture(scope="module")
def digits():
    return few(load("digits"), 512, 128)


@pytest.fixture(scope="module")
def robust(digits):
    objective = {"use": "pgd_at", "threat": THREAT, "steps": 3}
    return train(fresh({"use": "simple_cnn"}, digits, seed=0), digits, epochs=4, batch=64, objective=objective).variant


def made(spec):
    return configure("compression", spec).make()


def test_on_a_linear_net_the_attack_ends_where_the_margin_is_least():
    """Two classes: the loss rises along w of the other class minus w of the label's, so PGD ends in that corner."""
    split = few(load("digits"), 64, 16).splits["train"]
    labels = split.labels % 2
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(split.images[0].numel(), 2))
    rule = made({"use": "adversarial_taylor", "threat": THREAT, "steps": 40})
    clean = split.floats(torch.arange(len(split)))
    worst = _attacked(net, rule, replace(split, labels=labels))
    away = (net[1].weight[1] - net[1].weight[0]).detach()
    side = (1.0 - 2.0 * labels)[:, None] * away.sign()
    corner = (clean + 0.1 * side.reshape(clean.shape)).clamp(0, 1)
    assert torch.allclose(worst, corner, atol=1e-6)


def test_the_largest_scores_stay_and_their_gradient_is_straight_through():
    kept = _Kept(torch.tensor([[3.0, -1.0, 0.5, -2.0]]), 0.5)
    weight = torch.tensor([[3.0, -1.0, 0.5, -2.0]])
    out = kept(weight)
    assert (out == torch.tensor([[3.0, 0.0, 0.0, -2.0]])).all()
    (gradient,) = torch.autograd.grad(out.sum(), kept.scores)
    assert gradient.tolist() == (weight * kept.scores.sign()).tolist(), "of the dropped ones too"
    assert float(kept.scores.detach().abs().max()) == pytest.approx((6 / 4) ** 0.5), "scaled initialisation"


def test_hydra_learns_scores_and_moves_no_weight(robust, digits):
    rule = made(HYDRA)
    before = {name: tensor.clone() for name, tensor in robust.weights.items()}
    scores = evidence_of(robust, rule, digits, 0.9, False)
    weights = prunable(variants.build(robust))
    assert set(scores) == set(weights)
    assert all(torch.equal(robust.weights[name], tensor) for name, tensor in before.items())
    for name, weight in weights.items():
        start = weight.abs() * ((6 / weight[0].numel()) ** 0.5 / weight.abs().max())
        assert not torch.allclose(scores[name], start), "something was learned"
    again = evidence_of(robust, rule, digits, 0.9, False)
    assert all(torch.equal(scores[name], again[name]) for name in scores)


@pytest.mark.parametrize(
    "spec", [HYDRA, {"use": "adversarial_taylor", "threat": THREAT, "steps": 3}], ids=lambda s: s["use"]
)
def test_a_cut_has_the_zeros_that_were_asked_for(robust, digits, spec):
    cut = cut_to(robust, made(spec), "sparsity", 0.8, digits, name="cut")
    weights = prunable(variants.build(cut.variant))
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    assert zeros / sum(weight.numel() for weight in weights.values()) == pytest.approx(0.8, abs=1e-3)


def test_hydra_refuses_what_it_cannot_learn_for(robust, digits):
    with pytest.raises(InputError, match="learns its scores for one sparsity"):
        cut_to(robust, made(HYDRA), "size_bytes", 1e5, digits, name="cut")


def test_scores_are_learned_for_the_net_that_is_cut(digits, robust, monkeypatch):
    seen = []
    monkeypatch.setattr("bantamweight.recipes._shown._Kept.__init__", _counting(seen, _Kept.__init__))
    layers = list(prunable(variants.build(robust)))
    cut = cut_to(robust, made(HYDRA), "sparsity", 0.5, digits, name="cut", skip=[layers[0], layers[-1]])
    assert len(seen) == len(layers) - 2
    shares = [float((cut.variant.weights[name] == 0).float().mean()) for name in layers]
    assert (shares[0], shares[-1]) == (0.0, 0.0)
    assert shares[1:-1] == pytest.approx([0.5] * (len(layers) - 2), abs=1e-2)


def _counting(seen, init):
    def counted(self, weight, sparsity):
        seen.append(sparsity)
        init(self, weight, sparsity)

    return counted
