"""Rounding in the forward pass is what a person works out, its gradient is straight through, and training it helps."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from bantamweight.data import Data, load
from bantamweight.errors import InputError
from bantamweight.training import fresh, train
from bantamweight.training._values import Step
from bantamweight.training.objectives.quantized import Integers, quantized
from bantamweight.variants import Variant, build, masks


def step() -> Step:
    return Step(1, 0, 10, 0, torch.arange(1))


def test_a_product_by_hand() -> None:
    weight = torch.tensor([[1.27, 0.004, -0.006], [0.0, 0.0, 0.0]], requires_grad=True)
    images = torch.tensor([[2.55, 0.014, 0.016]], requires_grad=True)
    with Integers(8, 8):
        found = functional.linear(images, weight)
    # Steps of 0.01 in both: 255, 1 and 2 levels against 127, 0 and -1.
    assert found[0].tolist() == pytest.approx([2.55 * 1.27 - 0.02 * 0.01, 0.0], rel=1e-5)
    found[0, 0].backward()
    torch.testing.assert_close(weight.grad, torch.tensor([[2.55, 0.01, 0.02], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(images.grad, torch.tensor([[1.27, 0.0, -0.01]]))


def test_negative_inputs_have_a_zero_of_their_own() -> None:
    images = torch.tensor([[-1.0, 0.0, 2.0]])
    with Integers(8, 2):
        found = functional.linear(images, torch.eye(3))
    assert found[0].tolist() == pytest.approx([-1.0, 0.0, 2.0])
    with Integers(8, 2):
        assert functional.linear(torch.tensor([[0.0, 0.6, 3.0]]), torch.eye(3))[0].tolist() == [0.0, 1.0, 3.0]


def test_convolutions_too_and_nothing_outside() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    images = torch.rand(2, 1, 8, 8)
    plain = net(images)
    with Integers(4, 8):
        rough = net(images)
    with Integers(8, 8):
        fine = net(images)
    assert torch.equal(net(images), plain)
    assert 0 < (fine - plain).abs().max() < (rough - plain).abs().max()


def test_the_objective_leaves_the_net_and_its_zeros_alone() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 3)
    with torch.no_grad():
        net.weight[0, 0] = 0.0
    before = net.weight.detach().clone()
    objective = quantized(0.0, objective="standard", weight_bits=4)
    loss = objective(net, torch.rand(5, 4), torch.tensor([0, 1, 2, 0, 1]), step())
    loss.value.backward()
    assert torch.equal(net.weight, before)
    assert net.weight.grad is not None
    with torch.no_grad(), Integers(4, 8):
        image = torch.zeros(1, 4)
        image[0, 0] = 1.0
        assert float(net(image)[0, 0]) == pytest.approx(float(net.bias[0]))


def test_an_objective_with_a_teacher_is_refused() -> None:
    with pytest.raises(InputError, match="without a teacher, got 'distill'"):
        quantized(0.0, objective="distill")


@pytest.fixture(scope="module")
def trained() -> tuple[Variant, Data]:
    """A net that reads digits."""
    data = load("digits")
    made = train(fresh("small_cnn", data), data, epochs=5, precision="fp32").variant
    assert made is not None
    return made, data


def right(variant: Variant, data: Data, bits: int) -> int:
    shown = data.splits["val"]
    with torch.no_grad(), Integers(bits, 8):
        return int((build(variant)(shown.floats()).argmax(dim=1) == shown.labels).sum())


def test_training_wins_back_what_coarse_weights_lose(trained: tuple[Variant, Data]) -> None:
    variant, data = trained
    few = Data("few", {"train": data.splits["train"]}, data.classes, data.preprocessing)
    objective = {"use": "quantized", "weight_bits": 2}
    tuned = train(variant, few, epochs=2, rate=1e-3, objective=objective, precision="fp32").variant
    assert tuned is not None
    assert right(tuned, data, 2) > right(variant, data, 2) + 0.05 * len(data.splits["val"])


def test_pruned_and_quantized_together(trained: tuple[Variant, Data]) -> None:
    from bantamweight.compression import compress, rounded
    from bantamweight.compression.magnitude import magnitude

    variant, data = trained
    few = Data("few", {"train": data.splits["train"].take(slice(0, 256))}, data.classes, data.preprocessing)
    cut, _ = compress(variant, magnitude(), sparsity=0.5)
    tuned = train(cut, few, epochs=1, rate=1e-4, objective="quantized").variant
    assert tuned is not None
    dead = {name: ~alive for name, alive in masks(cut).items()}
    assert all((tuned.weights[name][where] == 0).all() for name, where in dead.items())
    assert all((rounded(tuned).weights[name][where] == 0).all() for name, where in dead.items())


def test_an_objective_that_replays_its_batches_or_can_be_probed_still_is_one_when_rounded(digits: Data) -> None:
    start = fresh({"use": "mlp"}, digits, seed=0)
    free = {"use": "quantized", "objective": {"use": "free", "threat": "linf 0.1", "replays": 3}}
    given = {"epochs": 1, "batch": 64, "precision": "fp32"}
    trained = train(start, digits, **given, objective=free, monitor="robust_accuracy")
    assert "robust_accuracy" in trained.history[-1].measures
    once = train(start, digits, **given, objective={**free, "objective": {**free["objective"], "replays": 1}})
    name = next(name for name in trained.last if name.endswith("weight"))
    assert not torch.equal(once.last[name], trained.last[name])
