"""Masks of the criteria and schemes, known by hand or by trying every other."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bantamweight.compression import allocate, by_sensitivity, compress
from bantamweight.compression._allocations import erk_masks, funnel_masks, global_masks
from bantamweight.compression._histogram import weight_histogram
from bantamweight.compression.lamp import lamp
from bantamweight.compression.n_m import n_m, two_four
from bantamweight.compression.redundant import redundant
from bantamweight.compression.taylor_weights import taylor_weights
from bantamweight.errors import InputError
from bantamweight.models.simple_cnn import simple_cnn
from bantamweight.variants import Variant


def linear(rows: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(len(rows[0]), len(rows), bias=False)
    layer.weight.data = torch.tensor(rows)
    return layer


def zeros(masks: dict[str, Tensor]) -> list[int]:
    return [int((~mask).sum()) for mask in masks.values()]


def net() -> Variant:
    torch.manual_seed(0)
    arguments = {"channels": 1, "classes": 4, "size": 8}
    return Variant("net", "simple_cnn", arguments, simple_cnn(**arguments).state_dict(), tuple("abcd"))


def test_lamp_by_hand() -> None:
    """1, 2, 2 squared are 1, 4, 4: 1/9, 4/8 for the first of the equals, 4/4; a layer's scale does not enter."""
    module = nn.Sequential(linear([[1.0, -2.0, 2.0]]), linear([[100.0], [300.0]]))
    scores = lamp().score(module, {})
    assert scores["0.weight"][0].tolist() == pytest.approx([1 / 9, 1 / 2, 1])
    assert scores["1.weight"][:, 0].tolist() == pytest.approx([1 / 10, 1])
    assert zeros(global_masks(scores, 0.4)) == [1, 1]  # magnitude would take both from the first


def test_lamp_within_a_tensor_loses_the_least_energy() -> None:
    """Within one tensor the lowest LAMP scores are the smallest weights, the optimum for the squared change."""
    weights = torch.randn(1, 7, generator=torch.Generator().manual_seed(3))
    mask = global_masks(lamp().score(linear(weights.tolist()), {}), 3 / 7)["weight"]
    lost = float((weights[~mask] ** 2).sum())
    assert all(float((weights[0, list(chosen)] ** 2).sum()) >= lost - 1e-12 for chosen in combinations(range(7), 3))


def test_lamp_of_a_dead_layer_is_zero_and_finite() -> None:
    assert lamp().score(linear([[0.0, 0.0]]), {})["weight"].tolist() == [[0.0, 0.0]]


def test_taylor_is_exact_where_the_loss_is_linear_in_the_weights() -> None:
    """For the loss sum(W x), zeroing a weight changes it by exactly w x, whatever else is there."""
    layer, x = linear([[2.0, -1.0, 0.5]]), torch.tensor([1.0, 10.0, 4.0])
    scores = taylor_weights().score(layer, {"weight": x[None]})["weight"][0]
    whole = float(layer(x).detach().sum())
    for position in range(3):
        gone = layer.weight.detach().clone()
        gone[0, position] = 0
        assert float(scores[position]) == pytest.approx(abs(whole - float((gone @ x).sum())))


def test_taylor_without_gradients_says_so() -> None:
    with pytest.raises(InputError, match="taylor_weights scores from gradients, and none were given"):
        compress(net(), taylor_weights(), sparsity=0.5)
    with pytest.raises(InputError, match=r"expected a gradient of shape \(32, 1, 3, 3\) for 'features.0.weight'"):
        compress(net(), taylor_weights(), sparsity=0.5, evidence={"features.0.weight": torch.ones(2)})


def test_two_four_by_hand_and_better_than_any_other_pattern() -> None:
    row = torch.tensor([[1.0, -5.0, 2.0, 3.0, 0.1, 0.4, -0.3, 0.2]])
    scores = two_four().score(linear(row.tolist()), {})
    mask = allocate(scores, 0.5, two_four().allocation or "global")["weight"]
    assert mask[0].int().tolist() == [0, 1, 0, 1, 0, 1, 1, 0]
    for first, second in ((a, b) for a in combinations(range(4), 2) for b in combinations(range(4, 8), 2)):
        assert float(row[0, [*first, *second]].abs().sum()) <= float(row.abs()[mask].sum()) + 1e-6


def test_two_four_of_a_convolution_runs_along_its_input_channels() -> None:
    variant, achieved = compress(net(), two_four(), sparsity=0.5)
    alive = variant.weights["features.4.weight"] != 0  # (64, 32, 3, 3)
    assert bool((alive.unflatten(1, (8, 4)).sum(dim=2) == 2).all())
    # One input channel is an incomplete group, filled up with three zeros: its weight is among the largest two.
    assert achieved.layers["features.0.weight"] == 0.0
    with pytest.raises(InputError, match=r"two_four cuts to a sparsity of 0.5 and no other, got 0.8"):
        compress(net(), two_four(), sparsity=0.8)
    with pytest.raises(InputError, match="rule of its own; leave out allocate"):
        compress(net(), two_four(), sparsity=0.5, allocate="global")


def test_n_m_keeps_exactly_n_also_among_equals_and_in_a_short_last_group() -> None:
    scheme = n_m(n=1, m=3)
    masks = allocate({"w": torch.ones(2, 7)}, 2 / 3, scheme.allocation or "global")
    assert masks["w"].int().tolist() == [[1, 0, 0, 1, 0, 0, 1]] * 2
    assert scheme.only == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="expected n below m"):
        n_m(n=4, m=4)


