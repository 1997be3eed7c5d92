"""Training learns, and leaves alone what it must leave alone."""

from __future__ import annotations

import inspect
import os
import random
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight import variants
from bantamweight.compression import compress
from bantamweight.compression.magnitude import magnitude
from bantamweight.data import Data, Split
from bantamweight.errors import InputError
from bantamweight.parts import settings
from bantamweight.predict import logits_of
from bantamweight.training import fresh, train
from bantamweight.training._settings import Settings
from tests.training.conftest import bits


def test_loss_goes_down_and_digits_are_learnt(digits, net):
    trained = train(net(), digits, epochs=8, batch=32, rate=1e-2, label_smoothing=0.1)
    losses = [row.loss for row in trained.history if row.split == "train"]
    assert losses[-1] < 0.6 * losses[0]
    assert trained.history[-1].accuracy >= 0.85
    assert trained.epochs == 8
    assert trained.variant is None
    assert trained.seconds > 0


@pytest.mark.parametrize("optimizer", ["adam", "adamw", {"use": "sgd", "momentum": 0.9, "nesterov": True}])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_optimizer_learns_at_every_precision(digits, net, optimizer, precision):
    trained = train(net(), digits, epochs=3, batch=32, rate=1e-2, optimizer=optimizer, precision=precision)
    assert trained.history[-1].accuracy >= 0.6


def test_history_has_a_row_per_epoch_and_split(digits, net):
    trained = train(net(), digits, epochs=2, batch=64, rate=1e-2, schedule="constant")
    assert [(row.epoch, row.split, row.n) for row in trained.history] == [
        (1, "train", 256),
        (1, "val", 64),
        (2, "train", 256),
        (2, "val", 64),
    ]
    assert all(row.rate == 1e-2 and row.seconds > 0 for row in trained.history)


def test_same_seed_same_bits_whatever_the_caller_drew(digits, net):
    def run(seed):
        return bits(train(net(), digits, epochs=2, rate=1e-2, seed=seed).last)

    torch.manual_seed(1)
    first = run(0)
    torch.manual_seed(2)
    assert run(0) == first
    assert run(1) != first


