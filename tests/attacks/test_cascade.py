"""Attacks one after the other: who broke what, at what cost, and the same from any batch, order or half."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bantamweight.attacks._cascade import cascade, fall
from bantamweight.attacks._core import run
from bantamweight.attacks._patience import while_it_pays
from bantamweight.attacks.fgsm import fgsm
from bantamweight.attacks.pgd import pgd
from bantamweight.oracle import oracle
from bantamweight.parts import configure
from bantamweight.threats import l1, l2, linf
from tests.attacks.nets import Convolutional, images_in_box

SMALL = {"autoattack": {"steps": 5, "queries": 20}, "fast": {"steps": 6}}


@pytest.fixture(scope="module")
def scene():
    model, images = Convolutional().eval(), images_in_box(70, (3, 9, 9))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    labels[::7] = (labels[::7] + 1) % 5
    return model, images, labels


def test_each_part_gets_what_the_ones_before_left(scene):
    model, images, labels = scene
    threat = linf(eps=6 / 255)
    first, second = fgsm(threat), pgd(threat, steps=20)
    verdicts, parts = fall(cascade("two", first, second), oracle(model), images, labels, threat)
    alone = run(first, oracle(model), images, labels, threat)
    assert (verdicts["part"] == 0).sum() == alone["success"].sum() == parts[0].broken > 0
    assert parts[1].given == (alone["attacked"] & ~alone["success"]).sum()
    assert parts[1].broken == (verdicts["part"] == 1).sum() > 0
    assert (verdicts["part"] >= 0).sum() == verdicts["success"].sum()
    assert parts[0].forwards + parts[1].forwards == verdicts["forwards"].sum()
    late = verdicts["part"] == 1
    assert (verdicts["query"][late] >= alone["forwards"][late]).all(), "queries run on through the parts"
    with torch.no_grad():
        fooled = (model(verdicts.images).argmax(dim=1) != labels).numpy()
    assert (fooled & verdicts["right"] == verdicts["success"]).all()


def test_an_image_that_stands_keeps_its_closest_call(scene):
    model, images, labels = scene
    threat = linf(eps=0.2 / 255)
    attacks = [pgd(threat, steps=8), fgsm(threat)]
    verdicts, _ = fall(cascade("both", *attacks), oracle(model), images, labels, threat)
    alone = [run(attack, oracle(model), images, labels, threat) for attack in attacks]
    stands = verdicts.robust
    assert stands.any()
    assert (verdicts["margin"][stands] == np.minimum(alone[0]["margin"], alone[1]["margin"])[stands]).all()


@pytest.mark.parametrize(
    ("threat", "precision"),
    [(linf(eps=4 / 255), "fp32"), (linf(eps=4 / 255), "bf16"), (l2(eps=0.15), "fp32"), (l1(eps=1.5), "fp32")],
    ids=str,
)
@pytest.mark.parametrize("name", SMALL)
def test_protocols_do_not_see_batch_order_or_half(scene, name, threat, precision):
    model, images, labels = scene
    protocol = configure("protocols", {"use": name, **SMALL[name]}).make(threat)

    def verdicts(index, batch=64):
        asked = oracle(model, precision=precision)
        return fall(protocol, asked, images[index], labels[index], threat, batch=batch)[0]

    everything = torch.arange(40)
    whole = verdicts(everything)
    assert whole["success"].any()
    assert whole.robust.any()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    for index, batch in [(everything[:6], 1), (order, 7), (everything[::2], 64), (everything[1::2], 64)]:
        other = verdicts(index, batch)
        for column, values in other.columns.items():
            assert (whole[column][index.numpy()] == values).all(), column
        assert torch.equal(whole.images[index], other.images)


def test_a_row_retires_when_its_curve_flattens(scene):
    model, images, labels = scene
    threat = linf(eps=0.3 / 255)
    patient = while_it_pays(pgd(threat, steps=40), every=5, hope=2.0)
    short, whole = (run(a, oracle(model), images, labels, threat) for a in (patient, pgd(threat, steps=40)))
    assert short["forwards"].sum() < 0.6 * whole["forwards"].sum()
    assert not (short["success"] & ~whole["success"]).any()
    # What breaks while the curve still falls is not lost.
    threat = linf(eps=2 / 255)
    patient = while_it_pays(pgd(threat, steps=40), every=5, hope=2.0)
    short, whole = (run(a, oracle(model), images, labels, threat) for a in (patient, pgd(threat, steps=40)))
    assert short["success"].sum() >= 0.9 * whole["success"].sum() > 0
