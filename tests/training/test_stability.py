"""What keeps a training on its feet: running averages, robust early stopping."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bantamweight.data import load
from bantamweight.errors import InputError
from bantamweight.training import fresh, train
from bantamweight.training._average import Average
from tests.training.conftest import bits, few

SMALL = {"epochs": 3, "batch": 32, "rate": 3e-3, "precision": "fp32"}
LINF = {"use": "linf", "eps": 0.1}


def test_a_running_average_by_hand():
    net = nn.Linear(1, 1, bias=False)
    net.weight.data.fill_(0.0)
    average = Average(net, 0.5)
    for step, value in enumerate((1.0, 2.0, 3.0)):
        net.weight.data.fill_(value)
        average.update(step)
    # Shares of the new weights: 1 - 1/10, 1 - 2/11, 1 - 3/12.
    first = 0.9 * 1.0
    second = 2 / 11 * first + 9 / 11 * 2.0
    assert float(average.tensors["weight"]) == pytest.approx(0.25 * second + 0.75 * 3.0)
    with average.shown():
        assert float(net.weight.detach()) == float(average.tensors["weight"])
    assert float(net.weight.detach()) == 3.0
    average.bury({"weight": torch.tensor([[True]])})
    assert float(average.tensors["weight"]) == 0.0


def test_the_average_is_what_is_judged_and_given_back(digits):
    start = fresh({"use": "mlp"}, digits, seed=0)
    plain = train(start, digits, **SMALL)
    averaged = train(start, digits, **SMALL, average=0.98)
    assert bits(plain.last) == bits(averaged.last), "the weights in training know nothing of their average"
    assert bits(plain.weights) != bits(averaged.weights)
    losses = [[row.loss for row in one.history if row.split == "val"] for one in (plain, averaged)]
    assert losses[0] != losses[1]


def test_robust_accuracy_is_watched_under_the_objectives_own_attack(digits):
    start = fresh({"use": "mlp"}, digits, seed=0)
    asked = {"objective": {"use": "pgd_at", "threat": LINF, "steps": 2}, "monitor": "robust_accuracy"}
    trained = train(start, digits, **{**SMALL, "epochs": 5}, **asked)
    rows = [row for row in trained.history if row.split == "val"]
    robust = [row.measures["robust_accuracy"] for row in rows]
    assert all(value <= row.accuracy for value, row in zip(robust, rows, strict=True))
    assert trained.best_epoch == 1 + robust.index(max(robust))
    assert all(0 < row.crafting_seconds < row.seconds for row in trained.history if row.split == "train")
    with pytest.raises(InputError, match="robust_accuracy needs an adversarial objective"):
        train(start, digits, **SMALL, monitor="robust_accuracy")


def test_free_training_moves_the_images_by_the_gradient_that_the_weights_got(digits):
    from bantamweight.parts import configure
    from bantamweight.training import Step

    objective = configure("objectives", {"use": "free", "threat": LINF, "replays": 3}).make(0.0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    images, labels = torch.full((6, 1, 2, 2), 0.5), torch.zeros(6, dtype=torch.long)
    step = Step(1, 0, 9, 0, torch.arange(6))
    objective(net, images, labels, step).value.backward()
    assert torch.equal(objective.leaf.detach(), images), "the first pass sees the images themselves"
    objective(net, images, labels, replace(step, step=1)).value.backward()
    away = (net[1].weight[1] - net[1].weight[0]).sign().reshape(1, 2, 2)
    assert torch.allclose(objective.leaf.detach() - images, 0.1 * away.expand(6, 1, 2, 2))
    objective(net, images[:4], labels[:4], replace(step, step=2)).value.backward()
    assert float((objective.leaf.detach() - images[:4]).abs().max()) <= 0.1 + 1e-6
    objective(net, images, labels, replace(step, step=3, epoch=2))
    assert torch.equal(objective.leaf.detach(), images), "nothing is carried into the next epoch"

    start = fresh({"use": "mlp"}, digits, seed=0)
    asked = {**SMALL, "objective": {"use": "free", "threat": LINF, "replays": 3}}
    trained, again = (train(start, digits, **asked) for _ in range(2))
    assert bits(trained.last) == bits(again.last)
    assert all(row.n == len(digits.splits["train"]) for row in trained.history if row.split == "train")


@pytest.mark.parametrize("name", ["ard", "rslad"])
def test_a_natural_teacher_is_warned_about_and_a_robust_one_is_not(name):
    digits = few(load("digits"), 1024, 64)
    student, threat = fresh({"use": "mlp"}, digits, seed=1), {"use": "linf", "eps": 0.15}
    natural = train(fresh({"use": "mlp"}, digits, seed=0), digits, **{**SMALL, "epochs": 6}).variant
    objective = {"use": "pgd_at", "threat": LINF, "steps": 3}
    robust = train(
        fresh({"use": "mlp"}, digits, seed=0), digits, **{**SMALL, "epochs": 12}, objective=objective
    ).variant
    asked = {**SMALL, "epochs": 1, "objective": {"use": name, "threat": threat, "steps": 2}}
    with pytest.warns(UserWarning, match="a natural teacher has no robustness to teach"):
        train(student, digits, **asked, teacher=natural)
    trained = train(student, digits, **asked, teacher=robust)  # a warning would be an error here
    assert trained.variant is not None


def test_rslad_and_ard_by_hand():
    from bantamweight.parts import configure
    from bantamweight.training import Step

    torch.manual_seed(0)
    teacher, net = (nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2))
    teacher.requires_grad_(False)
    teacher[1].weight.mul_(1e-3)  # answers almost the same everywhere: nothing to warn about
    images, labels = 0.3 + 0.4 * torch.rand(16, 1, 2, 2), teacher(0.5 * torch.ones(16, 1, 2, 2)).argmax(dim=1)
    step = Step(1, 0, 8, 0, torch.arange(16))

    def kl(told, said):
        told, said = told.log_softmax(1), said.log_softmax(1)
        return (told.exp() * (told - said)).sum(dim=1).mean()

    for spec in ({"use": "rslad", "weight": 0.75}, {"use": "ard", "weight": 0.9, "temperature": 5.0}):
        objective = configure("objectives", {**spec, "threat": LINF, "steps": 3}).make(0.0, teacher)
        worst = objective.craft(net, images, labels, step).images
        said = float(objective(net, images, labels, step).value.detach())
        told = teacher(images)
        if spec["use"] == "rslad":
            due = 0.75 * kl(told, net(worst)) + 0.25 * kl(told, net(images))
        else:
            due = 0.9 * 25 * kl(told / 5, net(worst) / 5) + 0.1 * nn.functional.cross_entropy(net(images), labels)
        assert said == pytest.approx(float(due.detach()), rel=1e-4)
        assert float((worst - images).abs().max()) <= 0.1 + 1e-6
