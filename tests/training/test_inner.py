"""What the inner attack leaves as it was, what it costs, and how its budget and steps grow."""

from __future__ import annotations

import copy
from typing import ClassVar

import pytest
import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.parts import configure
from bantamweight.training import Step, fresh, seeded, train
from bantamweight.training._inner import ascend, ascent, quietly

LINF = {"use": "linf", "eps": 0.1}
NORMS = {
    "batch": lambda: nn.BatchNorm2d(4),
    "instance": lambda: nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
    "instance without statistics": lambda: nn.InstanceNorm2d(4, affine=True),
    "group": lambda: nn.GroupNorm(2, 4),
}


def normed(name):
    """A net with a norm that has seen something, in training mode."""
    with seeded(0):
        net = nn.Sequential(nn.Conv2d(1, 4, 3), NORMS[name](), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
        for _ in range(3):
            net(3 + torch.rand(16, 1, 8, 8))
    return net


def tensors(net):
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("name", NORMS)
def test_looked_at_quietly_in_eval_mode_a_net_answers_as_in_eval_mode_and_stays_as_it_was(name):
    net, images = normed(name), torch.rand(16, 1, 8, 8)
    before = tensors(net)
    with quietly(net, "eval", half=False) as forward, torch.no_grad():
        said = forward(images)
    assert net.training
    assert net[1].training
    now = tensors(net)
    assert list(now) == list(before)
    assert all(torch.equal(now[key], before[key]) for key in before)
    assert torch.equal(said, net.eval()(images))


@pytest.mark.parametrize("name", NORMS)
def test_in_training_mode_it_answers_as_in_training_mode_and_stays_as_it_was(name):
    net, images = normed(name), torch.rand(16, 1, 8, 8)
    before = tensors(net)
    with quietly(net, "train", half=False) as forward, torch.no_grad():
        said = forward(images)
    now = tensors(net)
    assert list(now) == list(before)
    assert all(torch.equal(now[key], before[key]) for key in before)
    with torch.no_grad():
        assert torch.equal(said, net(images))
    assert name not in ("batch", "instance") or not torch.equal(net[1].running_mean, before["1.running_mean"])


def test_a_frozen_instance_norm_in_a_net_that_trains_stays_and_is_used():
    net, images = normed("instance"), torch.rand(16, 1, 8, 8)
    net[1].eval()
    before = tensors(net)
    with quietly(net, "train", half=False) as forward, torch.no_grad():
        said = forward(images)
    assert torch.equal(net[1].running_mean, before["1.running_mean"])
    assert torch.equal(said, net.eval()(images).detach())


def test_frozen_statistics_stay_frozen_and_are_used(net):
    module = net()
    module[1].eval()
    module[4].eval()
    module[1].running_var.fill_(9.0)
    images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    objective, step = configure("objectives", {"use": "pgd_at", "threat": LINF}).make(0.0), Step(1, 0, 8, 0, labels)
    nets = (module, copy.deepcopy(module).eval())
    crafted = [objective.craft(part, images, labels, step).images for part in nets]
    assert torch.equal(*crafted)


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("name", NORMS)
def test_an_attack_leaves_every_norm_as_it_was(name, mode):
    net, images, labels = normed(name), torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    before = tensors(net)
    how = ascent("t", LINF, steps=4, rate=None, share=0.3, start="clean", mode=mode, growth="constant")
    ascend(how, net, images, labels, Step(1, 0, 8, 0, torch.arange(16)))
    now = tensors(net)
    assert all(torch.equal(now[key], before[key]) for key in before)


class Counted(nn.Module):
    """A linear net that counts images: all that pass it, and those whose gradient is asked for."""

    passed: ClassVar[list[tuple[int, int]]] = []  # the class's own, so that copies count too

    def __init__(self):
        super().__init__()
        self.line = nn.Linear(64, 10)

    def forward(self, images):
        self.passed.append((len(images), len(images) * images.requires_grad))
        return self.line(images.flatten(1))


@pytest.mark.parametrize("step", [0, 3, 7])
@pytest.mark.parametrize(
    "spec",
    [
        {"use": "pgd_at", "threat": LINF, "steps": 5, "growth": "linear", "pace": "sawtooth"},
        {"use": "mixed", "threat": LINF, "steps": 2},
        {"use": "trades", "threat": LINF, "steps": 2},
        {"use": "trades", "threat": LINF, "steps": 7, "pace": "linear"},
        {"use": "mart", "threat": LINF, "steps": 4, "growth": "stepwise", "pace": {"use": "sawtooth", "teeth": 2}},
        {"use": "fgsm_rs", "threat": LINF, "every": 2, "steps": 2, "rows": 10},
    ],
    ids=lambda spec: spec["use"],
)
def test_what_crafting_costs_is_counted_image_by_image(spec, step):
    net, images, labels = Counted(), torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    now = Step(1 + step // 4, step, 8, 0, torch.arange(16), 2)
    objective = configure("objectives", spec).make(0.0)
    objective.craft(net, images, labels, now)  # the first time that a net is seen it is looked at
    objective = configure("objectives", spec).make(0.0)
    Counted.passed.clear()
    made = objective.craft(net, images, labels, now)
    assert made.forwards == sum(rows for rows, _ in Counted.passed)
    assert made.backwards == sum(rows for _, rows in Counted.passed)


def test_rows_of_the_history_add_up_what_crafting_cost(digits):
    n, asked = len(digits.splits["train"]), {"epochs": 2, "batch": 64, "precision": "fp32"}
    pgd = {"use": "pgd_at", "threat": LINF, "steps": 3}
    trades = {"use": "trades", "threat": LINF, "steps": 3}
    for objective, forwards, backwards in (
        ("standard", 0, 0),
        ({"use": "free", "threat": LINF, "replays": 2}, 0, 0),
        (pgd, 3, 3),
        (trades, 4, 3),
        # The weights are moved by a pass of their own, which looks at whatever the loss looks at.
        ({"use": "awp", "objective": pgd}, 4, 4),
        ({"use": "awp", "objective": trades}, 6, 5),
    ):
        trained = train(fresh({"use": "mlp"}, digits, seed=0), digits, **asked, objective=objective)
        rows = [row for row in trained.history if row.split == "train"]
        assert [row.forwards for row in rows] == [forwards * n] * 2
        assert [row.backwards for row in rows] == [backwards * n] * 2


@pytest.mark.parametrize("name", ["trades", "mart", "pgd_at", "mixed", "free"])
def test_a_budget_grows_with_the_training(name):
    net, images, labels = Counted(), 0.3 + 0.4 * torch.rand(16, 1, 8, 8), torch.arange(16) % 10
    spec = {"use": name, "threat": LINF, "growth": {"use": "linear", "until": 0.5}}
    objective = configure("objectives", spec).make(0.0)
    seen = []
    net.register_forward_pre_hook(lambda _, given: seen.append(float((given[0][-16:] - images).abs().max().detach())))
    for step, most in ((0, 0.0), (1, 0.025), (2, 0.05), (4, 0.1), (7, 0.1)):
        seen.clear()
        objective(net, images, labels, Step(1, step, 8, 0, torch.arange(16))).value.backward()
        assert max(seen) == pytest.approx(most, abs=1e-6)


@pytest.mark.parametrize("name", ["trades", "mart", "ard", "rslad"])
def test_steps_grow_with_the_training(name):
    spec = {"use": name, "threat": LINF, "steps": 9, "pace": {"use": "stepwise", "levels": [0.1, 0.5, 1.0]}}
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).requires_grad_(False)
    nn.init.zeros_(teacher[1].weight)  # answers the same everywhere: nothing to warn about
    with torch.no_grad():
        teacher[1].bias[0] = 1.0
    objective = configure("objectives", spec).make(0.0, *([teacher] if name in ("ard", "rslad") else []))
    images, labels = torch.rand(16, 1, 8, 8), torch.zeros(16, dtype=torch.long)
    taken = [
        objective.craft(Counted(), images, labels, Step(1, step, 9, 0, torch.arange(16))).backwards // 16
        for step in (0, 3, 6)
    ]
    assert taken == [1, round(4.5), 9]


LATE = {"use": "linear", "begin": 0.9, "until": 0.5}
PACED = ("pgd_at", "mixed", "trades", "mart", "ard", "rslad")


@pytest.mark.parametrize(
    "objective",
    [
        *({"use": name, "threat": LINF, "growth": LATE} for name in (*PACED, "fgsm_rs", "free")),
        *({"use": name, "threat": LINF, "pace": LATE} for name in PACED),
        {"use": "awp", "objective": {"use": "trades", "threat": LINF, "pace": LATE}},
        {"use": "quantized", "objective": {"use": "trades", "threat": LINF, "growth": LATE}},
        {"use": "ard", "threat": {"use": "linf", "eps": 2}},
    ],
    ids=lambda spec: "-".join([spec["use"], *(key for key in ("growth", "pace") if key in spec)]),
)  # fmt: skip
def test_what_an_adversary_can_t_be_is_said_before_anything_is_computed(digits, monkeypatch, objective):
    monkeypatch.setattr("bantamweight.training._core._check_fit", lambda *_: pytest.fail("this was to be refused"))
    start = fresh({"use": "mlp"}, digits, seed=0)
    teacher = {"teacher": start} if objective["use"] in ("ard", "rslad") else {}
    with pytest.raises(InputError, match=r"a line that ends after it begins|an epsilon between 0 and 1"):
        train(start, digits, epochs=1, objective=objective, **teacher)


def test_a_schedule_that_never_ends_is_said_before_anything_is_computed(digits, monkeypatch):
    monkeypatch.setattr("bantamweight.training._core._check_fit", lambda *_: pytest.fail("this was to be refused"))
    with pytest.raises(InputError, match="a line that ends after it begins"):
        train(fresh({"use": "mlp"}, digits, seed=0), digits, epochs=1, schedule=LATE)


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ("trades", "trades needs a value for 'threat'"),
        ({"use": "trades", "threat": {"use": "linf", "eps": 1.5}}, r"an epsilon between 0 and 1 for linf .* got 1\.5"),
        ({"use": "pgd_at", "threat": {"use": "linf", "eps": -0.1}}, "an epsilon between 0 and 1"),
        ({"use": "pgd_at", "threat": LINF, "steps": 0}, r"pgd_at\.steps.*greater than or equal to 1, got 0"),
        ({"use": "mart", "threat": LINF, "beta": -1}, r"mart\.beta.*got -1"),
        ({"use": "mixed", "threat": LINF, "weight": 1.5}, r"mixed\.weight.*got 1\.5"),
        ({"use": "fgsm_rs", "threat": LINF, "rate": 0}, r"fgsm_rs\.rate"),
        ({"use": "pgd_at", "threat": {"use": "lnf", "eps": 0.1}}, "did you mean 'linf'"),
        ({"use": "pgd_at", "threat": LINF, "start": "nowhere"}, r"pgd_at\.start"),
        ({"use": "pgd_at", "threat": LINF, "growth": {"use": "stepwise", "levels": [2.0]}}, "levels"),
        (
            {"use": "awp", "objective": "standard"},
            "awp needs an adversarial objective that crafts its images first, and no teacher, got 'standard'",
        ),
        (
            {"use": "awp", "objective": "distill"},
            "awp needs an adversarial objective that crafts its images first, and no teacher, got 'distill'",
        ),
        (
            {"use": "awp", "objective": {"use": "free", "threat": LINF}},
            "awp needs an adversarial objective that crafts its images first, and no teacher, got 'free'; use pgd_at",
        ),
    ],
)
def test_what_can_t_be_meant_is_refused_in_one_sentence(digits, net, objective, said):
    with pytest.raises(InputError, match=said) as caught:
        train(net(), digits, epochs=1, objective=objective)
    assert "\n" not in str(caught.value)
