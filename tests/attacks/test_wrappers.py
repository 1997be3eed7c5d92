"""EOT and BPDA get through the masks that they are made for; the self-test knows a blind attack from one that sees."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bantamweight.attacks._core import run
from bantamweight.attacks._selftest import LUCK, SelfTest, self_test
from bantamweight.attacks._wrappers import bpda, eot
from bantamweight.attacks.deepfool import deepfool
from bantamweight.attacks.hop_skip_jump import hop_skip_jump
from bantamweight.attacks.pgd import pgd
from bantamweight.attacks.square import square
from bantamweight.errors import InputError
from bantamweight.oracle import oracle
from bantamweight.threats import l2, linf
from tests.attacks.masked import Outside, Quantizer, RandomNoise, masks
from tests.attacks.nets import Convolutional, images_in_box

THREAT = linf(eps=0.15)
ATTACK = pgd(THREAT, steps=15, start="clean")


def broken(asked, attack, images, labels, threat=THREAT):
    return int(run(attack, asked, images, labels, threat)["success"].sum())


@pytest.mark.parametrize(("mask", "layer"), [("quantizer", Quantizer), ("preprocessing", Outside)])
def test_bpda_gets_through_layers_without_a_gradient(digits64, mask, layer):
    images, labels, nets = digits64
    model = masks(nets["plain"], 64)[mask]
    bare = broken(oracle(nets["plain"]), ATTACK, images, labels)
    assert broken(oracle(model), ATTACK, images, labels) == 0
    for surrogate in (bpda(model, layer), bpda(model, ["0"])):
        assert broken(oracle(model, surrogate=surrogate), ATTACK, images, labels) >= 0.9 * bare > 20


@pytest.mark.parametrize("mask", ["random layer", "random resize"])
def test_eot_gets_through_models_that_draw_random_numbers(digits64, mask):
    images, labels, nets = digits64
    torch.manual_seed(0)  # the model draws from the global generator
    model = nn.Sequential(RandomNoise(0.3), nets["plain"]) if mask == "random layer" else masks(nets["plain"], 64)[mask]
    attack = pgd(THREAT, steps=20, start="clean")
    images, labels = images[:32], labels[:32]

    def standing(points):
        """How often an image is classified right: a random model stumbles over many single looks by itself."""
        with torch.no_grad():
            return float(torch.stack([model(points).argmax(dim=1) == labels for _ in range(100)]).float().mean())

    found = run(eot(attack, 20), oracle(model, fold=False), images, labels, THREAT, until="budget")
    assert standing(found.images) < 0.5 * standing(images)
    if mask == "random layer":
        single = run(attack, oracle(model, fold=False), images, labels, THREAT, until="budget")
        assert standing(found.images) < standing(single.images)


def test_eot_of_a_deterministic_model_changes_nothing_but_the_bill(digits64):
    images, labels, nets = digits64
    images, labels = images[:8], labels[:8]
    one, four = oracle(nets["plain"]), oracle(nets["plain"])
    alone = run(ATTACK, one, images, labels, THREAT)
    many = run(eot(ATTACK, 4), four, images, labels, THREAT)
    assert torch.equal(alone.images, many.images)
    assert (many["forwards"] == 4 * alone["forwards"]).all()
    assert (many["backwards"] == 4 * alone["backwards"]).all()
    assert four.ledger.forwards == 4 * one.ledger.forwards
    assert eot(ATTACK, 4).name == "pgd x4"


def test_eot_averages_scores_and_refuses_what_has_no_mean():
    model, images = Convolutional().eval(), images_in_box(4)
    labels = model(images).argmax(dim=1)
    asked = oracle(model, access="score")
    assert broken(asked, eot(square(THREAT, queries=5), 2), images, labels) >= 0
    with pytest.raises(InputError, match="labels have no mean"):
        eot(hop_skip_jump(THREAT), 4)
    with pytest.raises(InputError, match="at least 1 sample"):
        eot(ATTACK, 0)
    threat = l2(eps=1.0)
    with pytest.raises(InputError, match="asks for Jacobians"):
        run(eot(deepfool(threat), 2), oracle(model), images, labels, threat)


def test_a_straight_through_layer_answers_as_the_layer_does():
    model = nn.Sequential(Quantizer(4), Convolutional().eval())
    images = images_in_box(8).requires_grad_(True)
    stand_in = bpda(model, Quantizer)
    assert torch.allclose(stand_in(images), model(images), atol=1e-5)
    (slope,) = torch.autograd.grad(stand_in(images).sum(), images)
    (own,) = torch.autograd.grad(model[1](model[0](images)).sum(), images)
    assert slope.any()
    assert not own.any()
    assert isinstance(model[0], Quantizer), "the model itself is left alone"


@pytest.mark.parametrize(
    ("layers", "message"),
    [(nn.LSTM, "no"), (["1.boddy"], "did you mean '1.body'"), ([], "is not a layer")],
)
def test_a_layer_that_is_not_there(layers, message):
    model = nn.Sequential(Quantizer(4), Convolutional())
    with pytest.raises(InputError, match=message):
        bpda(model, layers)


def test_a_layer_that_changes_the_shape_has_no_straight_through_gradient():
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    with pytest.raises(InputError, match="pass a surrogate of your own"):
        bpda(model, nn.Flatten)(images_in_box(2))


@pytest.mark.parametrize("mask", ["plain", "quantizer", "stopped"])
def test_planted_points_are_found_unless_the_gradient_is_hidden(digits64, mask):
    images, labels, nets = digits64
    model = nets["plain"] if mask == "plain" else masks(nets["plain"], 64)[mask]
    threat = linf(eps=0.1)
    found = self_test(model, images, labels, threat, pgd(threat, steps=20), n=10)
    assert found.asked == found.planted == 10
    assert found.lucky <= 3
    low, high = found.interval
    assert low <= found.share <= high
    if mask == "plain":
        assert found.found >= 9
    else:
        assert found.found <= 1
    assert (
        str(found) == f"found {found.found} of 10 planted adversarial points ({LUCK} random draws find {found.lucky})"
    )


def test_the_self_test_finds_points_through_a_surrogate_and_touches_nothing(digits64):
    images, labels, nets = digits64
    model = masks(nets["plain"], 64)["quantizer"].train()
    threat, kept, state = l2(eps=1.0), images.clone(), torch.get_rng_state()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    found = self_test(model, images, labels, threat, pgd(threat, steps=20), n=6, surrogate=bpda(model, Quantizer))
    assert found.found >= 5
    assert model.training
    assert torch.equal(images, kept)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())


def test_a_model_without_a_last_linear_layer_is_refused():
    net, images = Convolutional().body, images_in_box(4)
    pooled = nn.Sequential(net, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match=r"last layer is an nn\.Linear"):
        self_test(pooled, images, torch.zeros(4, dtype=torch.int64), THREAT, ATTACK)


def test_nothing_planted_is_no_share():
    assert math.isnan(SelfTest(3, 0, 0, 0).share)
    assert SelfTest(3, 0, 0, 0).interval == (0.0, 1.0)


def test_each_planted_point_is_asked_of_its_own_model(digits64, monkeypatch):
    images, labels, nets = digits64
    search = square(THREAT, queries=60)
    found = self_test(nets["plain"], images, labels, THREAT, search, n=8)
    monkeypatch.setattr("bantamweight.models._fuse.fused", lambda *_: None)
    assert self_test(nets["plain"], images, labels, THREAT, search, n=8) == found
