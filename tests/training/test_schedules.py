"""Schedules against closed forms and against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, ExponentialLR, OneCycleLR, StepLR

from bantamweight.data import load
from bantamweight.errors import InputError
from bantamweight.parts import configure, names
from bantamweight.training import Span, fresh, train
from tests.training.conftest import few

SPAN = Span(epochs=7, per_epoch=5)


def factors(spec, span=SPAN):
    factor = configure("schedules", spec).make(span)
    return [factor(step) for step in range(span.steps)]


def torchs(make, every=1):
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    rates = []
    for step in range(SPAN.steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if (step + 1) % every == 0 and step + 1 < SPAN.steps:
            scheduler.step()
    return rates


def test_the_room_holds_what_is_promised():
    assert set(names("schedules")) >= {"constant", "cosine", "one_cycle", "step", "exponential"}


def test_constant():
    assert factors("constant") == [1.0] * SPAN.steps
    assert factors({"use": "constant", "warmup": 0.2})[:8] == pytest.approx([n / 7 for n in range(1, 8)] + [1.0])


def test_cosine_is_torchs():
    assert factors("cosine") == pytest.approx(torchs(lambda o: CosineAnnealingLR(o, SPAN.steps)))
    floored = factors({"use": "cosine", "floor": 0.1})
    assert floored == pytest.approx(torchs(lambda o: CosineAnnealingLR(o, SPAN.steps, eta_min=0.1)))


def test_cosine_with_warmup_peaks_at_its_end():
    warm = factors({"use": "cosine", "warmup": 0.2})
    assert warm[:7] == pytest.approx([n / 7 for n in range(1, 8)])
    assert warm[7:] == pytest.approx([(1 + math.cos(math.pi * n / 28)) / 2 for n in range(28)])


@pytest.mark.parametrize("warmup", [0.1, 0.3, 0.9])
def test_one_cycle_is_torchs(warmup):
    def make(optimizer):
        return OneCycleLR(optimizer, 1.0, total_steps=SPAN.steps, pct_start=warmup, cycle_momentum=False)

    assert factors({"use": "one_cycle", "warmup": warmup}) == pytest.approx(torchs(make))


def test_step_is_torchs():
    mine = factors({"use": "step", "every": 2, "decay": 0.3})
    assert mine == pytest.approx(torchs(lambda o: StepLR(o, 2, gamma=0.3), every=SPAN.per_epoch))


def test_exponential_meets_torchs_at_each_epoch():
    mine = factors({"use": "exponential", "decay": 0.8})
    theirs = torchs(lambda o: ExponentialLR(o, 0.8), every=SPAN.per_epoch)
    assert mine[:: SPAN.per_epoch] == pytest.approx(theirs[:: SPAN.per_epoch])
    assert mine == sorted(mine, reverse=True)


@pytest.mark.parametrize("name", ["constant", "cosine", "one_cycle", "step", "exponential"])
@pytest.mark.parametrize("span", [Span(1, 1), Span(1, 2), Span(2, 1), Span(3, 100)])
def test_every_schedule_gives_finite_shares_at_any_length(name, span):
    assert all(0.0 <= factor <= 1.0 for factor in factors(name, span))


def test_a_setting_out_of_range_is_an_input_error():
    with pytest.raises(InputError, match=r"cosine\.warmup"):
        configure("schedules", {"use": "cosine", "warmup": 1.5})


def test_linear_and_stepwise_by_hand():
    assert factors({"use": "linear"}, Span(1, 4)) == [0.0, 0.25, 0.5, 0.75]
    falling = {"use": "linear", "start": 1.0, "end": 0.2, "begin": 0.25, "until": 0.75}
    assert factors(falling, Span(2, 4)) == pytest.approx([1.0, 1.0, 1.0, 0.8, 0.6, 0.4, 0.2, 0.2])
    assert factors("stepwise", Span(3, 2)) == [1 / 3, 1 / 3, 2 / 3, 2 / 3, 1.0, 1.0]
    assert factors({"use": "stepwise", "levels": [1, 0.5]}, Span(1, 5)) == [1.0, 1.0, 1.0, 0.5, 0.5]
    with pytest.raises(InputError, match="ends after it begins"):
        factors({"use": "linear", "begin": 0.6, "until": 0.5})


@pytest.mark.parametrize(("steps", "teeth"), [(8, 3), (100, 3), (7, 5), (6, 2)])
def test_every_tooth_begins_low_and_ends_at_one(steps, teeth):
    factor = configure("schedules", {"use": "sawtooth", "teeth": teeth}).make(Span(1, steps))
    values = [factor(step) for step in range(steps)]
    parts = [[values[step] for step in range(steps) if step * teeth // steps == tooth] for tooth in range(teeth)]
    for part in parts:
        assert part == pytest.approx([(number + 1) / len(part) for number in range(len(part))])


@pytest.mark.parametrize("objective", [
    {"use": "mixed", "threat": "linf 0.25", "growth": "stepwise"},
    {"use": "awp", "objective": {"use": "pgd_at", "steps": 1, "threat": "linf 0.25", "growth": "stepwise"}},
    {"use": "free", "replays": 2, "threat": "linf 0.25", "growth": "stepwise"},
])  # fmt: skip
def test_an_epoch_that_met_a_weaker_adversary_is_no_rival_of_the_last_ones(objective):
    digits = few(load("digits"), 128, 64)
    given = {"epochs": 6, "batch": 64, "rate": 0.02, "precision": "fp32"}
    done = train(fresh("mlp", digits, seed=0), digits, **given, objective=objective)
    losses = [row.loss for row in done.history if row.split == "val"]
    assert done.best_epoch == 5 + losses[4:].index(min(losses[4:]))
    eps = [row.measures["eps"] for row in done.history if row.split == "train"]
    assert eps == pytest.approx([0.25 / 3, 0.25 / 3, 0.5 / 3, 0.5 / 3, 0.25, 0.25])
    waiting = train(fresh("mlp", digits, seed=0), digits, **{**given, "rate": 1.0}, objective=objective, patience=1)
    assert waiting.epochs >= 5


def test_sparsity_rises_as_a_schedule_says():
    span = Span(epochs=1, per_epoch=100)
    by_steps = configure("pruning", {"use": "gradual", "sparsity": 0.9, "every": 1, "end": 0.91, "rise": "stepwise"})
    pruning = by_steps.make(span)
    assert [round(pruning.due(step), 9) for step in (0, 29, 30, 59, 60, 90)] == [0.3, 0.3, 0.6, 0.6, 0.9, 0.9]
    line = configure("pruning", {"use": "gradual", "sparsity": 0.8, "every": 1, "end": 0.41, "rise": "linear"})
    assert [line.make(span).due(step) for step in (0, 20, 40)] == [0.0, pytest.approx(0.4), 0.8]
    drawn = configure("pruning", {"use": "admm", "sparsity": 0.9, "start": 0.0, "end": 0.91, "rise": "stepwise"})
    admm = drawn.make(span)
    assert [round(admm.rise(step), 9) for step in (0, 30, 60, 89)] == [round(1 / 3, 9), round(2 / 3, 9), 1.0, 1.0]


def test_fractions_are_numbers_where_there_are_bounds_too():
    made = configure("objectives", {"use": "pgd_at", "threat": "linf 8/255", "rate": "2/255"})
    assert made.settings["rate"] == 2 / 255
    assert configure("schedules", {"use": "stepwise", "levels": ["1/3", "2/3", 1]}).settings["levels"] == (
        1 / 3,
        2 / 3,
        1.0,
    )
    assert configure("pruning", {"use": "admm", "sparsity": "2/3"}).settings["sparsity"] == 2 / 3
    with pytest.raises(InputError, match=r"pgd_at\.rate"):
        configure("objectives", {"use": "pgd_at", "threat": "linf 8/255", "rate": "-2/255"})
