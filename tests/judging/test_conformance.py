"""What other rooms hand over is what judging reads: real verdicts, a real cut."""

from __future__ import annotations

import torch

from bantamweight.attacks._core import run
from bantamweight.attacks.pgd import pgd
from bantamweight.compression._core import Achieved
from bantamweight.facts import select
from bantamweight.judging.robustness import robustness_facts, stays_right
from bantamweight.judging.sparsity import cost_facts, size_facts, sparsity_facts
from bantamweight.oracle import oracle
from bantamweight.threats import linf
from tests.attacks.nets import linear


def test_real_verdicts_become_facts():
    threat = linf(eps=0.02)
    images = torch.rand(24, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    labels = linear(classes=4)(images).argmax(dim=1)
    labels[:3] = (labels[:3] + 1) % 4  # three are wrong before
    for targets in (None, torch.full_like(labels, 2)):
        attack = pgd(threat, steps=5)
        verdicts = run(attack, oracle(linear(classes=4)), images, labels, threat, targets=targets, until="budget")
        facts = robustness_facts(verdicts.columns, threat=str(threat))
        (robust,) = select(facts, "robust_accuracy")
        assert robust.k == int(stays_right(verdicts.columns).sum())
        (success,) = select(facts, "attack_success")
        assert success.n == int(verdicts["attacked"].sum())
        assert bool(select(facts, "targeted_success")) == (targets is not None)
        if targets is None:
            assert (stays_right(verdicts.columns) == verdicts.robust).all()
            (sizes,) = select(facts, "perturbation_linf")
            assert 0 < sizes.value <= 0.02 + 1e-6


def test_a_cut_states_what_was_asked_beside_what_was_achieved():
    achieved = Achieved(0.5, 0.499, 499, 1000, {"conv.weight": 0.6, "fc.weight": 0.4}, nonzeros=541, parameters=1040)
    facts = sparsity_facts(achieved, variant="net/magnitude-0.5")
    (reached,) = select(facts, "sparsity")
    assert (reached.value, reached.k, reached.n) == (0.499, 499, 1000)
    assert select(facts, "sparsity_asked")[0].value == 0.5
    assert {fact.item: fact.value for fact in select(facts, "layer_sparsity")} == achieved.layers
    costs = cost_facts({"parameters": achieved.parameters, "nonzeros": achieved.nonzeros})
    assert [(fact.metric, fact.value) for fact in costs] == [("parameters", 1040), ("nonzeros", 541)]
    assert [fact.item for fact in size_facts({"dense_fp32": 4160, "bitmap": 2400})] == ["dense_fp32", "bitmap"]
