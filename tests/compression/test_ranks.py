"""Layers written as two: exact at full rank, nearest at every other, and replayed from the edit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bantamweight import variants
from bantamweight.compression import compress, compress_ranks
from bantamweight.compression._ranks import factored
from bantamweight.compression.low_rank import low_rank
from bantamweight.compression.magnitude import magnitude
from bantamweight.errors import InputError
from bantamweight.models._factor import factor, full_rank
from bantamweight.models._profile import profile
from bantamweight.models.resnet20 import resnet20
from bantamweight.models.simple_cnn import simple_cnn
from bantamweight.variants import Variant

SMALL = {"channels": 1, "classes": 4, "size": 8}


def net(factory: Any = simple_cnn) -> Variant:
    torch.manual_seed(0)
    module = factory(**SMALL)
    preprocessing = {"channels": 1, "size": [8, 8]}
    return Variant("net", factory.__name__, SMALL, module.state_dict(), tuple("abcd"), preprocessing)


def images() -> Tensor:
    return torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_at_full_rank_answers_are_the_same() -> None:
    dense = net()
    module = variants.build(dense)
    ranks = {name: full_rank(layer) for name, layer in module.named_modules() if full_rank(layer)}
    same = factored(dense, {name: rank for name, rank in ranks.items() if rank}, low_rank(), name="same")
    assert {name for name in same.weights if name.startswith("features.0")} == {
        "features.0.0.weight",
        "features.0.1.weight",
        "features.0.1.bias",
    }
    assert torch.allclose(variants.build(same)(images()), module(images()), atol=1e-4)


def test_the_product_is_the_nearest_of_its_rank() -> None:
    """Eckart and Young: the squared distance is the sum of the squared values left out."""
    dense = net()
    two = variants.build(factored(dense, {"features.4": 3}, low_rank(), name="cut")).get_submodule("features.4")
    assert isinstance(two, nn.Sequential)
    weight = dense.weights["features.4.weight"].flatten(1)
    product = two[1].weight.flatten(1) @ two[0].weight.flatten(1)
    tail = torch.linalg.svdvals(weight)[3:]
    assert float(((product - weight) ** 2).sum()) == pytest.approx(float((tail**2).sum()), rel=1e-4)


def test_counts_of_a_factored_layer_by_hand() -> None:
    """16 to 32 channels by 3 x 3 on 5 x 5 outputs, rank 4: (144 + 32) x 4 weights, each used 25 times."""
    holder = nn.Sequential(nn.Conv2d(16, 32, 3, bias=False))
    factor(holder, {"0": 4})
    counted = profile(holder, (16, 7, 7))
    assert counted.parameters == (144 + 32) * 4
    assert counted.macs == (144 + 32) * 4 * 25


@pytest.mark.parametrize("kind", ["macs", "parameters", "size_bytes"])
def test_the_largest_point_within_the_budget_is_taken(kind: str) -> None:
    dense = net()
    whole = profile(variants.build(dense), (1, 8, 8))
    budget = 0.5 if kind != "size_bytes" else whole.size_bytes / 2
    cut, achieved = compress_ranks(dense, low_rank(), target={kind: budget})
    assert achieved.reached <= budget
    assert achieved.above is not None
    assert achieved.above > budget
    assert achieved.below is None or achieved.below < achieved.reached
    counted = profile(variants.build(cut), (1, 8, 8))
    assert (achieved.macs, achieved.parameters, achieved.size_bytes) == (
        counted.macs,
        counted.parameters,
        counted.size_bytes,
    )
    assert achieved.dense_macs == whole.macs


def test_macs_never_rise_as_less_is_asked() -> None:
    dense = net()
    counts = [compress_ranks(dense, low_rank(), target={"macs": share})[1].macs for share in (1.0, 0.8, 0.5, 0.2, 0.1)]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] <= profile(variants.build(dense), (1, 8, 8)).macs


def test_it_is_replayed_from_its_edit_also_inside_residual_blocks(tmp_path: Path) -> None:
    cut, achieved = compress_ranks(net(resnet20), low_rank(), target={"macs": 0.4})
    assert len(achieved.ranks) > 10
    variants.save(cut, tmp_path / "cut")
    again = variants.load(tmp_path / "cut")
    assert torch.equal(variants.build(again)(images()), variants.build(cut)(images()))
    assert cut.edits[-1]["edit"] == "low_rank"


def test_what_can_t_be_factored_is_said() -> None:
    dense = net()
    with pytest.raises(InputError, match=r"smallest that low rank reaches is 0\.0"):
        compress_ranks(dense, low_rank(), target={"macs": 1e-6})
    with pytest.raises(InputError, match="no target for low rank; did you mean 'macs'"):
        compress_ranks(dense, low_rank(), target={"mac": 0.5})
    with pytest.raises(InputError, match="pass latency="):
        compress_ranks(dense, low_rank(), target={"latency_ms": 1.0})
    masked, _ = compress(dense, magnitude(), sparsity=0.5)
    with pytest.raises(InputError, match="factor its parent"):
        compress_ranks(masked, low_rank(), target={"macs": 0.5})


@pytest.mark.parametrize("ranks", [{"features.0": 0}, {"features.0": 10}, {"features.0": 2.0}, {"": 1}, {"no": 1}, []])
def test_a_strange_edit_is_refused(ranks: Any) -> None:
    strange = Variant("net", "simple_cnn", SMALL, net().weights, edits=({"edit": "low_rank", "ranks": ranks},))
    with pytest.raises(InputError, match="save the variant again"):
        variants.build(strange)
