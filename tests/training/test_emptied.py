"""Cuts during training that would leave nothing of a layer, and how much is kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bantamweight import variants
from bantamweight.compression import prunable
from bantamweight.parts import configure
from bantamweight.training import Span, fresh, train
from bantamweight.training._projection import laid
from tests.training.conftest import bits

SMALL = {"epochs": 4, "batch": 64, "rate": 3e-3, "precision": "fp32"}
ADMM = {"use": "admm", "updates": 6, "end": 0.6, "tolerance": 0.0}


def test_a_layer_that_would_lose_everything_keeps_its_best_weight():
    scores = {"a": torch.tensor([[0.1, 0.3], [0.2, 0.0]]), "b": torch.arange(4.0, 20.0)}
    masks, spared = laid(scores, 0.5, "global")
    assert spared == ("a",)
    assert masks["a"].tolist() == [[False, True], [False, False]]
    assert int(masks["b"].sum()) == 10
    assert laid(scores, 0.1, "global").spared == ()


@pytest.mark.parametrize(
    "pruning",
    [
        {**ADMM, "sparsity": 0.99},
        {**ADMM, "sparsity": 0.99, "scheme": "redundant", "allocate": "global"},
        {**ADMM, "sparsity": 0.999, "allocate": "per_layer"},
        {"use": "gradual", "sparsity": 0.99, "every": 3, "end": 0.6},
    ],
    ids=["admm", "admm redundant", "admm per layer", "gradual"],
)
def test_a_training_ends_with_a_weight_in_every_layer_and_says_which_were_spared(digits, tmp_path, pruning):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    with pytest.warns(UserWarning, match="would have left nothing of '.*, and one weight of each stayed"):
        trained = train(start, digits, tmp_path, **SMALL, compress=pruning)
    weights = prunable(variants.build(trained.variant))
    assert all(weight.any() for weight in weights.values())
    measures = [row.measures for row in trained.history if row.split == "train"]
    assert 1 <= measures[-1]["layers_spared"] <= len(weights)
    zeros = sum(int((weight == 0).sum()) for weight in weights.values())
    wanted = pruning["sparsity"] * sum(weight.numel() for weight in weights.values())
    assert wanted - 2 * len(weights) <= zeros <= wanted + len(weights)
    again = train(start, digits, tmp_path, **SMALL, compress=pruning)
    assert bits(again.last) == bits(trained.last)


def test_redundant_is_spread_per_layer_unless_told(digits):
    start = fresh({"use": "simple_cnn"}, digits, seed=0)
    asked = {**ADMM, "sparsity": 0.9, "scheme": "redundant"}
    trained = train(start, digits, **SMALL, compress=asked)
    assert all("layers_spared" not in row.measures for row in trained.history)
    for weight in prunable(variants.build(trained.variant)).values():
        assert int((weight == 0).sum()) == round(0.9 * weight.numel())
    told = train(start, digits, **SMALL, compress={**asked, "allocate": "per_layer"})
    assert bits(told.last) == bits(trained.last)


@pytest.mark.parametrize("name", ["admm", "gradual"])
@pytest.mark.parametrize("keep", [0.1, "1/10", 0.3])
def test_what_is_kept_can_be_said_in_place_of_what_goes(name, keep):
    share = 0.1 if isinstance(keep, str) else keep
    net = nn.Linear(40, 10)
    cuts = []
    for said in ({"keep": keep}, {"sparsity": 1 - share}):
        pruning = configure("pruning", {"use": name, **said, "end": 1.0}).make(Span(1, 40))
        masks = [pruning.after(net, step) for step in range(40)][-1]
        assert masks is not None
        cuts.append(masks["weight"])
    assert int(cuts[0].sum()) == round(share * 400)
    assert torch.equal(*cuts)
