"""Checks name every way to hide a gradient, and accuse no honest model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bantamweight.attacks._core import run
from bantamweight.attacks.checks import Check, _core, examine, random_draws
from bantamweight.attacks.fgsm import fgsm
from bantamweight.oracle import oracle
from bantamweight.parts import names
from bantamweight.threats import l0, linf
from tests.attacks.masked import masks
from tests.attacks.nets import Convolutional, images_in_box, linear

THREAT = linf(eps=0.1)
NAMED = {
    "quantizer": ("gradient", "unavailable gradients"),
    "scaled": ("scale", "saturated logits"),
    "softmax": ("logits", "softmax output"),
    "random layer": ("deterministic", "randomised output"),
    "random resize": ("deterministic", "randomised output"),
    "preprocessing": ("gradient", "unavailable gradients"),
    "saturated": ("slope", "a layer saturates"),
    "stopped": ("slope", "a branch stops them"),
}
ROWS = 10


@pytest.fixture
def cheap(monkeypatch):
    """Fewer draws and queries: what is tested is the naming, not the power."""
    monkeypatch.setattr(random_draws, "DRAWS", 2000)
    monkeypatch.setitem(_core.SCORES, "queries", 150)
    monkeypatch.setattr(_core, "PROBE", ROWS)


def failures(found: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in found if check.state == "fail"}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("mask", NAMED)
def test_every_mask_is_named(digits64, mask):
    images, labels, nets = digits64
    model = nets["saturated"] if mask == "saturated" else masks(nets["plain"], 64)[mask]
    name, said = NAMED[mask]
    assert said in failures(examine(oracle(model), images, labels, THREAT, level="full"))[name]
    assert said in failures(examine(oracle(model), images, labels, THREAT))[name], "the probe alone suffices"


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("net", ["plain", "robust"])
def test_honest_nets_are_not_accused(digits64, net):
    images, labels, nets = digits64
    asked = oracle(nets[net])
    verdicts = run(_attack(), asked, images, labels, THREAT)
    found = examine(asked, images, labels, THREAT, verdicts, level="full")
    assert failures(found) == {}
    assert [check.name for check in found if check.state == "did not run"] == ["transfer"]
    assert {check.name for check in found} == set(names("checks"))
    assert all(check.detail and "\n" not in check.detail for check in found)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("net", "eps"), [("resnet20", 8 / 255), ("resnet2b", 2 / 255)])
def test_honest_shared_models_are_not_accused(cifar512, shared, net, eps):
    from bantamweight.loading import load_model
    from bantamweight.variants import build

    path = shared / "models" / f"{net}.safetensors"
    model = build(load_model(net, weights=path) if path.exists() else load_model(path.with_suffix(".pt2")))
    images, labels = (tensor[:ROWS] for tensor in cifar512)
    assert failures(examine(oracle(model), images, labels, linf(eps=eps), level="full")) == {}


def _attack():
    from bantamweight.attacks.apgd import apgd

    return apgd(THREAT, steps=50)


def test_the_probe_is_cheap_and_leaves_everything_as_it_was(digits64):
    images, labels, nets = digits64
    model = masks(nets["plain"], 64)["random layer"].train()
    asked, loose = oracle(nets["plain"]), oracle(model)
    state, kept = torch.get_rng_state(), images.clone()
    asked.judge(images)
    asked.fit(images, 32)  # a run has looked up its tiles before any check
    before = asked.ledger.forwards + asked.ledger.judged
    found = examine(asked, images, labels, THREAT)
    assert asked.ledger.forwards + asked.ledger.judged - before <= 32 * 5
    assert asked.ledger.backwards <= 32
    assert {check.state for check in found} == {"pass", "did not run"}
    examine(loose, images, labels, THREAT)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(images, kept)


def test_what_is_found_does_not_depend_on_the_order_of_the_images(digits64):
    images, labels, nets = digits64
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    model = masks(nets["plain"], 64)["stopped"]
    one = examine(oracle(model), images, labels, THREAT)
    other = examine(oracle(model), images[order], labels[order], THREAT)
    assert one == other


def test_without_gradients_or_right_answers_checks_say_why_they_did_not_run(digits64):
    images, labels, nets = digits64
    asked = examine(oracle(nets["plain"], access="score"), images, labels, THREAT)
    said = {check.name: check.detail for check in asked if check.state == "did not run"}
    assert said["gradient"] == "it needs more than score access"
    wrong = examine(oracle(nets["plain"]), images[:4], (nets["plain"](images[:4]).argmax(dim=1) + 1) % 10, THREAT)
    assert {check.state for check in wrong} == {"did not run"}


@pytest.mark.usefixtures("cheap")
def test_a_norm_without_these_attacks_is_no_failure(digits64):
    images, labels, nets = digits64
    found = examine(oracle(nets["plain"]), images[:4], labels[:4], l0(eps=3), level="full")
    said = {check.name: (check.state, check.detail) for check in found}
    assert said["score_only"][0] == "did not run"
    assert "l0" in said["score_only"][1]


class _Ones(torch.autograd.Function):
    @staticmethod
    def forward(_, images, net):
        return net(images)

    @staticmethod
    def backward(_, grad):
        return torch.ones(len(grad), 3, 8, 8), None


class _MadeUp(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return _Ones.apply(images, self.net)


class _Optimiser(nn.Module):
    """Moves its input before it answers."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        with torch.enable_grad():
            moved = images.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.net(moved).logsumexp(dim=1).sum(), moved)
        return self.net(images - 0.001 * slope)