def test_the_callers_module_and_random_state_are_untouched(digits, net):
    module = net()
    module[1].eval()
    module[0].weight.requires_grad_(False)
    kept, modes = bits(module.state_dict()), [part.training for part in module.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(module, digits, epochs=1)
    with pytest.raises(InputError):
        train(module, digits, epochs=3, rate=1000, optimizer="sgd", precision="fp32")
    train(fresh("small_cnn", digits), digits, epochs=1)
    assert bits(module.state_dict()) == kept
    assert [part.training for part in module.modules()] == modes
    assert not module[0].weight.requires_grad
    assert module[5].weight.grad is None
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002


def test_frozen_layers_stay_frozen(digits, net):
    module = net()
    module[0].requires_grad_(False)
    module[1].eval()
    trained = train(module, digits, epochs=2, rate=1e-2, weight_decay=0.1)
    before = module.state_dict()
    moved = {key for key, tensor in trained.last.items() if not torch.equal(tensor, before[key])}
    assert moved == {"1.weight", "1.bias", "5.weight", "5.bias"}


def test_a_module_in_eval_mode_is_trained_whole(digits, net):
    trained = train(net().eval(), digits, epochs=1, rate=1e-2)
    assert int(trained.last["1.num_batches_tracked"]) == 4


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_masked_weights_are_zero_to_the_bit(digits, net, optimizer, tmp_path):
    module = net()
    masks = {name: module.get_parameter(name).abs() > 0.03 for name in ("0.weight", "5.weight")}
    trained = train(module, digits, tmp_path, masks, epochs=2, rate=1e-2, weight_decay=0.1, optimizer=optimizer)
    for weights in (trained.weights, trained.last):
        for name, alive in masks.items():
            dead = weights[name][~alive]
            assert len(dead) > 0
            assert not dead.view(torch.int32).any()
            assert (weights[name][alive] != 0).all()


def test_a_cut_variant_keeps_its_zeros_and_its_lineage(digits):
    dense = fresh("small_cnn", digits)
    name = next(key for key, tensor in dense.weights.items() if tensor.dim() == 4)
    thin = {**dense.weights, name: dense.weights[name] * (dense.weights[name].abs() > 0.02)}
    cut = replace(dense, weights=thin, edits=({"edit": "mask", "layers": [name]},))
    trained = train(cut, digits, epochs=1, rate=1e-2)
    tuned = trained.variant
    assert torch.equal(tuned.weights[name] == 0, thin[name] == 0)
    assert tuned.edits == cut.edits
    assert tuned.lineage == (cut.hash,)
    assert bits(variants.build(tuned).state_dict()) == bits(trained.weights)


def test_masks_come_on_top_of_a_variants_own_zeros(digits):
    half, _ = compress(fresh({"use": "mlp"}, digits, seed=0), magnitude(), sparsity=0.5)
    own = variants.masks(half)
    name = next(iter(own))
    more = torch.ones_like(own[name])
    more[0] = False
    for masks in ({}, {name: more}):
        trained = train(half, digits, None, masks, epochs=1, batch=64).variant
        for key, alive in own.items():
            assert not trained.weights[key][~(alive & masks.get(key, alive))].any()


def test_fresh_weights_follow_from_the_seed_and_settings_from_the_data(digits):
    one, same, other = (fresh("small_cnn", digits, seed=seed) for seed in (0, 0, 1))
    assert one.hash == same.hash != other.hash
    assert (one.arguments["channels"], one.arguments["size"], one.arguments["classes"]) == (1, 8, 10)
    pixels = digits.splits["train"].floats().double()
    assert one.arguments["mean"] == [pytest.approx(pixels.mean().item(), abs=1e-4)]
    assert one.arguments["std"] == [pytest.approx(pixels.std(correction=0).item(), abs=1e-4)]
    with pytest.raises(InputError, match="did you mean 'small_cnn'"):
        fresh("smal_cnn", digits)


def misleading(digits):
    """Validation labels that learning can only make worse."""
    val = digits.splits["val"]
    wrong = Split(val.images, (val.labels + 1) % 10, val.names)
    return Data("misleading", {**digits.splits, "val": wrong}, digits.classes, digits.preprocessing)


@pytest.mark.parametrize("monitor", ["loss", "accuracy"])
def test_early_stopping_returns_the_best_and_not_the_last(digits, net, monitor):
    data = misleading(digits)
    trained = train(
        net(), data, epochs=30, rate=1e-2, schedule="constant", patience=3, monitor=monitor, precision="fp32"
    )
    rows = {row.epoch: row for row in trained.history if row.split == "val"}
    key = (lambda epoch: rows[epoch].loss) if monitor == "loss" else (lambda epoch: -rows[epoch].accuracy)
    assert trained.best_epoch == min(rows, key=key)
    assert trained.epochs == trained.best_epoch + 3 < 30
    assert trained.stopped
    module = net().eval()
    module.load_state_dict(dict(trained.weights))
    split = data.splits["val"]
    loss = float(cross_entropy(logits_of(module, split.images), split.labels).detach())
    assert loss == pytest.approx(rows[trained.best_epoch].loss, rel=1e-5)
    assert bits(trained.weights) != bits(trained.last)


def test_without_validation_the_last_epoch_is_the_best(digits, net):
    data = Data("train only", {"train": digits.splits["train"]}, digits.classes, digits.preprocessing)
    trained = train(net(), data, epochs=2)
    assert trained.best_epoch == 2
    assert bits(trained.weights) == bits(trained.last)
    with pytest.raises(InputError, match="patience watches a split 'val'"):
        train(net(), data, epochs=2, patience=1)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"epochs": 0}, r"train\.epochs.*got 0"),
        ({"epochs": 1, "rate": -1e-3}, r"train\.rate.*got -0\.001"),
        ({"epochs": 1, "rate": float("nan")}, r"train\.rate"),
        ({"epochs": 1, "batch": 0}, r"train\.batch"),
        ({"epochs": 1, "schedule": "one_cycel"}, "did you mean 'one_cycle'"),
        ({"epochs": 1, "schedule": {"use": "step", "evry": 2}}, "did you mean 'every'"),
        ({"epochs": 1, "optimizer": "adamx"}, "did you mean 'adam"),
        ({"epochs": 1, "optimizer": {"use": "sgd", "momentum": 0, "nesterov": True}}, "momentum above 0"),
        ({"epochs": 1, "objective": "standart"}, "did you mean 'standard'"),
        ({"epochs": 1, "label_smoothing": 1.0}, r"train\.label_smoothing"),
        ({"epochs": 1, "precision": "fp16"}, r"train\.precision"),
        ({"epochs": 1, "patience": 0}, r"train\.patience"),
        ({"epochs": 1, "batch": 1}, "batches of at least 2 images"),
        ({"epochs": 1, "augment": ({"use": "flop"},)}, "flip"),
        ({"epochs": 3, "rate": 1000, "optimizer": "sgd", "precision": "fp32"}, "lower the rate"),
    ],
)
def test_bad_settings_are_input_errors_that_say_what_to_do(digits, net, bad, said):
    with pytest.raises(InputError, match=said) as caught:
        train(net(), digits, **bad)
    assert "\n" not in str(caught.value)


def test_models_and_masks_that_do_not_fit_are_input_errors(digits, net):
    with pytest.raises(InputError, match="can't take images of 1 x 8 x 8"):
        train(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(9, 10)), digits, epochs=1)
    with pytest.raises(InputError, match="10 logits per image"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), digits, epochs=1)
    with pytest.raises(InputError, match="requires a gradient"):
        train(net().requires_grad_(False), digits, epochs=1)
    with pytest.raises(InputError, match=r"did you mean '0\.weight'"):
        train(net(), digits, None, {"0.weigth": torch.ones(1).bool()}, epochs=1)
    with pytest.raises(InputError, match="expected a bool mask of shape"):
        train(net(), digits, None, {"0.weight": torch.ones(8, 1, 3, 3)}, epochs=1)
    with pytest.raises(InputError, match=r"Variant or an nn\.Module"):
        train("small_cnn", digits, epochs=1)


def test_settings_are_the_signature():
    keywords = [
        parameter.name
        for parameter in inspect.signature(train).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert keywords == [entry.name for entry in fields(Settings)] == list(settings(train).model_fields)


def test_two_processes_share_one_training(digits, net, monkeypatch):
    monkeypatch.delenv("MASTER_PORT", raising=False)
    trained = train(net(), digits, epochs=3, batch=32, rate=1e-2, accelerator="cpu", devices=2)
    assert trained.history[-1].accuracy >= 0.6
    assert [row.n for row in trained.history if row.split == "train"] == [256] * 3
    assert "MASTER_PORT" not in os.environ, "the next training would meet at this one's port"
