"""What every criterion file owes the core, whatever it scores by."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from bantamweight import compression, parts, variants
from bantamweight.compression import Criterion, compress, prunable
from bantamweight.models.simple_cnn import simple_cnn
from bantamweight.variants import Variant

RATIOS = (0.0, 0.2, 0.5, 0.8, 0.9)


@pytest.fixture(scope="module")
def dense() -> Variant:
    torch.manual_seed(0)
    arguments = {"channels": 1, "classes": 4, "size": 8}
    return Variant("net", "simple_cnn", arguments, simple_cnn(**arguments).state_dict(), tuple("abcd"))


@pytest.fixture(params=parts.names("compression"))
def criterion(request: pytest.FixtureRequest) -> Criterion:
    return parts.configure("compression", request.param).make()


def evidence_for(criterion: Criterion, variant: Variant) -> Mapping[str, Tensor]:
    if criterion.needs == "none":
        return {}
    drawn = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(weight.shape, generator=drawn) for name, weight in prunable(variants.build(variant)).items()
    }


def cuts(dense: Variant, criterion: Criterion, allocate: str) -> list[tuple[Variant, compression.Achieved]]:
    shown = evidence_for(criterion, dense)
    return [compress(dense, criterion, sparsity=ratio, allocate=allocate, evidence=shown) for ratio in RATIOS]


@pytest.mark.parametrize("allocate", ["global", "per_layer"])
def test_zeros_are_exactly_those_asked_for(dense: Variant, criterion: Criterion, allocate: str) -> None:
    for ratio, (variant, achieved) in zip(RATIOS, cuts(dense, criterion, allocate), strict=True):
        counted = {name: int((variant.weights[name] == 0).sum()) for name in achieved.layers}
        sizes = {name: variant.weights[name].numel() for name in achieved.layers}
        if allocate == "global":
            assert sum(counted.values()) == round(ratio * sum(sizes.values()))
        else:
            assert counted == {name: round(ratio * size) for name, size in sizes.items()}
        assert achieved.asked == ratio
        assert achieved.zeros == sum(counted.values())
        assert achieved.layers == {name: counted[name] / sizes[name] for name in counted}
        assert achieved.parameters == sum(weight.numel() for weight in simple_cnn_parameters())
        assert abs(achieved.sparsity - ratio) < 1e-3


def simple_cnn_parameters() -> list[Tensor]:
    return list(simple_cnn(channels=1, classes=4, size=8).parameters())


@pytest.mark.parametrize("allocate", ["global", "per_layer"])
def test_masks_of_growing_ratios_are_nested(dense: Variant, criterion: Criterion, allocate: str) -> None:
    kept = [variants.masks(variant) for variant, _ in cuts(dense, criterion, allocate)]
    for less, more in pairwise(kept):
        assert less.keys() == more.keys()
        for name in less:
            assert not (more[name] & ~less[name]).any()


def test_kept_weights_and_everything_else_are_untouched(dense: Variant, criterion: Criterion) -> None:
    before, hash_before = {key: value.clone() for key, value in dense.weights.items()}, dense.hash
    variant, achieved = compress(dense, criterion, sparsity=0.5, evidence=evidence_for(criterion, dense))
    assert Variant(dense.name, dense.factory, dense.arguments, dense.weights, dense.classes).hash == hash_before
    masks = variants.masks(variant)
    for key, value in before.items():
        assert torch.equal(dense.weights[key], value)
        keep = masks.get(key, torch.ones_like(value, dtype=torch.bool))
        assert torch.equal(variant.weights[key][keep], value[keep])
        # -0.0 would be a value to the bitmap file.
        assert not variant.weights[key][~keep].view(torch.int32).any()
    assert set(masks) == set(achieved.layers)
    assert variant.edits == ({"edit": "mask", "layers": sorted(masks)},)
    assert variant.lineage == (hash_before,)
    assert variant.name == f"net/{criterion.name}-0.5"


def test_the_module_is_left_as_it_was(criterion: Criterion, dense: Variant) -> None:
    module = simple_cnn(channels=1, classes=4, size=8).train()
    before = {key: value.clone() for key, value in module.state_dict().items()}
    scores = criterion.score(module, evidence_for(criterion, dense))
    assert scores.keys() == prunable(module).keys()
    assert module.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_the_same_cut_twice_is_the_same_variant(dense: Variant, criterion: Criterion) -> None:
    shown = evidence_for(criterion, dense)
    first, again = (compress(dense, criterion, sparsity=0.8, evidence=shown)[0] for _ in range(2))
    assert first.hash == again.hash


def test_scores_of_a_layer_do_not_depend_on_the_layers_chosen(dense: Variant, criterion: Criterion) -> None:
    shown = evidence_for(criterion, dense)
    alone, achieved = compress(dense, criterion, sparsity=0.5, layers=["features.0"], evidence=shown)
    whole, _ = compress(dense, criterion, sparsity=0.5, allocate="per_layer", evidence=shown)
    assert list(achieved.layers) == ["features.0.weight"]
    assert torch.equal(alone.weights["features.0.weight"], whole.weights["features.0.weight"])
    assert torch.equal(alone.weights["features.4.weight"], dense.weights["features.4.weight"])


def test_cutting_in_two_steps_ends_where_one_step_does(dense: Variant, criterion: Criterion) -> None:
    shown = evidence_for(criterion, dense)
    half, _ = compress(dense, criterion, sparsity=0.5, evidence=shown)
    twice, achieved = compress(half, criterion, sparsity=0.8, evidence=shown)
    once, _ = compress(dense, criterion, sparsity=0.8, evidence=shown)
    assert achieved.zeros == round(0.8 * achieved.weights)
    assert all(torch.equal(twice.weights[key], once.weights[key]) for key in once.weights)


def test_a_nameless_layer_is_scored_too(criterion: Criterion) -> None:
    layer = nn.Linear(3, 2)
    drawn = {"weight": torch.ones(2, 3)}
    assert criterion.score(layer, {} if criterion.needs == "none" else drawn)["weight"].shape == (2, 3)
