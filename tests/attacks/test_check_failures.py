"""Each check of the full level fails on a model, or on an attack, that has just the fault that it looks for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from bantamweight.attacks._core import run
from bantamweight.attacks.apgd import apgd
from bantamweight.attacks.checks import Check, _core, examine, random_draws
from bantamweight.attacks.fgsm import fgsm
from bantamweight.oracle import oracle
from bantamweight.threats import l0, l1, l2, linf
from tests.attacks.masked import masks
from tests.attacks.nets import Convolutional, Linear, images_in_box

THREAT = linf(eps=0.1)
ROWS = 16


@pytest.fixture(autouse=True)
def _cheap(monkeypatch):
    """Fewer queries and images: what is tested is the reason, not the power."""
    monkeypatch.setattr(random_draws, "DRAWS", 2000)
    monkeypatch.setitem(_core.SCORES, "queries", 150)
    monkeypatch.setattr(_core, "PROBE", ROWS)


def found(*args, **kwargs) -> dict[str, Check]:
    return {check.name: check for check in examine(*args, level="full", **kwargs)}


@pytest.fixture
def conv():
    net, images = Convolutional().eval().requires_grad_(False), images_in_box(40, (3, 9, 9))
    return net, images, net(images).argmax(dim=1)


class _Near(nn.Module):
    """A net that answers the truth near images it knows, and farther off what it said there, from memory."""

    def __init__(self, net, images, radius):
        super().__init__()
        self.net, self.radius = net, radius
        self.register_buffer("images", images)

    def known(self, images):
        apart = (images.detach()[:, None] - self.images).abs().flatten(2).amax(dim=2).min(dim=1)
        return self.images[apart.indices], (apart.values <= self.radius)[:, None]

    def forward(self, images):
        home, near = self.known(images)
        return torch.where(near, self.net(images), self.net(home))


class _Shattered(_Near):
    """A net whose answers are true everywhere and whose gradients are true near images it knows only."""

    def forward(self, images):
        near = self.known(images)[1]
        return torch.where(near, self.net(images), self.net(images.detach()))


class _Waves(nn.Module):
    """A net under a ripple so short that a thousandth of the pixel range goes through all of it."""

    def __init__(self, net, height):
        super().__init__()
        self.net, self.height = net, height

    def forward(self, images):
        return self.net(images) + self.height * torch.sin(4000.0 * images.flatten(1)[:, :1]) * torch.eye(5)[0]


def test_one_step_fails_where_the_gradient_is_true_at_the_images_alone(conv):
    net, images, labels = conv
    said = found(oracle(_Shattered(net, images, 1e-3)), images, labels, THREAT)
    assert said["one_step"].state == "fail"
    assert "led astray" in said["one_step"].detail
    assert said["gradient"].state == "pass", "at the images themselves nothing is to be seen"


def test_rising_fails_where_a_model_forgets_what_is_far_from_its_data(conv):
    net, images, labels = conv
    said = found(oracle(_Near(net, images, 0.06)), images, labels, linf(eps=0.1))["rising"]
    assert said.state == "fail"
    assert said.figure > 5


def test_scores_alone_find_what_a_stopped_gradient_hides(digits64):
    images, labels, nets = digits64
    said = found(oracle(masks(nets["plain"], 64)["stopped"]), images, labels, linf(eps=0.2))["score_only"]
    assert said.state == "fail"
    assert "masked gradients" in said.detail


def test_unbounded_fails_where_there_is_no_gradient_in_every_norm(digits64):
    images, labels, nets = digits64
    asked = oracle(masks(nets["plain"], 64)["quantizer"])
    for threat in (THREAT, l2(eps=0.5), l1(eps=2.0), l0(eps=3)):
        said = found(asked, images, labels, threat)["unbounded"]
        assert (said.state, said.figure) == ("fail", 0.0), threat


def test_unstable_fails_on_a_ripple_and_not_on_the_net_beneath(conv):
    net, images, labels = conv
    rippled = _Waves(net, 20.0)
    said = found(oracle(rippled, fold=False), images, rippled(images).argmax(dim=1), THREAT)["unstable"]
    assert said.state == "fail"
    assert said.figure > 0.5
    assert found(oracle(net), images, labels, THREAT)["unstable"].state == "pass"


def test_incomplete_fails_on_a_walk_that_creeps(conv, monkeypatch):
    net, images, labels = conv
    monkeypatch.setattr(_core, "WHITE", {"use": "pgd", "steps": _core.STEPS, "rate": 1e-5, "start": "clean"})
    said = found(oracle(net), images, labels, linf(eps=0.01))["incomplete"]
    assert (said.state, said.figure) == ("fail", 1.0)


def test_incomplete_is_not_blind_in_a_ball_that_shrinks(conv):
    net, images, labels = conv
    threat, clean = l1(eps=1.0), net(images)
    evidence = _core.Evidence(oracle(net), images, labels, threat, None, clean, clean)
    tape = evidence.tape()
    inside = torch.isfinite(tape.losses)
    assert not inside[: len(inside) // 2].all(), "the walk begins in a ball three times as large"
    assert inside[-10:].all()
    assert (threat.norm.size(tape.closest - images) <= 1.0 + 1e-6).all()


def test_silent_success_fails_on_a_loop_that_returns_the_last_point(conv, monkeypatch):
    """Which is the image itself: the walk went out and came back, and what it crossed is not what it returned."""
    net, images, labels = conv

    def last(attack, *args, **kwargs):
        verdicts = run(attack, *args, **kwargs)
        nothing = {**verdicts.columns, "success": verdicts["success"] & False}
        return replace(verdicts, columns=nothing, images=images.clone())

    monkeypatch.setattr(_core, "run", last)
    said = found(oracle(net), images, labels, THREAT)["silent_success"]
    assert said.state == "fail"
    assert said.figure > ROWS / 2


def test_random_draws_fail_on_a_run_that_trusted_a_dead_gradient(digits64):
    images, labels, nets = digits64
    asked, threat = oracle(masks(nets["plain"], 64)["quantizer"]), linf(eps=0.3)
    verdicts = run(fgsm(threat), asked, images, labels, threat)
    assert not verdicts["success"].any()
    said = found(asked, images, labels, threat, verdicts)["random_draws"]
    assert said.state == "fail"
    assert said.figure > 0


def test_transfer_fails_where_another_net_s_images_break_more_than_the_gradient(digits64):
    images, labels, nets = digits64
    theirs = run(apgd(THREAT, steps=20), oracle(nets["plain"]), images, labels, THREAT, until="budget").images
    masked = oracle(masks(nets["plain"], 64)["stopped"])
    said = found(masked, images, labels, THREAT, starts=theirs)["transfer"]
    assert said.state == "fail"
    assert "masked gradients" in said.detail
    honest = found(oracle(nets["plain"]), images, labels, THREAT, starts=theirs)["transfer"]
    assert (honest.state, honest.figure) == ("pass", 0.0)


def test_doubling_and_square_fail_on_a_targeted_run_that_was_too_weak(conv):
    net, images, labels = conv
    targets, threat = net(images).argsort(dim=1)[:, -2], linf(eps=0.1)
    asked = oracle(net)
    verdicts = run(fgsm(linf(eps=0.005)), asked, images, labels, linf(eps=0.005), targets=targets)
    said = found(asked, images, labels, threat, verdicts)
    assert said["doubling"].state == "fail"
    assert said["square_gain"].state == "fail"


class _Senseless(nn.Module):
    """A net that answers `value` for its first class on bright images."""

    def __init__(self, net, value):
        super().__init__()
        self.net, self.value = net, value

    def forward(self, images):
        bright = images.mean(dim=(1, 2, 3)) > 0.5
        return torch.where(bright[:, None] & (torch.arange(5) == 0), self.value, self.net(images))


@pytest.mark.parametrize(
    ("value", "names"), [(torch.nan, ("logits", "scale")), (torch.inf, ("logits", "deterministic"))]
)
def test_outputs_that_are_no_numbers_fail_without_a_figure(conv, value, names):
    net, images, labels = conv
    model = _Senseless(net, value)
    labels = torch.where(model(images).isinf().any(dim=1), 0, labels)
    asked = oracle(model, fold=False)
    for verdicts in (None, run(fgsm(THREAT), asked, images, labels, THREAT)):
        said = found(asked, images, labels, THREAT, verdicts)
        for name in names:
            assert (said[name].state, said[name].figure) == ("fail", None), name
            assert "NaN or infinite" in said[name].detail
        assert all(check.figure is None or abs(check.figure) < 1e300 for check in said.values())


def test_a_model_that_answers_no_number_at_all_is_named():
    model, images = Linear(torch.zeros(3, 12), torch.full((3,), torch.nan)), images_in_box(8, (3, 2, 2))
    said = found(oracle(model, fold=False), images, torch.zeros(8, dtype=torch.int64), THREAT)
    assert [name for name, check in said.items() if check.state == "fail"] == ["logits"]
