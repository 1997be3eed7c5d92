"""Any class is a success of a lane that goes for one; with a target of the user it is the target, whoever leads."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._core import run
from bantamweight.attacks.apgd import apgd_t
from bantamweight.oracle import oracle
from bantamweight.threats import l1, l2, linf
from tests.attacks.nets import grey_images, linear


def shadowed():
    """A target that passes the label by the same pixels that raise a third class faster.

    Logits 0 (the label), 3 a - 3 b - .1 and 3 a - b - .2, where a and b are the sums of two halves of the pixels.
    """
    model = linear(classes=3)
    half = torch.arange(48) < 24
    model.layer.weight.data = torch.stack([torch.zeros(48), torch.where(half, 3.0, -3.0), torch.where(half, 3.0, -1.0)])
    model.layer.bias.data = -model.layer.weight.data @ torch.full((48,), 0.5) - torch.tensor([0.0, 0.1, 0.2])
    return model


@pytest.mark.parametrize("threat", [linf(eps=0.05), l2(eps=0.3), l1(eps=1.5)], ids=str)
def test_to_pass_the_label_is_not_enough_where_the_target_is_wanted(threat):
    model, images = shadowed(), 0.5 + 1e-4 * grey_images(4)
    labels, targets = torch.zeros(4, dtype=torch.int64), torch.full((4,), 2)
    made = apgd_t(threat, steps=30, classes=2)
    asked = oracle(model, fold=False)
    assert (model(images).argmax(dim=1) == labels).all()
    verdicts = run(made, asked, images, labels, threat, targets=targets)
    assert verdicts["success"].all()
    assert (verdicts["adversarial"] == 2).all()
    # Without one the third class, which is nearer, is as good.
    verdicts = run(made, asked, images, labels, threat)
    assert verdicts["success"].all()
    assert (verdicts["adversarial"] == 1).any()