class _Root(nn.Module):
    """The root of zero has no finite slope."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, images):
        return self.net(images) + torch.sqrt(images - images)[:, 0, 0, :1]


@pytest.mark.parametrize(
    ("wrap", "name", "said"),
    [
        (_MadeUp, "constant_gradient", "constant gradient"),
        (_Optimiser, "autograd_inside", "dynamic model"),
        (_Root, "gradient", "NaN or infinite"),
        (lambda net: nn.Sequential(net, nn.Softmax(dim=1), nn.LeakyReLU(), _Times(1000.0)), "logits", "times 1000"),
    ],
)
def test_rarer_masks(wrap, name, said):
    net, images = Convolutional().eval(), images_in_box(16)
    labels = net(images).argmax(dim=1)
    asked = oracle(wrap(net), fold=False)
    assert said in failures(examine(asked, images, labels, THREAT))[name]


class _Times(nn.Module):
    def __init__(self, times):
        super().__init__()
        self.times = times

    def forward(self, values):
        return self.times * values


def test_a_linear_model_has_few_classes_and_an_honest_gradient():
    model, images = linear(pixels=48), images_in_box(16, (3, 4, 4))
    labels = model(images).argmax(dim=1)
    found = examine(oracle(model, fold=False), images, labels, linf(eps=0.01))
    assert failures(found) == {}
    said = next(check for check in found if check.name == "few_classes")
    assert said.figure == 2
    assert "too few for DLR" in said.detail


@pytest.mark.usefixtures("cheap")
def test_a_weak_run_is_found_out(digits64):
    images, labels, nets = digits64
    threat = linf(eps=0.2)
    asked = oracle(nets["plain"])
    verdicts = run(fgsm(linf(eps=0.01)), asked, images, labels, linf(eps=0.01))
    found = failures(examine(asked, images, labels, threat, verdicts, level="full"))
    assert {"doubling", "square_gain"} <= set(found)
    verdicts.images[:] = 1.5 * verdicts.images
    assert "outside" in failures(examine(asked, images, labels, threat, verdicts))["stored"]


@pytest.mark.usefixtures("cheap")
def test_a_proposer_far_from_the_judge_is_found_out(digits64):
    images, labels, nets = digits64
    stranger = masks(nets["plain"], 64)["stopped"]
    found = examine(oracle(nets["robust"], surrogate=stranger.net), images, labels, THREAT, level="full")
    assert "transfer_failure" in failures(found)
