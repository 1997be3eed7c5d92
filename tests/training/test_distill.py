"""Distillation: its loss by hand, its gradient in the limit the paper gives, and who may teach."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.parts import configure
from bantamweight.training import fresh, train
from bantamweight.training._values import Step
from tests.training.conftest import bits

STEP = Step(1, 0, 1, 0, torch.arange(1))
QUICK = {"epochs": 2, "batch": 32, "precision": "fp32"}


class Says(nn.Module):
    """Answers fixed logits."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([logits]))

    def forward(self, images):
        return self.logits.expand(len(images), -1)


def loss(student, teacher, labels=(0,), **settings):
    objective = configure("objectives", {"use": "distill", **settings}).make(0.0, teacher)
    return objective(student, torch.zeros(len(labels), 1, 1, 1), torch.tensor(labels), STEP).value


def said(value):
    return float(value.detach())


def test_the_loss_by_hand():
    """Teacher 3/4, student 1/2 at T = 1: KL = .75 ln 1.5 + .25 ln .5; cross-entropy ln 2."""
    teacher, student = Says(math.log(3), 0.0), Says(0.0, 0.0)
    divergence = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert said(loss(student, teacher, temperature=1, weight=1)) == pytest.approx(divergence)
    assert said(loss(student, teacher, temperature=1, weight=0)) == pytest.approx(math.log(2))
    assert said(loss(student, teacher, temperature=1, weight=0.25)) == pytest.approx(
        0.25 * divergence + 0.75 * math.log(2)
    )


def test_temperature_enters_squared():
    """At T the logits are divided by T: the same probabilities as at 1 with logits T times as large, times T^2."""
    at_one = loss(Says(1.0, 0.0), Says(0.0, 2.0), temperature=1, weight=1)
    at_five = loss(Says(5.0, 0.0), Says(0.0, 10.0), temperature=5, weight=1)
    assert said(at_five) == pytest.approx(25 * said(at_one))


def test_hot_it_matches_logits():
    """Section 2.1: for T far above the logits the gradient is (own - told) / N, both with zero mean."""
    student = Says(0.3, -0.1, -0.2)
    loss(student, Says(0.5, -0.4, -0.1), temperature=100, weight=1).backward()
    expected = (torch.tensor([0.3, -0.1, -0.2]) - torch.tensor([0.5, -0.4, -0.1])) / 3
    assert student.logits.grad[0].tolist() == pytest.approx(expected.tolist(), abs=2e-3)


def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn():
    student = Says(1.0, -1.0, 0.5)
    value = loss(student, Says(1.0, -1.0, 0.5), weight=1)
    value.backward()
    assert said(value) == pytest.approx(0, abs=1e-6)
    assert student.logits.grad.abs().max() < 1e-6


def test_training_follows_the_teacher_and_leaves_it_alone(digits):
    teacher = train(fresh({"use": "mlp"}, digits, seed=1), digits, epochs=8, batch=32, precision="fp32").variant
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).train()
    before = bits(module.state_dict())
    start = fresh({"use": "mlp"}, digits, seed=0)
    objective = {"use": "distill", "weight": 1.0}
    taught = train(start, digits, teacher=teacher, objective=objective, **QUICK)
    other = train(start, digits, teacher=module, objective=objective, **QUICK)
    assert bits(taught.weights) != bits(other.weights)
    assert bits(module.state_dict()) == before
    assert module.training
    assert all(weight.requires_grad and weight.grad is None for weight in module.parameters())
    right = [row.accuracy for row in taught.history if row.split == "train"]
    assert right[-1] > right[0]  # no label was looked at: weight is 1


def test_a_training_with_another_teacher_does_not_resume(digits, tmp_path):
    start = fresh({"use": "mlp"}, digits, seed=0)
    one, other = (fresh({"use": "mlp"}, digits, seed=seed) for seed in (1, 2))
    train(start, digits, tmp_path, teacher=one, objective="distill", **QUICK)
    with pytest.raises(InputError, match="another training \\(teacher was"):
        train(start, digits, tmp_path, teacher=other, objective="distill", **QUICK)


def test_who_may_teach(digits):
    start = fresh({"use": "mlp"}, digits, seed=0)
    with pytest.raises(InputError, match="'distill' learns from a teacher; pass one"):
        train(start, digits, objective="distill", **QUICK)
    with pytest.raises(InputError, match="'standard' has no use for a teacher"):
        train(start, digits, teacher=start, **QUICK)
    few = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(InputError, match="expected a teacher with 10 logits, as the model has, got 3"):
        train(start, digits, teacher=few, objective="distill", **QUICK)


def test_a_teacher_whose_classes_are_in_another_order_is_refused(digits):
    net = fresh({"use": "mlp"}, digits, seed=0)
    other = replace(net, classes=tuple(reversed(net.classes)))
    with pytest.raises(InputError, match="the model's classes in the model's order, got '9' in place of '0'"):
        train(net, digits, **QUICK, teacher=other, objective="distill")


def test_labels_that_nobody_looks_at_can_t_be_smoothed(digits):
    net = fresh({"use": "mlp"}, digits, seed=0)
    objective = {"use": "rslad", "threat": "linf 0.1"}
    with pytest.raises(InputError, match=r"rslad looks at no labels, got label_smoothing=0\.5"):
        train(net, digits, **QUICK, teacher=net, objective=objective, label_smoothing=0.5)
