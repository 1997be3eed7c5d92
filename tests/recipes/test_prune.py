"""Cut and fine-tune on real digits: zeros stay, accuracy comes back, and the judge sees one set of images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bantamweight import variants
from bantamweight.compression.magnitude import magnitude
from bantamweight.data import Data, load
from bantamweight.errors import InputError
from bantamweight.judging.accuracy import recovery_fact
from bantamweight.recipes.prune import Pruned, prune, tune
from bantamweight.training import fresh, train
from bantamweight.variants import Variant

FINETUNE = {"epochs": 8, "batch": 32, "rate": 2e-3, "precision": "fp32"}


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


@pytest.fixture(scope="module")
def dense(digits: Data) -> Variant:
    net = fresh({"use": "mlp", "mean": None, "std": None}, digits, seed=0, name="net")
    trained = train(net, digits, epochs=6, batch=64, rate=3e-3, precision="fp32").variant
    assert trained is not None
    return trained


@pytest.fixture(scope="module")
def pruned(dense: Variant, digits: Data) -> Pruned:
    return prune(dense, digits, "magnitude", sparsity=0.95, allocate="per_layer", finetune=FINETUNE)


def test_fine_tuning_keeps_every_zero_and_moves_the_rest(pruned: Pruned) -> None:
    assert pruned.tuned is not None
    for name, alive in variants.masks(pruned.cut).items():
        assert not pruned.tuned.weights[name][~alive].any()
        assert not torch.equal(pruned.tuned.weights[name], pruned.cut.weights[name])
    assert pruned.tuned_achieved is not None
    assert set(pruned.achieved.layers) == set(variants.masks(pruned.cut))
    sizes = [pruned.cut.weights[name].numel() for name in pruned.achieved.layers]
    assert pruned.achieved.zeros == sum(round(0.95 * size) for size in sizes)
    assert pruned.tuned_achieved.zeros == pruned.achieved.zeros
    assert pruned.tuned_achieved.layers == pruned.achieved.layers
    assert pruned.tuned_achieved.asked == 0.95


def test_accuracy_is_lost_by_the_cut_and_recovered_by_tuning(pruned: Pruned) -> None:
    accuracy = pruned.accuracy
    assert list(accuracy) == ["net", "net/magnitude-per_layer-0.95", "net/magnitude-per_layer-0.95/tuned"]
    dense, cut, tuned = accuracy.values()
    assert dense > 0.9
    assert cut < tuned
    assert tuned > 0.9
    assert {row.epoch for row in pruned.history} == set(range(1, 9))
    fact = recovery_fact(pruned.right, "net/magnitude-per_layer-0.95/tuned", "net")
    assert fact.value == pytest.approx(tuned / dense)


def test_right_is_one_row_per_variant_over_the_test_images(pruned: Pruned, digits: Data) -> None:
    assert pruned.split == "test"
    assert {row.shape for row in pruned.right.values()} == {(len(digits.splits["test"]),)}
    assert all(row.dtype == np.bool_ for row in pruned.right.values())


def test_lineage_names_the_parents_and_the_parent_is_untouched(pruned: Pruned, dense: Variant, digits: Data) -> None:
    assert pruned.tuned is not None
    assert pruned.cut.lineage[-1] == dense.hash
    assert pruned.tuned.lineage == (*pruned.cut.lineage, pruned.cut.hash)
    before = {key: value.clone() for key, value in dense.weights.items()}
    prune(dense, digits, magnitude(), sparsity=0.5, finetune=None)
    assert all(torch.equal(dense.weights[key], before[key]) for key in before)


def test_without_fine_tuning_only_the_cut_comes_back(dense: Variant, digits: Data) -> None:
    found = prune(dense, digits, {"use": "random", "seed": 3}, sparsity=0.5, finetune=None, split="val", name="half")
    assert found.tuned is None
    assert found.tuned_achieved is None
    assert found.history == ()
    assert found.split == "val"
    assert list(found.right) == ["net", "half"]


def test_tuning_from_a_folder_that_is_done_gives_the_same_bits(pruned: Pruned, digits: Data, tmp_path: Path) -> None:
    first, _ = tune(pruned.cut, digits, FINETUNE, folder=tmp_path / "run")
    again, _ = tune(pruned.cut, digits, FINETUNE, folder=tmp_path / "run")
    assert pruned.tuned is not None
    assert first.hash == again.hash == pruned.tuned.hash


def test_a_saved_cut_is_tuned_with_its_zeros_kept(pruned: Pruned, digits: Data, tmp_path: Path) -> None:
    variants.save(pruned.cut, tmp_path / "cut")
    tuned, _ = tune(variants.load(tmp_path / "cut"), digits, FINETUNE)
    assert pruned.tuned is not None
    assert tuned.hash == pruned.tuned.hash


def test_what_is_wrong_is_refused_before_anything_is_trained(dense: Variant, digits: Data, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'magnitude'"):
        prune(dense, digits, "magnitud", sparsity=0.5, folder=tmp_path / "run")
    # The first layer's weights are larger than all of the second's: 64 inputs against 512.
    with pytest.raises(InputError, match=r"none of the 131072 weights of 'layers\.4\.weight'"):
        prune(dense, digits, sparsity=0.95, folder=tmp_path / "run")
    with pytest.raises(InputError, match=r"sparsity in \[0, 1\)"):
        prune(dense, digits, sparsity=1.0, folder=tmp_path / "run")
    with pytest.raises(InputError, match="has no split 'tset'"):
        prune(dense, digits, sparsity=0.5, split="tset", folder=tmp_path / "run")
    with pytest.raises(InputError, match="rate"):
        prune(dense, digits, sparsity=0.5, finetune={"rate": -1}, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()
