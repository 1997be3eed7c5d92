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


MADE = {name: parts.configure("compression", name).make() for name in parts.names("compression")}


@pytest.fixture(params=[name for name, made in MADE.items() if isinstance(made, Criterion)])
def criterion(request: pytest.FixtureRequest) -> Criterion:
    return parts.configure("compression", request.param).make()


def evidence_for(criterion: Criterion, variant: Variant) -> Mapping[str, Tensor]:
    if criterion.needs == "none":
        return {}
    drawn = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(weight.shape, generator=drawn) for name, weight in prunable(variants.build(variant)).items()
    }


def ratios(criterion: Criterion) -> tuple[float, ...]:
    return RATIOS if criterion.only is None else (criterion.only,)


def spreads(criterion: Criterion) -> list[str | None]:
    return ["global", "per_layer", "erk", "funnel"] if criterion.allocation is None else [None]


def cuts(dense: Variant, criterion: Criterion, allocate: str | None) -> list[tuple[Variant, compression.Achieved]]:
    shown = evidence_for(criterion, dense)
    return [
        compress(dense, criterion, sparsity=ratio, allocate=allocate, evidence=shown) for ratio in ratios(criterion)
    ]


def test_zeros_are_those_asked_for(dense: Variant, criterion: Criterion) -> None:
    for allocate in spreads(criterion):
        for ratio, (variant, achieved) in zip(ratios(criterion), cuts(dense, criterion, allocate), strict=True):
            counted = {name: int((variant.weights[name] == 0).sum()) for name in achieved.layers}
            sizes = {name: variant.weights[name].numel() for name in achieved.layers}
            asked = round(ratio * sum(sizes.values()))
            if allocate == "global":
                assert sum(counted.values()) == asked
            elif allocate == "per_layer":
                assert counted == {name: round(ratio * size) for name, size in sizes.items()}
            elif criterion.only is None:  # shares settled layer by layer: at most a weight is rounded in each
                assert abs(sum(counted.values()) - asked) <= len(sizes)
            assert achieved.asked == ratio
            assert achieved.zeros == sum(counted.values())
            assert achieved.layers == {name: counted[name] / sizes[name] for name in counted}
            assert achieved.parameters == sum(weight.numel() for weight in simple_cnn_parameters())
            assert abs(achieved.sparsity - ratio) < 1e-3


def simple_cnn_parameters() -> list[Tensor]:
    return list(simple_cnn(channels=1, classes=4, size=8).parameters())


def test_masks_of_growing_ratios_are_nested(dense: Variant, criterion: Criterion) -> None:
    for allocate in spreads(criterion):
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
    first, again = (compress(dense, criterion, sparsity=criterion.only or 0.8, evidence=shown)[0] for _ in range(2))
    assert first.hash == again.hash


def test_scores_of_a_layer_do_not_depend_on_the_layers_chosen(dense: Variant, criterion: Criterion) -> None:
    shown = evidence_for(criterion, dense)
    alone, achieved = compress(dense, criterion, sparsity=0.5, layers=["features.0"], evidence=shown)
    own = None if criterion.allocation else "per_layer"
    whole, _ = compress(dense, criterion, sparsity=0.5, allocate=own, evidence=shown)
    assert list(achieved.layers) == ["features.0.weight"]
    if criterion.name in ("funnel", "channel_groups"):  # whose shares are settled among the layers chosen
        return
    assert torch.equal(alone.weights["features.0.weight"], whole.weights["features.0.weight"])
    assert torch.equal(alone.weights["features.4.weight"], dense.weights["features.4.weight"])


RELATIVE = {"funnel", "redundant", "channel_groups"}
"""What these drop depends on the other weights, and so on those that went before."""


def test_cutting_in_two_steps_ends_where_one_step_does(dense: Variant, criterion: Criterion) -> None:
    if criterion.only is not None:
        pytest.skip("a scheme with one sparsity has no second step")
    shown = evidence_for(criterion, dense)
    half, _ = compress(dense, criterion, sparsity=0.5, evidence=shown)
    twice, achieved = compress(half, criterion, sparsity=0.8, evidence=shown)
    once, _ = compress(dense, criterion, sparsity=0.8, evidence=shown)
    slack = len(achieved.layers) if criterion.allocation else 0
    assert abs(achieved.zeros - round(0.8 * achieved.weights)) <= slack
    for name, alive in variants.masks(half).items():
        assert not twice.weights[name][~alive].any()
    if criterion.name not in RELATIVE:
        assert all(torch.equal(twice.weights[key], once.weights[key]) for key in once.weights)


def test_a_nameless_layer_is_scored_too(criterion: Criterion) -> None:
    layer = nn.Linear(3, 2)
    drawn = {"weight": torch.ones(2, 3)}
    assert criterion.score(layer, {} if criterion.needs == "none" else drawn)["weight"].shape == (2, 3)
