"""No honest model is accused by the full checks: linear, convolutional, trained plainly, trained against attack."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._cascade import fall
from bantamweight.attacks.checks import Check, _core, examine, random_draws
from bantamweight.attacks.checks._core import Evidence, outdone
from bantamweight.oracle import oracle
from bantamweight.parts import configure
from bantamweight.recipes.robustness import robustness
from bantamweight.threats import l0
from tests.attacks.nets import Convolutional, images_in_box, linear

THREATS = {
    "conv": ["linf 4/255", "l2 0.5", "l1 1", "l1 2", "l0 1", "l0 3"],
    "plain": ["linf 0.1", "l2 0.5", "l1 2", "l0 3"],
    "robust": ["linf 0.1", "l2 0.5", "l1 0.5", "l1 2", "l0 1", "l0 3"],
    "linear": ["linf 4/255", "l2 0.5", "l1 0.5", "l1 1", "l0 1", "l0 8"],
    "five classes": ["linf 1/255", "l1 1", "l0 3"],
}
ROWS = 36
"""Some more than the checks look at."""


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    """Fewer draws and queries; the probe is whole, since small ones hide accusations."""
    monkeypatch.setattr(random_draws, "DRAWS", 1000)
    monkeypatch.setitem(_core.SCORES, "queries", 100)


@pytest.fixture(scope="module")
def honest(digits64):
    images, labels, nets = digits64
    images, labels = images[:ROWS], labels[:ROWS]
    conv, shape = Convolutional().eval().requires_grad_(False), (3, 9, 9)
    found = {name: (nets[name], images, labels) for name in ("plain", "robust")}
    made = {
        "conv": (conv, shape),
        "linear": (linear(2, 48), (3, 4, 4)),
        "five classes": (linear(5, 243), shape),
        "wide": (linear(2, 3 * 48 * 48), (3, 48, 48)),
    }
    # A hundred times as many weights would saturate cross-entropy.
    made["wide"][0].layer.weight.mul_(0.1)
    for name, (net, size) in made.items():
        given = images_in_box(ROWS, size)
        found[name] = net, given, net(given).argmax(dim=1)
    return found


def failures(found: list[Check]) -> dict[str, str]:
    return {check.name: check.detail for check in found if check.state == "fail"}


def checked(model, images, labels, text, targets=None) -> list[Check]:
    threat, asked = configure("threats", text).make(), oracle(model)
    if targets is not None:
        targets = (
            asked.judge(images).argmin(dim=1) if targets == "least likely" else asked.judge(images).topk(2)[1][:, 1]
        )
    plan = configure("protocols", "fast").make(threat)
    verdicts, _ = fall(plan, asked, images, labels, threat, targets=targets)
    return examine(asked, images, labels, threat, verdicts, level="full")


@pytest.mark.parametrize(("name", "text"), [(name, text) for name in THREATS for text in THREATS[name]])
def test_honest_models_are_accused_in_no_norm(honest, name, text):
    model, images, labels = honest[name]
    found = checked(model, images, labels, text)
    assert failures(found) == {}
    absent = {check.name for check in found if check.state == "did not run"}
    assert absent == {"transfer", *(("score_only", "square_gain") if text.startswith("l0") else ())}


def test_a_walk_without_a_budget_moves_every_pixel_of_a_large_image_in_l0(honest):
    net, images, labels = honest["wide"]
    found = {check.name: check for check in examine(oracle(net), images, labels, l0(eps=5), level="full")}
    assert (found["unbounded"].state, found["unbounded"].figure) == ("pass", 1.0)
    assert failures(list(found.values())) == {}


@pytest.mark.parametrize("targets", ["least likely", "second"])
@pytest.mark.parametrize("text", ["linf 4/255", "l1 1", "l0 3"])
@pytest.mark.parametrize("name", ["conv", "robust"])
def test_a_targeted_run_is_compared_with_targeted_attacks(honest, name, text, targets):
    assert failures(checked(*honest[name], text, targets)) == {}


def test_a_run_towards_every_class_is_compared_with_untargeted_attacks(honest):
    net, images, labels = honest["conv"]
    found = robustness(net, images, labels, "linf 2/255", targets="all", checks="full", escalate=False)
    assert failures(list(found.checks)) == {}


def test_starts_are_handed_on_to_the_check_of_transfer(honest):
    net, images, labels = honest["plain"]
    theirs = robustness(honest["robust"][0], images, labels, "linf 0.1", checks="none").images
    given = (theirs * 255).round().to(torch.uint8)  # pictures as they are stored
    whole = (images * 255).round().to(torch.uint8)
    found = robustness(net, whole, labels, "linf 0.1", checks="full", starts=given, escalate=False)
    transfer = next(check for check in found.checks if check.name == "transfer")
    assert transfer.state == "pass"
    assert "another variant's images break" in transfer.detail
    alone = robustness(net, whole, labels, "linf 0.1", checks="full", escalate=False)
    said = {check.name: check.detail for check in alone.checks if check.state == "did not run"}
    assert "did not start from any" in said["transfer"]


def test_without_a_run_its_own_checks_say_so(honest):
    net, images, labels = honest["conv"]
    found = examine(oracle(net), images[:8], labels[:8], l0(eps=3), level="full")
    said = {check.name: check.detail for check in found if check.state == "did not run"}
    assert set(said) == {"doubling", "random_draws", "score_only", "square_gain", "stored", "transfer"}
    assert all("no run" in said[name] for name in ("doubling", "random_draws", "square_gain", "stored"))
    assert "l0" in said["score_only"]


def test_an_unbounded_run_is_no_failure(honest):
    net, images, labels = honest["conv"]
    found = robustness(net, images, labels, "l2 inf", attack={"use": "fmn", "steps": 30}, checks="full")
    assert failures(list(found.checks)) == {}


@pytest.mark.parametrize(("lost", "gained", "said"), [(4, 0, False), (5, 0, True), (4, 2, False), (12, 3, True)])
def test_luck_is_told_from_being_outdone(honest, lost, gained, said):
    """The exact tails of a fair coin: 1/16 and 1/32 on one side; 22/64; 576/32768."""
    net, images, labels = honest["conv"]
    clean = net(images)
    evidence = Evidence(oracle(net), images, labels, l0(eps=1), None, clean, clean)
    strong, weak = evidence.attack("fgsm"), evidence.attack({"use": "pgd", "steps": 1})
    strong["success"][:], weak["success"][:] = False, False
    weak["success"][:lost] = True
    strong["success"][lost : lost + gained] = True
    assert outdone(strong, weak) == said
    assert not outdone(weak, strong)