def test_redundant_drops_the_copy_and_keeps_the_original() -> None:
    module = nn.Sequential(linear([[3.0, 0.0], [0.0, 1.0], [3.0, 0.1]]), linear([[1.0, 1.0, 1.0]]))
    scores = redundant().score(module, {})
    masks = global_masks({"0.weight": scores["0.weight"]}, 1 / 3)
    assert masks["0.weight"].tolist() == [[False, False], [True, True], [True, True]]


def test_no_two_filters_kept_from_a_threshold_on_are_nearer_than_it() -> None:
    """The rule itself, for every threshold."""
    rows = torch.randn(9, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scores = redundant().score(nn.Sequential(linear(rows.tolist()), linear([[1.0] * 9])), {})["0.weight"][:, 0]
    unit = float(rows.norm(dim=1).mean())
    distances = torch.cdist(rows, rows) / unit
    for threshold in scores.tolist():
        kept = torch.nonzero(scores >= threshold).squeeze(1).tolist()
        assert all(float(distances[a, b]) >= threshold - 1e-4 for a, b in combinations(kept, 2))


def test_redundant_compares_inputs_where_rows_are_classes() -> None:
    """Two classes whose rows are alike stay; two inputs that are alike do not."""
    last = linear([[1.0, 1.0, 5.0], [1.0, 1.0, 5.0]])
    scores = redundant().score(nn.Sequential(linear([[1.0], [2.0], [3.0]]), last), {})["1.weight"]
    assert bool((scores[:, 2] > scores[:, 0]).all())
    assert float(torch.minimum(scores[:, 0], scores[:, 1]).max()) < 1e-6
    assert torch.allclose(scores[0], scores[1], atol=1e-6)


def test_funnel_by_hand() -> None:
    """Global zeros are 3 of 4, 1 of 4, 2 of 4: the first two layers violate and share 4 of 8."""
    scores = {
        "a": torch.tensor([1.0, 2.0, 3.0, 20.0]),
        "b": torch.tensor([4.0, 21.0, 22.0, 23.0]),
        "c": torch.tensor([5.0, 6.0, 24.0, 25.0]),
    }
    assert zeros(global_masks(scores, 0.5)) == [3, 1, 2]
    masks = funnel_masks(scores, 0.5)
    assert zeros(masks) == [2, 2, 2]
    assert masks["a"].tolist() == [False, False, True, True]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=30), min_size=1, max_size=6), st.floats(0, 0.99))
def test_funnel_shares_never_fall_and_the_total_is_near(drawn: list[list[int]], ratio: float) -> None:
    scores = {f"w{i}": torch.tensor(part, dtype=torch.float32) for i, part in enumerate(drawn)}
    counts, sizes = zeros(funnel_masks(scores, ratio)), [len(part) for part in drawn]
    shares = list(zip(counts, sizes, strict=True))
    assert all(one[0] * other[1] <= other[0] * one[1] for one, other in pairwise(shares))
    assert abs(sum(counts) - round(ratio * sum(sizes))) <= sum(1 for _ in sizes) * max(sizes) / min(sizes)


def test_erk_by_hand() -> None:
    """Sides 4 + 4 and 8 + 8 keep 1 to 2; of 40 weights at 40 / 80: 13.33 and 26.67, of 16 and 64."""
    scores = {"a": torch.rand(4, 4), "b": torch.rand(8, 8)}
    assert zeros(erk_masks(scores, 0.5)) == [16 - 13, 64 - 27]
    # At 20% the small one would keep more than it has: it is kept whole.
    assert zeros(erk_masks(scores, 0.2)) == [0, 16]


def test_allocation_by_sensitivity_by_hand() -> None:
    """One layer loses 0.1 at 0.8, the other at 0.4: equal drops leave twice the sparsity in the first."""
    curves = {"a": [(0.8, 0.1)], "b": [(0.4, 0.1)]}
    scores = {"a": torch.rand(100), "b": torch.rand(100)}
    assert zeros(allocate(scores, 0.6, by_sensitivity(curves))) == [80, 40]
    assert zeros(allocate(scores, 0.3, by_sensitivity(curves))) == [40, 20]
    with pytest.raises(InputError, match="expected a sensitivity curve for 'b'"):
        allocate(scores, 0.5, by_sensitivity({"a": [(0.5, 0.0)]}))


def test_a_gain_counts_as_nothing_and_no_layer_is_emptied() -> None:
    curves = {"a": [(0.5, -0.02), (0.9, -0.01)], "b": [(0.5, 0.3), (0.9, 0.2)]}
    scores = {"a": torch.rand(1000), "b": torch.rand(1000)}
    kept = zeros(allocate(scores, 0.45, by_sensitivity(curves)))
    assert sum(kept) == pytest.approx(900, abs=2)
    assert kept[0] > 890
    assert max(zeros(allocate(scores, 0.99, by_sensitivity(curves)))) < 1000


def test_a_histogram_counts_what_is_alive_symmetrically() -> None:
    module = nn.Sequential(linear([[-2.0, 0.0, 0.1]]), linear([[2.0], [1.9]]))
    middles, counts = weight_histogram(module, bins=5, tail=0.0)
    assert middles.tolist() == pytest.approx([-1.6, -0.8, 0.0, 0.8, 1.6])
    assert counts.tolist() == [1, 0, 1, 0, 2]
    assert weight_histogram(linear([[0.0]]))[1].sum() == 0
