"""Masks known by hand, exact counts for any scores, and cuts that can't be made."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bantamweight import variants
from bantamweight.compression import (
    Criterion,
    allocate,
    compress,
    cut,
    global_masks,
    measure,
    per_layer_masks,
    prunable,
    score,
    select,
)
from bantamweight.compression.magnitude import magnitude
from bantamweight.compression.random import random
from bantamweight.errors import InputError
from bantamweight.models.mlp import mlp
from bantamweight.models.simple_cnn import simple_cnn
from bantamweight.variants import Variant


def weighted(layer: nn.Linear, rows: list[list[float]]) -> nn.Linear:
    layer.weight.data = torch.tensor(rows)
    return layer


def two_layers() -> nn.Module:
    first = weighted(nn.Linear(2, 2), [[0.1, -3.0], [0.5, -0.2]])
    second = weighted(nn.Linear(2, 1), [[0.3, -4.0]])
    return nn.Sequential(first, nn.ReLU(), second)


def kept(masks: dict[str, Tensor]) -> dict[str, list[list[bool]]]:
    return {name: mask.tolist() for name, mask in masks.items()}


def scores_of(module: nn.Module) -> dict[str, Tensor]:
    return dict(score(module, magnitude(), select(module)))


def tiny() -> Variant:
    arguments = {"channels": 1, "classes": 3, "size": 8}
    torch.manual_seed(0)
    return Variant("tiny", "simple_cnn", arguments, simple_cnn(**arguments).state_dict(), tuple("abc"))


def test_global_magnitude_by_hand() -> None:
    # |w| sorted: .1 .2 .3 .5 3 4; half of six is three zeros.
    masks = global_masks(scores_of(two_layers()), 0.5)
    assert kept(masks) == {"0.weight": [[False, True], [True, False]], "2.weight": [[False, True]]}


def test_per_layer_magnitude_by_hand() -> None:
    masks = per_layer_masks(scores_of(two_layers()), 0.5)
    assert kept(masks) == {"0.weight": [[False, True], [True, False]], "2.weight": [[False, True]]}
    masks = per_layer_masks(scores_of(two_layers()), 0.25)
    assert kept(masks) == {"0.weight": [[False, True], [True, True]], "2.weight": [[True, True]]}


def test_the_optimal_mask_loses_the_least_energy() -> None:
    """Magnitude is optimal for the squared change of the weights: no other mask with as many zeros loses less."""
    weights = torch.tensor([0.4, -0.1, 0.3, 0.25, -0.9, 0.05])
    mask = global_masks({"w": weights.abs()}, 0.5)["w"]
    lost = float((weights[~mask] ** 2).sum())
    for zeros in torch.combinations(torch.arange(6), 3):
        assert float((weights[zeros] ** 2).sum()) >= lost


def test_among_equal_scores_the_first_go_first() -> None:
    masks = global_masks({"a": torch.ones(3), "b": torch.ones(5)}, 0.5)
    assert kept(masks) == {"a": [False, False, False], "b": [False, True, True, True, True]}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=30), min_size=1, max_size=5),
    st.floats(0, 0.999),
    st.floats(0, 0.999),
)
def test_counts_are_exact_and_masks_nested_for_any_scores(drawn: list[list[int]], ratio: float, other: float) -> None:
    """Small integers, so that ties are everywhere."""
    scores = {f"w{i}": torch.tensor(part, dtype=torch.float32) for i, part in enumerate(drawn)}
    low, high = sorted((ratio, other))
    total = sum(len(part) for part in drawn)
    fewer, more = global_masks(scores, high), global_masks(scores, low)
    assert sum(int((~mask).sum()) for mask in fewer.values()) == round(high * total)
    assert not any(bool((fewer[name] & ~more[name]).any()) for name in scores)
    flat = torch.cat(list(scores.values()))
    dropped = torch.argsort(flat, stable=True)[: round(high * total)]
    assert torch.equal(torch.nonzero(~torch.cat(list(fewer.values()))).squeeze(1), dropped.sort().values)
    for name, mask in per_layer_masks(scores, high).items():
        assert int((~mask).sum()) == round(high * len(scores[name]))


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, float("nan"), float("inf"), True, "0.5", None])
def test_a_sparsity_outside_its_range_is_refused(sparsity: object) -> None:
    with pytest.raises(InputError, match=r"sparsity in \[0, 1\)"):
        compress(tiny(), magnitude(), sparsity=sparsity)  # type: ignore[arg-type]


def test_a_cut_that_would_empty_a_layer_names_it() -> None:
    scores = {"small": torch.zeros(4), "large": torch.ones(96)}
    with pytest.raises(InputError, match=r"none of the 4 weights of 'small'"):
        allocate(scores, 0.1)
    assert allocate(scores, 0.1, "per_layer")["small"].any()
    with pytest.raises(InputError, match=r"none of the 4 weights of 'small'"):
        allocate(scores, 0.9, "per_layer")


def test_an_unknown_allocation_is_refused_and_a_function_is_one() -> None:
    with pytest.raises(InputError, match="did you mean 'global'"):
        allocate({"w": torch.ones(4)}, 0.5, "globl")
    first = allocate({"w": torch.ones(4)}, 0.5, lambda scores, _: {name: part > 0 for name, part in scores.items()})
    assert first["w"].all()


def test_layers_are_chosen_by_tensor_layer_or_block() -> None:
    net = simple_cnn(channels=1, classes=3, size=8)
    everything = list(prunable(net))
    assert everything == [
        f"{name}.weight" for name in ("features.0", "features.4", "features.8", "classifier.2", "classifier.5")
    ]
    assert select(net) == everything
    assert select(net, ["features"]) == everything[:3]
    assert select(net, "features.0.weight", ()) == everything[:1]
    assert select(net, None, ["classifier.5", "features"]) == ["classifier.2.weight"]


@pytest.mark.parametrize("wrong", ["feature.0", "features.1", "features.0.bias", "", "weight"])
def test_an_unknown_layer_is_refused_with_the_nearest(wrong: str) -> None:
    net = simple_cnn(channels=1, classes=3, size=8)
    for choice in ({"layers": [wrong]}, {"skip": [wrong]}):
        with pytest.raises(InputError, match=r"is no layer that can be pruned; (did you mean|choose one of)"):
            select(net, **choice)


def test_a_choice_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="leaves none"):
        select(two_layers(), ["0"], ["0"])
    with pytest.raises(InputError, match="leaves none"):
        select(two_layers(), [])


def test_a_model_without_prunable_layers_is_refused() -> None:
    with pytest.raises(InputError, match="without any"):
        select(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()))
    with pytest.raises(InputError, match="without any"):
        measure(nn.BatchNorm1d(3))


def test_scores_that_are_missing_misshapen_or_not_finite_are_refused() -> None:
    module = weighted(nn.Linear(2, 1), [[1.0, 2.0]])
    wrong = {
        "to score 'weight', got none": {},
        r"expected \(1, 2\) scores": {"weight": torch.ones(2)},
        "NaN or infinity": {"weight": torch.tensor([[1.0, float("nan")]])},
    }
    for said, given_scores in wrong.items():
        with pytest.raises(InputError, match=said):
            score(module, Criterion("odd", "none", lambda _, __, scores=given_scores: scores), ["weight"])


def test_a_criterion_without_its_evidence_is_refused() -> None:
    needy = Criterion("taylor", "gradients", lambda _, shown: dict(shown))
    with pytest.raises(InputError, match="taylor scores from gradients, and none were given"):
        compress(tiny(), needy, sparsity=0.5)


def test_asking_for_less_than_is_cut_already_is_refused() -> None:
    half, _ = compress(tiny(), magnitude(), sparsity=0.5)
    for how in ("global", "per_layer"):
        with pytest.raises(InputError, match="has been cut to already"):
            compress(half, random(), sparsity=0.3, allocate=how)


def test_what_was_cut_stays_cut_under_another_criterion() -> None:
    half, _ = compress(tiny(), magnitude(), sparsity=0.5)
    more, achieved = compress(half, random(seed=1), sparsity=0.7)
    assert achieved.zeros == round(0.7 * achieved.weights)
    for name, alive in variants.masks(half).items():
        assert not (variants.masks(more)[name] & ~alive).any()
    assert more.lineage == (*half.lineage, half.hash)


def test_a_cut_to_nothing_keeps_the_weights_and_their_hash_apart() -> None:
    dense = tiny()
    same, achieved = compress(dense, magnitude(), sparsity=0, name="control")
    assert (same.name, achieved.sparsity) == ("control", 0.0)
    assert all(torch.equal(same.weights[key], dense.weights[key]) for key in dense.weights)


def test_weights_with_nan_are_refused_by_name() -> None:
    broken = tiny()
    weights = {key: value.clone() for key, value in broken.weights.items()}
    weights["features.4.weight"][0, 0] = float("nan")
    with pytest.raises(InputError, match=r"'features\.4\.weight'"):
        compress(Variant("net", "simple_cnn", broken.arguments, weights), magnitude(), sparsity=0.5)


def test_masks_that_fit_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"no weight 'features\.0\.wieght' to cut; did you mean"):
        cut(tiny(), {"features.0.wieght": torch.ones(1, dtype=torch.bool)}, name="x")
    with pytest.raises(InputError, match="expected a mask of shape"):
        cut(tiny(), {"features.0.weight": torch.ones(1, dtype=torch.bool)}, name="x")


def test_measure_counts_what_is_there() -> None:
    module = two_layers()
    found = measure(module, asked=0.0)
    assert (found.zeros, found.weights, found.parameters, found.nonzeros) == (0, 6, 9, 9)
    module[2].weight.data[0, 0] = 0
    module[0].bias.data[0] = 0
    found = measure(module, asked=0.1)
    assert (found.zeros, found.nonzeros, found.asked, found.sparsity) == (1, 7, 0.1, 1 / 6)
    assert found.layers == {"0.weight": 0.0, "2.weight": 0.5}


class Tied(nn.Module):
    """An autoencoder's trick: one weight, two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(4, 4), nn.Linear(4, 4)
        self.two.weight = self.one.weight


