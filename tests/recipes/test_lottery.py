"""Tickets: early weights put back under the mask, to the bit, and trained from where they came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bantamweight import variants
from bantamweight.data import Data, load
from bantamweight.errors import InputError
from bantamweight.recipes.lottery import lottery
from bantamweight.training import fresh, train
from bantamweight.variants import Variant

TRAINING: dict[str, Any] = {"epochs": 3, "batch": 64, "rate": 3e-3, "precision": "fp32"}


@pytest.fixture(scope="module")
def digits() -> Data:
    whole = load("digits")
    few = {"train": whole.splits["train"].take(slice(0, 512)), "val": whole.splits["val"], "test": whole.splits["test"]}
    return Data("few digits", few, whole.classes, whole.preprocessing)


@pytest.fixture(scope="module")
def start(digits: Data) -> Variant:
    return fresh({"use": "small_cnn"}, digits, seed=0, name="net")


def assert_under_mask(ticket: Variant, weights: Any) -> None:
    alive = variants.masks(ticket)
    assert alive
    for key, value in ticket.weights.items():
        assert torch.equal(value, torch.where(alive[key], weights[key], 0) if key in alive else weights[key]), key


def test_kept_weights_are_those_of_that_epoch(start: Variant, digits: Data, tmp_path: Path) -> None:
    """An epoch's weights do not depend on what is kept, nor on being read back."""
    whole = train(start, digits, tmp_path, keep=(1, 3), **TRAINING)
    again = train(start, digits, tmp_path, keep=(1, 3), **TRAINING)
    plain = train(start, digits, **TRAINING)
    assert list(whole.kept) == [1, 3]
    for key, value in plain.last.items():
        assert torch.equal(whole.kept[3][key], value)
        assert torch.equal(again.kept[1][key], whole.kept[1][key])
        assert torch.equal(whole.last[key], value)


def test_begun_at_an_epoch_the_schedule_goes_on_from_there(start: Variant, digits: Data) -> None:
    whole = train(start, digits, **TRAINING)
    late = train(start, digits, begin=2, **TRAINING)
    rates = {row.epoch: row.rate for row in whole.history if row.split == "train"}
    assert [(row.epoch, row.rate) for row in late.history if row.split == "train"] == [(3, rates[3])]
    for wrong in ({"begin": 3}, {"keep": (4,)}, {"begin": 1, "keep": (1,)}):
        with pytest.raises(InputError, match="expected to begin before epoch 3"):
            train(start, digits, **TRAINING, **wrong)


def test_the_first_weights_are_put_back(start: Variant, digits: Data) -> None:
    found = lottery(start, digits, sparsity=0.8, training=TRAINING, rounds=2, allocate="per_layer")
    assert_under_mask(found.ticket, start.weights)
    assert found.sparsities == (pytest.approx(1 - 0.2**0.5, abs=1e-3), pytest.approx(0.8, abs=1e-3))
    for key, alive in variants.masks(found.ticket).items():
        assert not found.trained.weights[key][~alive].any()
    assert found.control is None


def test_late_rewinding_puts_back_the_epoch_and_goes_on_where_it_was_killed(
    start: Variant, digits: Data, tmp_path: Path
) -> None:
    settings: Any = {"sparsity": 0.5, "training": TRAINING, "rounds": 1, "rewind": 1, "folder": tmp_path}
    found = lottery(start, digits, **settings)
    early = train(start, digits, keep=(1,), **TRAINING).kept[1]
    assert_under_mask(found.ticket, early)
    seen: list[str] = []
    again = lottery(start, digits, **settings, progress=lambda name, *_: seen.append(name))
    assert seen == []  # every training was finished
    assert again.trained.hash == found.trained.hash


def test_a_control_has_the_mask_and_other_weights(start: Variant, digits: Data) -> None:
    other = fresh({"use": "small_cnn"}, digits, seed=1)
    found = lottery(start, digits, sparsity=0.5, training={**TRAINING, "epochs": 1}, rounds=1, control=other)
    assert found.control is not None
    for key, alive in variants.masks(found.ticket).items():
        assert not found.control.weights[key][~alive].any()
        assert not torch.equal(found.control.weights[key], found.trained.weights[key])


def test_what_can_t_be_put_back_is_refused(start: Variant, digits: Data) -> None:
    with pytest.raises(InputError, match="scores weights, whose values can be put back"):
        lottery(start, digits, "l1_channels", sparsity=0.5, training=TRAINING)
    with pytest.raises(InputError, match="rewind to before the last epoch"):
        lottery(start, digits, sparsity=0.5, training=TRAINING, rewind=3)
    with pytest.raises(InputError, match="same architecture"):
        lottery(start, digits, sparsity=0.5, training={**TRAINING, "epochs": 1}, rounds=1, control=fresh("mlp", digits))
