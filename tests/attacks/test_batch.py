"""What comes out does not depend on how it was batched, ordered or split: bit for bit."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._core import run
from bantamweight.attacks.apgd import apgd, apgd_t
from bantamweight.attacks.fgsm import fgsm
from bantamweight.attacks.mi_fgsm import mi_fgsm
from bantamweight.attacks.pgd import pgd
from bantamweight.attacks.pma import pma
from bantamweight.attacks.square import square
from bantamweight.data.digits import digits
from bantamweight.loading import load_model
from bantamweight.oracle import oracle
from bantamweight.threats import l0, l1, l2, linf
from bantamweight.variants import build
from tests.attacks.nets import Convolutional, images_in_box

VERDICT = ["label", "target", "clean", "adversarial", "right", "success", "query", "margin", "size_l2", "confidence"]
CASES = {
    "fgsm-linf": (fgsm(linf(eps=8 / 255)), linf(eps=8 / 255), "first"),
    "pgd-short": (pgd(linf(eps=4 / 255), steps=3), linf(eps=4 / 255), "first"),
    "pgd-linf": (pgd(linf(eps=4 / 255), steps=10), linf(eps=4 / 255), "first"),
    "pgd-l2": (pgd(l2(eps=0.3), steps=6), l2(eps=0.3), "budget"),
    "restarts": (pgd(linf(eps=2 / 255), steps=6, restarts=3), linf(eps=2 / 255), "first"),
    "restarts-budget": (pgd(linf(eps=2 / 255), steps=4, restarts=2), linf(eps=2 / 255), "budget"),
    "pgd-l0": (pgd(l0(eps=8), steps=6), l0(eps=8), "first"),
    "mi_fgsm-l1": (mi_fgsm(l1(eps=4.0), steps=6), l1(eps=4.0), "budget"),
    "apgd-linf": (apgd(linf(eps=3 / 255), steps=12), linf(eps=3 / 255), "first"),
    "apgd-dlr-l2": (apgd(l2(eps=0.2), steps=12, objective="dlr"), l2(eps=0.2), "budget"),
    "apgd-l1": (apgd(l1(eps=3.0), steps=12, objective="probability"), l1(eps=3.0), "first"),
    "apgd_t": (apgd_t(linf(eps=3 / 255), steps=6), linf(eps=3 / 255), "first"),
    "pma": (pma(linf(eps=2 / 255), steps=6), linf(eps=2 / 255), "budget"),
    "square-linf": (square(linf(eps=8 / 255), queries=20), linf(eps=8 / 255), "first"),
    "square-l2": (square(l2(eps=1.0), queries=20), l2(eps=1.0), "budget"),
    "square-l1": (square(l1(eps=6.0), queries=20), l1(eps=6.0), "first"),
}


def same(one, other, order=None):
    order = torch.arange(len(one)) if order is None else order
    for column in VERDICT:
        assert (one[column][order] == other[column]).all(), column
    assert torch.equal(one.images[order], other.images)


def check(model, images, labels, precision, case, few=None):
    """`few` images are enough for batches smaller than a tile: what any image comes to there, it comes to alone."""
    attack, threat, until = CASES[case]

    def verdicts(images, labels, batch=64):
        asked = oracle(model, precision=precision)
        return run(attack, asked, images, labels, threat, until=until, batch=batch)

    whole = verdicts(images, labels)
    assert whole["success"].any()
    for batch, count in ((1, few or len(images)), (7, few or len(images)), (512, len(images))):
        same(whole, verdicts(images[:count], labels[:count], batch), torch.arange(count))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1))
    same(whole, verdicts(images[order], labels[order]), order)
    for shard in (slice(0, len(images), 2), slice(1, len(images), 2)):
        same(whole, verdicts(images[shard], labels[shard]), torch.arange(len(images))[shard])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("case", CASES)
def test_a_small_net(precision, case):
    model, images = Convolutional().eval(), images_in_box(70, (3, 9, 9))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    check(model, images, labels, precision, case, few=16)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("net", ["resnet20", "simple_cnn"])
def test_512_real_images(cifar512, zoo_net, precision, net):
    images, labels = cifar512
    model = zoo_net(net)
    if net == "simple_cnn":  # untrained: attack what it says, whatever that is
        with torch.no_grad():
            labels = model(images).argmax(dim=1)
    check(model, images, labels, precision, "pgd-short")


def test_a_neighbour_that_is_done_does_not_show():
    """In bfloat16 the fused form of a net, which answers queries for scores, is another one in the last bits."""
    images = digits().splits["test"].floats(torch.arange(150))
    model = build(load_model("resnet_small", channels=1, size=8))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    threat = linf(eps=0.01)
    attack = pgd(threat, steps=5, restarts=3)
    whole, other = (
        run(attack, oracle(model, precision="bf16"), images, labels, threat, batch=batch) for batch in (256, 40)
    )
    assert 0 < whole["success"].sum() < len(images)
    same(whole, other)
