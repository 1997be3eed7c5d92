"""Greedy against independent selection: filters that were large only where the input has gone."""

from __future__ import annotations

import pytest
import torch

from bantamweight import variants
from bantamweight.compression import compress_channels
from bantamweight.compression._greedy import compress_greedily
from bantamweight.compression.l1_channels import l1_channels
from bantamweight.compression.random_channels import random_channels
from bantamweight.compression.taylor import taylor
from bantamweight.errors import InputError
from bantamweight.models.resnet20 import resnet20
from bantamweight.variants import Variant
from tests.compression.nets import chain

FIRST = [[0.1], [2.0], [3.0], [0.2]]  # the first and the last go
SECOND = [[9.0, 0.1, 0.1, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.2, 0.3, 9.0], [0.0, 2.0, 2.0, 0.0]]


def net() -> Variant:
    torch.manual_seed(0)
    module = chain()
    module[0].weight.data = torch.tensor(FIRST)[:, :, None, None]
    module[2].weight.data = torch.tensor(SECOND)[:, :, None, None]
    shape = {"channels": 1, "size": [4, 4]}
    return Variant("net", "tests.compression.nets:chain", {}, module.state_dict(), tuple("abc"), shape)


def test_greedy_by_hand() -> None:
    """Sums are 9.2, 2, 9.5, 4: independent selection drops the second and the fourth filter. Without the kernels of
    the maps that went they are 0.2, 2, 0.5, 4, and the first and the third go."""
    both = {"target": {"ratio": 0.5}, "allocate": "local", "trust": True}
    independent, _ = compress_channels(net(), l1_channels(), **both)
    greedy, achieved = compress_greedily(net(), l1_channels(), ratio=0.5, trust=True)
    kept = [1, 2]
    for variant, rows in ((independent, [0, 2]), (greedy, [1, 3])):
        assert variant.weights["0.weight"].flatten().tolist() == [2.0, 3.0]
        expected = [[SECOND[row][column] for column in kept] for row in rows]
        assert variant.weights["2.weight"][:, :, 0, 0].tolist() == [pytest.approx(row) for row in expected]
    assert achieved.widths == {"0": (2, 4), "2": (2, 4)}
    assert (achieved.ratio, achieved.reached) == (0.5, 0.5)


def test_the_order_changes_nothing_where_scores_do_not_look_at_inputs() -> None:
    """Random scores depend on the seed and the group alone."""
    torch.manual_seed(0)
    small = {"channels": 1, "classes": 4, "size": 8}
    preprocessing = {"channels": 1, "size": [8, 8]}
    dense = Variant("net", "resnet20", small, resnet20(**small).state_dict(), tuple("abcd"), preprocessing)
    one, said = compress_channels(dense, random_channels(), target={"ratio": 0.5}, allocate="local")
    many, also = compress_greedily(dense, random_channels(), ratio=0.5)
    assert (also.macs, also.parameters) == (said.macs, said.parameters)
    assert also.widths == said.widths
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(variants.build(one)(x), variants.build(many)(x), atol=1e-5)


def test_evidence_would_be_stale() -> None:
    with pytest.raises(InputError, match="greedy selection scores weights anew"):
        compress_greedily(net(), taylor(), ratio=0.5, trust=True)
