"""Epochs that explode: what counts as that, and that what is begun again is as if nothing had been."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from bantamweight.data import load
from bantamweight.errors import InputError
from bantamweight.training import fresh, train
from bantamweight.training._loop import _Loop
from tests.training.conftest import bits, few

SMALL = {"epochs": 3, "batch": 32, "rate": 3e-3, "precision": "fp32"}
LINF = {"use": "linf", "eps": 0.1}


def plant(monkeypatch, factor, epoch=2):
    """Once, at the beginning of an epoch, all weights are multiplied; gives the list of the epochs where they were."""
    trains, planted = _Loop._train, []

    def blown(self, now):
        if now == epoch and not planted:
            planted.append(now)
            with torch.no_grad():
                for weight in self.module.parameters():
                    weight.mul_(factor)
        return trains(self, now)

    monkeypatch.setattr(_Loop, "_train", blown)
    return planted


def refused(monkeypatch, digits, factor, **asked):
    """Without setbacks it is an error that names the epoch."""
    with monkeypatch.context() as patch:
        plant(patch, factor)
        with pytest.raises(InputError, match="in epoch 2 at rate"):
            train(fresh({"use": "mlp"}, digits, seed=0), digits, **asked)


def saved_and_slower(monkeypatch, digits, factor, **asked):
    """A training whose second epoch was begun again, and one that took it at half the rate from the beginning."""
    start, trains = fresh({"use": "mlp"}, digits, seed=0), _Loop._train
    planted = plant(monkeypatch, factor)
    saved = train(start, digits, **asked, setbacks=3)
    assert planted == [2]
    assert [row.setbacks for row in saved.history if row.split == "train"] == [0, 1, 0]

    def slowly(self, epoch):
        self.peak = asked["rate"] * 0.5 ** (epoch > 1)
        return trains(self, epoch)

    monkeypatch.setattr(_Loop, "_train", slowly)
    return saved, train(start, digits, **asked)


def test_a_planted_explosion_is_rolled_back_to_the_epoch_before(digits, monkeypatch):
    """In epoch 2 the weights are blown up once; what follows is that epoch again, at half the rate."""
    asked = {**SMALL, "schedule": "constant"}
    refused(monkeypatch, digits, 1e30, **asked)
    saved, slower = saved_and_slower(monkeypatch, digits, 1e30, **asked)
    rates = [row.rate for row in saved.history if row.split == "train"]
    assert rates == [pytest.approx(3e-3), pytest.approx(1.5e-3), pytest.approx(1.5e-3)]
    assert bits(slower.last) == bits(saved.last), "as if the explosion had never been"


@pytest.mark.parametrize("factor", [1e30, float("nan")])
@pytest.mark.parametrize(
    "pruning",
    [
        {"use": "admm", "sparsity": 0.8, "start": 0, "updates": 8, "end": 0.9, "tolerance": 0},
        {"use": "gradual", "sparsity": 0.8, "every": 3, "end": 0.9},
        {"use": "gradual", "sparsity": 0.8, "every": 3, "end": 0.9, "criterion": "lamp"},
    ],
    ids=lambda spec: "-".join((spec["use"], spec.get("criterion", "magnitude"))),
)
def test_weights_that_exploded_are_rolled_back_where_a_pruning_meets_them_first(digits, monkeypatch, pruning, factor):
    asked = {**SMALL, "schedule": "constant", "compress": pruning}
    refused(monkeypatch, digits, factor, **asked)
    saved, slower = saved_and_slower(monkeypatch, digits, factor, **asked)
    assert bits(slower.last) == bits(saved.last)


@pytest.mark.parametrize(
    "objective",
    [
        {"use": "free", "threat": {"use": "l2", "eps": 1}, "replays": 2},
        {"use": "free", "threat": LINF, "replays": 2},
        {"use": "quantized", "objective": {"use": "free", "threat": {"use": "l2", "eps": 1}, "replays": 1}},
        {"use": "fgsm_rs", "threat": LINF, "every": 3},
        {"use": "awp", "objective": {"use": "trades", "threat": LINF, "steps": 2}},
        {"use": "mixed", "threat": {"use": "l2", "eps": 1}, "steps": 3, "pace": "sawtooth", "growth": "linear"},
    ],
    ids=["free l2", "free linf", "quantized free", "fgsm_rs", "awp", "mixed"],
)
def test_what_an_objective_remembers_of_an_exploded_epoch_is_forgotten(digits, monkeypatch, objective):
    asked = {**SMALL, "schedule": "constant", "objective": objective, "average": 0.9}
    saved, slower = saved_and_slower(monkeypatch, digits, float("nan"), **asked)
    assert bits(slower.last) == bits(saved.last)
    assert bits(slower.weights) == bits(saved.weights)


def test_weights_that_explode_in_the_last_step_of_an_epoch_are_seen_without_a_validation_split(digits, monkeypatch):
    from bantamweight.data import Data

    alone = Data("alone", {"train": digits.splits["train"]}, digits.classes, digits.preprocessing)
    prunes, seen = _Loop._prune, []

    def last(self, step):
        prunes(self, step)
        if step == self.span.per_epoch - 1 and not seen:
            seen.append(step)
            with torch.no_grad():
                next(self.module.parameters()).fill_(float("nan"))

    monkeypatch.setattr(_Loop, "_prune", last)
    trained = train(fresh({"use": "mlp"}, alone, seed=0), alone, **SMALL, setbacks=1)
    assert seen
    assert [row.setbacks for row in trained.history] == [1, 0, 0]
    assert all(tensor.isfinite().all() for tensor in trained.last.values())


def test_setbacks_run_out(digits):
    start = fresh({"use": "mlp"}, digits, seed=0)
    with pytest.raises(InputError, match=r"the training loss became .* at rate 225; lower the rate"):
        train(start, digits, **{**SMALL, "rate": 900.0, "optimizer": "sgd"}, setbacks=2)


def test_a_loss_that_weighs_a_thousand_cross_entropies_does_not_explode_for_being_large():
    data = few(load("digits"), 512, 64)
    objective = {"use": "trades", "beta": 1000, "threat": {"use": "linf", "eps": 0.2}, "steps": 5}
    trained = train(fresh({"use": "small_cnn"}, data, seed=0), data, **SMALL, objective=objective, setbacks=1)
    rows = [row for row in trained.history if row.split == "train"]
    assert rows[0].loss > 10 * torch.log(torch.tensor(10.0))
    assert [row.setbacks for row in rows] == [0, 0, 0]


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ({"use": "standard"}, 1),
        ({"use": "trades", "threat": LINF, "beta": 9}, 10),
        ({"use": "mart", "threat": LINF, "beta": 5}, 7),
        ({"use": "awp", "objective": {"use": "trades", "threat": LINF, "beta": 9}}, 10),
        ({"use": "distill", "weight": 0.5, "temperature": 4}, 8.5),
        ({"use": "ard", "threat": LINF, "weight": 1, "temperature": 30}, 900),
        ({"use": "rslad", "threat": LINF}, 1),
    ],
    ids=lambda value: value["use"] if isinstance(value, dict) else "",
)
def test_how_many_cross_entropies_a_loss_weighs(spec, most):
    from bantamweight.parts import configure
    from bantamweight.training import Step

    torch.manual_seed(0)
    net, teacher = (nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2))
    part, images, labels = configure("objectives", spec), torch.rand(6, 1, 2, 2), torch.arange(6) % 3
    given = (teacher.requires_grad_(False),) if spec["use"] in ("distill", "ard", "rslad") else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # this teacher knows nothing
        loss = part.make(0.0, *given)(net, images, labels, Step(1, 0, 4, 0, torch.arange(6)))
    assert loss.scale == pytest.approx(most)


def test_what_all_attempts_took_is_counted(digits, monkeypatch):
    start, asked = (
        fresh({"use": "mlp"}, digits, seed=0),
        {**SMALL, "objective": {"use": "pgd_at", "threat": LINF, "steps": 2}},
    )
    plain = train(start, digits, **asked)
    plant(monkeypatch, 1e4)
    saved = train(start, digits, **asked, setbacks=1)
    passes = [
        [(row.forwards, row.backwards) for row in done.history if row.split == "train"] for done in (plain, saved)
    ]
    assert passes[0] == [(512, 512)] * 3
    assert passes[1] == [(512, 512), (1024, 1024), (512, 512)]
