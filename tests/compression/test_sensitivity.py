"""One layer at a time, and the weights back as they were."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bantamweight.compression import Reading, prunable, sensitivity
from bantamweight.compression.magnitude import magnitude
from bantamweight.errors import InputError
from bantamweight.models.simple_cnn import simple_cnn


def zeros_by_layer(module: nn.Module) -> dict[str, int]:
    return {name: int((weight == 0).sum()) for name, weight in prunable(module).items()}


def test_each_row_sees_one_layer_thinned_and_the_rest_dense() -> None:
    module = simple_cnn(channels=1, classes=3, size=8).eval().requires_grad_(False)
    rows = sensitivity(module, magnitude(), zeros_by_layer, sparsities=(0.0, 0.5, 0.9))
    sizes = {name: weight.numel() for name, weight in prunable(module).items()}
    assert [(row.layer, row.sparsity) for row in rows] == [(n, s) for n in sizes for s in (0.0, 0.5, 0.9)]
    for row in rows:
        expected = round(row.sparsity * sizes[row.layer])
        assert row == Reading(row.layer, row.sparsity, expected, sizes[row.layer], row.result)
        assert row.result == {**dict.fromkeys(sizes, 0), row.layer: expected}


def test_a_layer_that_answers_by_one_weight_shows_it() -> None:
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    module[0].weight.data = torch.tensor([[1.0, 0.1], [0.1, 1.0]])
    module[1].weight.data = torch.tensor([[5.0, 0.01]])
    asked = torch.tensor([[1.0, 0.0]])
    rows = sensitivity(module, magnitude(), lambda net: float(net(asked).detach()), sparsities=[0.5])
    assert [round(row.result, 4) for row in rows] == [5.0, 5.0]
    rows = sensitivity(module, magnitude(), lambda net: float(net(asked).detach()), sparsities=[0.9], layers=["1"])
    assert [(row.result, row.zeros) for row in rows] == [(0.0, 2)]


@pytest.mark.parametrize("frozen", [True, False])
def test_weights_are_restored_to_the_bit_also_after_an_error(frozen: bool) -> None:
    module = simple_cnn(channels=1, classes=3, size=8).train().requires_grad_(not frozen)
    module.features[0].weight.data[0, 0, 0, 0] = -0.0
    before = {key: value.clone() for key, value in module.state_dict().items()}

    def fail(_: nn.Module) -> float:
        raise ZeroDivisionError

    sensitivity(module, magnitude(), zeros_by_layer)
    with pytest.raises(ZeroDivisionError):
        sensitivity(module, magnitude(), fail)
    for key, value in module.state_dict().items():
        assert torch.equal(value.reshape(-1).view(torch.uint8), before[key].reshape(-1).view(torch.uint8))
    assert module.training
    assert all(parameter.requires_grad is not frozen for parameter in module.parameters())


def test_bad_choices_are_refused_before_anything_is_judged() -> None:
    module = simple_cnn(channels=1, classes=3, size=8)
    calls: list[nn.Module] = []
    with pytest.raises(InputError, match="is no layer"):
        sensitivity(module, magnitude(), calls.append, layers=["fetures"])
    with pytest.raises(InputError, match=r"in \[0, 1\)"):
        sensitivity(module, magnitude(), calls.append, sparsities=[0.5, 1.0])
    assert calls == []