def tied() -> nn.Module:
    return Tied()


def test_a_shared_weight_is_counted_once_and_cut_under_both_names() -> None:
    variant = Variant("tied", f"{__name__}:tied", {}, dict(tied().state_dict()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variants, "_architecture", lambda *_: tied())
        result, achieved = compress(variant, magnitude(), sparsity=0.5)
    assert achieved.weights == 16
    assert achieved.zeros == 8
    assert torch.equal(result.weights["one.weight"], result.weights["two.weight"])


def test_random_is_another_draw_for_another_seed_and_layer() -> None:
    net = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    one, other = random(seed=1).score(net, {}), random(seed=2).score(net, {})
    assert not torch.equal(one["0.weight"], other["0.weight"])
    assert not torch.equal(one["0.weight"], one["1.weight"])
    assert 0.3 < float(torch.cat([part.reshape(-1) for part in one.values()]).mean()) < 0.7


def test_a_net_without_convolutions_is_cut_too() -> None:
    arguments = {"channels": 1, "classes": 3, "size": 8}
    dense = Variant("mlp", "mlp", arguments, mlp(**arguments).state_dict())
    result, achieved = compress(dense, magnitude(), sparsity=0.8, allocate="per_layer")
    assert result.name == "mlp/magnitude-per_layer-0.8"
    assert achieved.zeros == sum(round(0.8 * result.weights[name].numel()) for name in achieved.layers)
