"""Robust objectives: what the inner attack reaches, the losses by hand, what stays as it was, and what comes of it."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bantamweight.attacks._core import run
from bantamweight.attacks.pgd import pgd
from bantamweight.data import load
from bantamweight.oracle import oracle
from bantamweight.parts import configure
from bantamweight.threats import linf
from bantamweight.training import Step, train
from bantamweight.training._inner import ascend, ascent
from tests.training.conftest import bits, few

STEP = Step(1, 0, 8, 0, torch.arange(16))
LINF = {"use": "linf", "eps": 0.1}
PLAIN = ("pgd_at", "mixed", "trades", "mart", "fgsm_rs")
AWP = {"use": "awp", "objective": {"use": "trades", "threat": LINF, "steps": 2}, "gamma": 0.01}
SPECS = [*({"use": name, "threat": LINF} for name in PLAIN), AWP]


class Line(nn.Module):
    """Two logits, <w, x> and 0: the margin of class 0 is <w, x>."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([2.0, -1.0, 0.5, -0.25]))

    def forward(self, images):
        value = images.flatten(1) @ self.w
        return torch.stack([value, torch.zeros_like(value)], dim=1)


class Crooked(nn.Module):
    """Margin 1 - 8 d^2 (1 - d^2), d from the image .5 in units of .2: harmless at d = 0 and 1, negative in between."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, images):
        d = (images.flatten(1)[:, 0] - 0.5) / 0.2
        margin = self.scale * (1 - 8 * d**2 * (1 - d**2))
        return torch.stack([margin, torch.zeros_like(margin)], dim=1)


def inside(rows=16):
    """Images that the box does not bind at a distance of .1."""
    return 0.3 + 0.4 * torch.rand(rows, 1, 2, 2, generator=torch.Generator().manual_seed(0))


def made(spec, smoothing=0.0):
    return configure("objectives", spec).make(smoothing)


@pytest.mark.parametrize("start", ["random", "noise", "clean"])
@pytest.mark.parametrize(("norm", "dual"), [("linf", 1), ("l2", 2)])
def test_on_a_linear_net_the_steps_reach_the_known_worst_case(start, norm, dual):
    net, images, labels = Line(), inside(), torch.zeros(16, dtype=torch.long)
    how = ascent("t", {"use": norm, "eps": 0.1}, steps=40, rate=None, share=0.25, start=start, mode="train",
                 growth="constant")  # fmt: skip
    worst = ascend(how, net, images, labels, STEP)
    expected = net(images)[:, 0] - 0.1 * net.w.norm(p=dual)
    assert torch.allclose(net(worst)[:, 0], expected, atol=1e-4)
    assert not worst.requires_grad
    assert net.w.grad is None


def test_one_step_of_1_25_eps_reaches_it_only_where_the_start_was_not_too_far():
    net, images, labels = Line(), inside(), torch.zeros(16, dtype=torch.long)
    objective = made({"use": "fgsm_rs", "threat": LINF, "every": 0})
    moved = objective.craft(net, images, labels, STEP).images - images
    along = moved * -net.w.sign().reshape(1, 2, 2)
    assert moved.abs().max() <= 0.1 + 1e-6
    assert along.min() >= 0.025 - 1e-6  # from -eps: 1.25 eps - eps
    assert (along > 0.1 - 1e-6).float().mean() > 0.5  # certain from -eps / 4 on: 5 of 8


def test_trades_attack_goes_away_from_the_clean_answer_whatever_the_label():
    net, images = Line(), inside()
    objective = made({"use": "trades", "threat": LINF, "steps": 12})
    ends = [objective.craft(net, images, torch.full((16,), label), STEP).images for label in (0, 1)]
    assert torch.equal(*ends)
    shift = (net(ends[0]) - net(images))[:, 0].abs()
    assert torch.allclose(shift, 0.1 * net.w.norm(p=1).expand(16), atol=1e-5)


def by_hand(net, spec, images, labels):
    """(natural, adversarial) probabilities at the point that the objective crafts, and its loss."""
    objective = made(spec)
    worst = objective.craft(net, images, labels, STEP).images
    loss = objective(net, images, labels, STEP)
    assert torch.allclose(loss.logits, net(worst))
    return net(images).softmax(1).tolist(), net(worst).softmax(1).tolist(), float(loss.value.detach())


def three():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), inside(), torch.arange(16) % 3


def test_trades_loss_by_hand():
    net, images, labels = three()
    natural, robust, said = by_hand(net, {"use": "trades", "threat": LINF, "beta": 3.0}, images, labels)
    rows = [
        -math.log(p[y]) + 3 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
        for p, q, y in zip(natural, robust, labels.tolist(), strict=True)
    ]
    assert said == pytest.approx(sum(rows) / 16, rel=1e-5)


def test_mart_loss_by_hand():
    net, images, labels = three()
    natural, robust, said = by_hand(net, {"use": "mart", "threat": LINF, "beta": 4.0}, images, labels)
    rows = []
    for p, q, y in zip(natural, robust, labels.tolist(), strict=True):
        boosted = -math.log(q[y]) - math.log(1 - max(value for k, value in enumerate(q) if k != y))
        rows.append(boosted + 4 * sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) * (1 - p[y]))
    assert said == pytest.approx(sum(rows) / 16, rel=1e-5)


def test_mart_is_finite_for_a_net_that_is_sure_of_the_wrong_class():
    net = Line()
    with torch.no_grad():
        net.w.mul_(1000)
    loss = made({"use": "mart", "threat": LINF})(net, inside(), torch.ones(16, dtype=torch.long), STEP).value
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert net.w.grad.isfinite().all()


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_mixed_loss_by_hand(weight):
    net, images, labels = three()
    natural, robust, said = by_hand(net, {"use": "mixed", "threat": LINF, "weight": weight}, images, labels)
    sums = [sum(-math.log(p[y]) for p, y in zip(ps, labels.tolist(), strict=True)) / 16 for ps in (natural, robust)]
    assert said == pytest.approx((1 - weight) * sums[0] + weight * sums[1], rel=1e-5)


@pytest.mark.parametrize("name", ["pgd_at", "fgsm_rs"])
def test_the_loss_is_cross_entropy_at_the_worst_point(name):
    net, images, labels = three()
    _, robust, said = by_hand(net, {"use": name, "threat": LINF}, images, labels)
    expected = sum(-math.log(q[y]) for q, y in zip(robust, labels.tolist(), strict=True)) / 16
    assert said == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec["use"])
def test_gradients_reach_every_parameter_and_modes_come_back(spec, net):
    module = net()
    module[3].eval()  # a part that was left in eval mode
    modes = [part.training for part in module.modules()]
    before, leaves = bits(module.state_dict()), list(module.parameters())
    images = torch.rand(16, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    kept = images.clone()
    made(spec)(module, images, torch.arange(16) % 10, STEP).value.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in module.parameters())
    assert all(weight.grad.abs().sum() > 0 for name, weight in module.named_parameters() if name != "0.bias")
    assert [part.training for part in module.modules()] == modes
    assert module[1].track_running_stats
    after = bits(module.state_dict())
    assert all(after[name] == before[name] for name, _ in module.named_parameters())
    assert all(now is then for now, then in zip(module.parameters(), leaves, strict=True))
    assert torch.equal(images, kept)


@pytest.mark.parametrize(
    ("spec", "passes", "inner"),
    list(zip(SPECS, (1, 1, 2, 2, 1, 2), (True, True, False, False, True, False), strict=True)),
    ids=lambda value: value["use"] if isinstance(value, dict) else None,
)
def test_only_the_trainings_own_passes_move_the_running_statistics(spec, passes, inner, net):
    module = net()
    seen = []
    module[1].register_forward_hook(lambda part, *_: seen.append((part.training, part.track_running_stats)))
    images = torch.rand(16, 1, 8, 8)
    objective = made({**spec, "every": 0} if spec["use"] == "fgsm_rs" else spec)
    objective(module, images, torch.arange(16) % 10, STEP)
    assert int(module[1].num_batches_tracked) == passes
    assert seen.count((True, True)) == passes
    own = objective.inner if spec["use"] == "awp" else objective
    seen.clear()
    statistics = bits(dict(module.named_buffers()))
    own.craft(module, images, torch.arange(16) % 10, STEP)
    assert set(seen) <= {(inner, not inner)}  # in eval mode copies without batch norm may be asked instead
    assert seen or not inner
    assert bits(dict(module.named_buffers())) == statistics


def test_one_natural_pass_moves_the_statistics_as_a_plain_pass_would(net):
    module, plain = net(), net()
    images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    objective = made({"use": "pgd_at", "threat": LINF})
    worst = objective.craft(module, images, labels, STEP).images
    objective.weigh(module, images, worst, labels)
    plain(worst)
    assert torch.equal(module[1].running_mean, plain[1].running_mean)


def test_random_starts_are_keyed_by_sample_step_and_seed():
    net, images, labels = Line(), inside(), torch.zeros(16, dtype=torch.long)
    objective = made({"use": "pgd_at", "threat": LINF, "steps": 1, "rate": 1e-3})

    def start(step, rows=slice(None)):
        return objective.craft(net, images[rows], labels[rows], step).images

    whole, some = start(STEP), slice(3, 9)
    assert torch.allclose(start(replace(STEP, index=STEP.index[some]), some), whole[some], atol=1e-7)
    for other in (replace(STEP, step=1), replace(STEP, seed=1), replace(STEP, index=STEP.index + 1)):
        assert not torch.allclose(start(other), whole, atol=1e-3)


def test_eps_grows_as_its_schedule_says():
    net, images, labels = Line(), inside(), torch.zeros(16, dtype=torch.long)
    growth = {"use": "linear", "until": 0.5}
    objective = made({"use": "pgd_at", "threat": LINF, "steps": 12, "growth": growth})
    for step, share in ((0, 0.0), (2, 0.5), (4, 1.0), (7, 1.0)):
        moved = objective.craft(net, images, labels, replace(STEP, step=step)).images - images
        expected = -0.1 * share * net.w.detach().sign().reshape(1, 2, 2)
        assert torch.allclose(moved, expected.expand_as(moved), atol=1e-6)


def test_awp_by_hand():
    """One layer: the gradient at w + gamma |w| g / |g|, with what is zero left at zero."""
    net, images, labels = three()
    with torch.no_grad():
        net[1].weight[0, :2] = 0.0
    inner = {"use": "pgd_at", "threat": LINF, "start": "clean"}
    worst = made(inner).craft(net, images, labels, STEP).images
    moved = copy.deepcopy(net)
    cross_entropy(moved(worst), labels).backward()
    slope = moved[1].weight.grad * (net[1].weight != 0)
    with torch.no_grad():
        moved[1].weight += 0.3 * net[1].weight.norm() * slope / slope.norm()
    moved.zero_grad()
    expected = cross_entropy(moved(worst), labels)
    expected.backward()
    loss = made({"use": "awp", "objective": inner, "gamma": 0.3})(net, images, labels, STEP)
    loss.value.backward()
    expected, still = expected.item(), cross_entropy(net(worst), labels).item()
    assert loss.value.item() == pytest.approx(expected)
    assert expected > still
    assert torch.allclose(net[1].weight.grad, moved[1].weight.grad, atol=1e-6)
    late = made({"use": "awp", "objective": inner, "gamma": 0.3, "warmup": 0.5})
    assert late(net, images, labels, STEP).value.item() == pytest.approx(still)
    assert late(net, images, labels, replace(STEP, step=4)).value.item() == pytest.approx(expected)


def test_the_guard_sees_what_one_step_misses_and_takes_more_until_it_is_gone():
    images, labels = torch.full((16, 1, 1, 1), 0.52), torch.zeros(16, dtype=torch.long)
    spec = {"use": "fgsm_rs", "threat": {"use": "linf", "eps": 0.2}, "start": "clean", "rate": 0.2, "steps": 20}
    crooked, straight = Crooked(), nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    blind = made({**spec, "every": 0}).craft(crooked, images, labels, STEP)
    assert not blind.recovering
    assert (crooked(blind.images)[:, 0] > 0).all()
    guarded = made({**spec, "every": 3})
    said = [guarded.craft(crooked, images, labels, replace(STEP, step=step)) for step in range(2)]
    assert all(crafted.recovering for crafted in said)
    assert (crooked(said[1].images)[:, 0] < 0).all()
    # It looks again at steps 3 and 6, and whenever an epoch begins.
    later = [guarded.craft(straight, images, labels, replace(STEP, step=step)).recovering for step in (2, 3, 4)]
    assert later == [True, False, False]
    assert not guarded.craft(crooked, images, labels, replace(STEP, step=5)).recovering
    assert guarded.craft(crooked, images, labels, replace(STEP, step=7, epoch=2)).recovering


def robust_accuracy(module, weights, split, eps):
    module.load_state_dict(dict(weights))
    images, threat = split.floats(torch.arange(len(split))), linf(eps=eps)
    verdicts = run(pgd(threat, steps=10), oracle(module.eval()), images, split.labels, threat)
    return int(verdicts.robust.sum()), int(verdicts["right"].sum())


def test_trained_against_an_attack_it_stands_where_a_benign_net_falls(net):
    data = few(load("digits"), 1024, 128)
    objective = {"use": "pgd_at", "threat": {"use": "linf", "eps": 0.15}, "steps": 4}
    given = {"epochs": 8, "batch": 32, "rate": 1e-2, "precision": "fp32"}
    benign, robust = (
        robust_accuracy(net(), train(net(), data, **given, **extra).last, data.splits["val"], 0.15)
        for extra in ({}, {"objective": objective})
    )
    assert robust[0] >= benign[0] + 0.25 * 128
    assert robust[1] >= 0.8 * 128
