"""Attacks with a fixed budget against closed forms: on a linear model the best perturbation of every norm is known."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from bantamweight.attacks._auto import plan
from bantamweight.attacks._auto_rules import halving, sparse
from bantamweight.attacks._core import run
from bantamweight.attacks._objectives import probability_margin
from bantamweight.attacks._parts import likeliest, momentum
from bantamweight.attacks._problem import NO_LANE
from bantamweight.errors import InputError
from bantamweight.oracle import margin, oracle
from bantamweight.parts import configure
from bantamweight.threats import LINF, NORMS, l0, l1, l2, linf
from tests.attacks.nets import grey_images, images_in_box, linear, rows_of

THREATS = {"linf": linf(eps=0.04), "l2": l2(eps=0.2), "l1": l1(eps=1.5), "l0": l0(eps=3)}

# Of the most that any perturbation can do to the margin, the share that every image must lose. One step and a random
# search don't get everything in every norm; everything else does, or nearly.
LEAST = {
    "fgsm": {"linf": 0.9999, "l2": 0.9999, "l1": 0.3, "l0": 0.9999},
    "r_fgsm": {"linf": 0.9999, "l2": 0.9999, "l1": 0.3, "l0": 0.6},
    "pgd": {"linf": 0.9999, "l2": 0.97, "l1": 0.75, "l0": 0.9999},
    "mi_fgsm": {"linf": 0.9999, "l2": 0.9999, "l1": 0.8, "l0": 0.9999},
    "apgd": {"linf": 0.9999, "l2": 0.9999, "l1": 0.999},
    "apgd_t": {"linf": 0.9999, "l2": 0.9999, "l1": 0.999},
    "pma": {"linf": 0.9999, "l2": 0.9999, "l1": 0.85, "l0": 0.9999},
    "square": {"linf": 0.9, "l2": 0.5, "l1": 0.2},
}
SETTINGS = {"r_fgsm": {"share": 1e-6}, "square": {"queries": 500}}
CASES = [(name, norm) for name, norms in LEAST.items() for norm in norms]


def made(name, threat, **settings):
    return configure("attacks", {"use": name, **SETTINGS.get(name, {}), **settings}).make(threat)


def most(threat, weights, images):
    """The most that a perturbation of the threat can lower <weights, x>, image by image, box included."""
    room = torch.where(weights > 0, images, 1 - images).flatten(1)
    size = weights.abs().flatten(1)
    if threat.norm.name == "linf":
        return (room.clamp_max(threat.eps) * size).sum(dim=1)
    if threat.norm.name == "l2":  # the images are grey enough for the box not to bind
        return threat.eps * size.norm(dim=1)
    if threat.norm.name == "l1":  # one entry after another, each to the end of the box
        order = size.argsort(dim=1, descending=True)
        room, size = room.gather(1, order), size.gather(1, order)
        return ((threat.eps - (room.cumsum(dim=1) - room)).clamp_min(0).minimum(room) * size).sum(dim=1)
    pixels = (room * size).reshape(images.shape).sum(dim=1).flatten(1)
    return pixels.topk(int(threat.eps), dim=1).values.sum(dim=1)


def margins(model, images, labels, targets):
    return margin(model(images), labels, targets).detach()


@pytest.mark.parametrize(("name", "norm"), CASES)
@pytest.mark.parametrize("targeted", [False, True])
def test_two_classes_lose_what_the_closed_form_says(name, norm, targeted):
    model, images, threat = linear(), grey_images(40), THREATS[norm]
    labels = model(images).argmax(dim=1)
    targets = 1 - labels if targeted else torch.full_like(labels, -1)
    weights = (model.layer.weight[labels] - model.layer.weight[1 - labels]).reshape(images.shape)
    before, best = margins(model, images, labels, targets), most(threat, weights, images)
    asked = oracle(model, fold=False)
    verdicts = run(
        made(name, threat), asked, images, labels, threat, targets=targets if targeted else None, until="budget"
    )
    lost = (before - margins(model, verdicts.images, labels, targets)) / best
    assert lost.min() > LEAST[name][norm]
    assert lost.max() < 1.0001
    # With a share of the optimum comes the verdict, wherever the margin is clearly on one side.
    success = torch.tensor(verdicts["success"])
    assert success[before < LEAST[name][norm] * best - 1e-4].all()
    assert not success[before > best + 1e-4].any()


@pytest.mark.parametrize(("name", "norm"), [case for case in CASES if case[0] not in ("square", "fgsm", "r_fgsm")])
def test_a_target_among_four_classes_comes_as_close_as_it_can(name, norm):
    model, images, threat = linear(classes=4, seed=3), grey_images(40, seed=4), THREATS[norm]
    labels = model(images).argmax(dim=1)
    targets = (labels + 1) % 4
    weights = (model.layer.weight[labels] - model.layer.weight[targets]).reshape(images.shape)
    before = (model(images).gather(1, labels[:, None]) - model(images).gather(1, targets[:, None]))[:, 0].detach()
    verdicts = run(
        made(name, threat), oracle(model, fold=False), images, labels, threat, targets=targets, until="budget"
    )
    assert (margins(model, verdicts.images, labels, targets) < margins(model, images, labels, targets)).all()
    assert not torch.tensor(verdicts["success"])[before > most(threat, weights, images) + 1e-4].any()
    with torch.no_grad():
        assert ((model(verdicts.images).argmax(dim=1) == targets).numpy() == verdicts["success"]).all()


def test_every_class_gets_its_lane_and_one_that_is_not_the_nearest_is_enough():
    """The runner-up can't be reached, since it goes up and down with the label; the third class can."""
    weights = torch.zeros(4, 48)
    weights[2, :24], weights[3, 24:] = 1.0, 1.0
    model = linear(classes=4)
    model.layer.weight.data, model.layer.bias.data = weights, torch.tensor([13.0, 12.9, -3.0, -20.0])
    images, labels, threat = grey_images(8), torch.zeros(8, dtype=torch.int64), linf(eps=0.1)
    verdicts = run(made("apgd_t", threat), oracle(model, fold=False), images, labels, threat)
    assert not verdicts["success"].any()
    model.layer.bias.data[2] = -0.5
    verdicts = run(made("apgd_t", threat), oracle(model, fold=False), images, labels, threat)
    assert verdicts["success"].all()
    assert (verdicts["adversarial"] == 2).all()
    # The first lane had gone all its way for nothing by then, as it would have if they ran one after another.
    assert (verdicts["query"] >= 101).all()
    assert (verdicts["query"] < 202).all()


def test_lanes_are_the_likeliest_other_classes_and_no_more_than_there_are():
    logits = torch.tensor([[5.0, 1.0, 3.0, 2.0], [0.0, 4.0, 0.0, 9.0]])
    labels = torch.tensor([0, 3])
    assert likeliest(2)(logits, labels).tolist() == [[2, 3], [1, 0]]
    assert likeliest(5)(logits, labels).tolist() == [[2, 3, 1, NO_LANE, NO_LANE], [1, 0, 2, NO_LANE, NO_LANE]]


def test_what_auto_pgd_costs():
    model, images = linear(), grey_images(8)
    labels = model(images).argmax(dim=1)
    for threat, forwards in ((linf(eps=1e-4), 101), (l2(eps=1e-4), 101), (l1(eps=1e-4), 103)):
        verdicts = run(made("apgd", threat), oracle(model, fold=False), images, labels, threat)
        assert (verdicts["forwards"] == forwards).all()
        assert (verdicts["backwards"] == forwards - 1).all()


def test_the_checkpoints_are_those_of_the_papers():
    whole = plan(100, False, halving(LINF, 0.75).windows)
    assert [(step, length) for step, length in enumerate(whole.window) if length] == [
        (22, 22), (41, 19), (57, 16), (70, 13), (80, 10), (87, 7), (93, 6), (99, 6),
    ]  # fmt: skip
    assert whole.begins == (True,) + (False,) * 100
    shrinking = plan(100, True, sparse(NORMS["l1"], True).windows)
    assert shrinking.radius == (3.0,) * 31 + (2.0,) * 31 + (1.0,) * 41
    assert [step for step, begins in enumerate(shrinking.begins) if begins] == [0, 31, 62]
    assert [step for step, length in enumerate(shrinking.window) if not length] == [0, 31, 62]
    assert [length for length in plan(100, False, sparse(NORMS["l1"], False).windows).window if length] == [4] * 25


def test_steps_are_halved_where_too_few_rose_or_nothing_changed():
    rows = rows_of(images_in_box(4))
    rule = halving(LINF, 0.75)
    state = {
        "rate": torch.full((4,), 0.2),
        "rises": torch.tensor([3, 4, 4, 0]),
        "halved": torch.tensor([True, True, False, True]),
        "best_then": torch.tensor([1.0, 1.0, 1.0, 1.0]),
        "best_loss": torch.tensor([2.0, 1.0, 1.0, 1.0]),
    }
    back, kept = rule.check(rows, state, rows.eps, torch.tensor([4, 4, 4, 0]))
    # Row 0 rose in 3 of 4 steps, which is not more than rho; row 1 rose enough, and row 2 too, but reached nothing new
    # with a step that was not new either; row 3 is not due.
    assert back.tolist() == [True, False, True, False]
    assert torch.allclose(kept["rate"], torch.tensor([0.1, 0.2, 0.1, 0.2]))
    assert kept["halved"].tolist() == [True, False, True, True]
    assert kept["rises"].tolist() == [0, 0, 0, 0]
    assert kept["best_then"].tolist() == [2.0, 1.0, 1.0, 1.0]


def test_sparse_steps_follow_the_best_perturbation():
    images = grey_images(3)
    rows, rule = rows_of(images), sparse(NORMS["l1"], True)
    best = images.clone()
    best.flatten(1)[:, :12] += 0.01
    state = {"best": best, "rate": torch.tensor([0.03, 0.03, 0.011]), "moved": torch.tensor([20, 12, 12])}
    state["count"] = torch.tensor([5, 5, 5])
    back, kept = rule.check(rows, state, rows.eps, torch.tensor([1, 1, 1]))
    assert back.tolist() == [True, False, False]
    assert torch.allclose(kept["rate"], torch.tensor([0.1, 0.02, 0.01]))
    assert kept["count"].tolist() == [8, 8, 8]
    assert kept["moved"].tolist() == [12, 12, 12]


def test_momentum_adds_up_gradients_of_size_one():
    rows = rows_of(grey_images(1))
    first, second = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    direction = momentum(0.5)
    slope, memory = direction.turn(direction.init(rows), 1e-30 * first)
    assert torch.equal(LINF.steepest(slope, rows.images), first.sign())
    _, memory = direction.turn(memory, 7.0 * second)
    wanted = 0.5 * first / first.abs().sum() + second / second.abs().sum()
    assert torch.allclose(memory["momentum"], wanted, atol=1e-7)


def test_the_probability_margin_attack_sets_out_twice():
    threat, seen = linf(eps=0.1), []
    attack = made("pma", threat, steps=8)
    assert attack.lanes == 2
    images = grey_images(2)
    for step in range(8):
        rows = rows_of(images, step=step)
        state = {"points": images.clone()}
        answer = oracle(linear(), fold=False).ask(attack.ask(rows, state), rows.labels, rows.aims, torch.ones(2).bool())
        answer.gradient.fill_(1e-9)
        moved = attack.tell(rows_of(images, step=step), state, answer)["points"] - images
        seen.append(float(moved.mean()))
    rate = [0.1 * (1 + math.cos(math.pi * step / 4)) for step in (0, 1, 2, 3)] * 2
    assert seen == pytest.approx([min(step, 0.1) for step in rate], abs=1e-6)


def test_the_probability_margin_attack_climbs_one_term_at_a_time():
    """Logarithms of single probabilities in the first half, lane by lane, and their margin in the second."""
    attack, images = made("pma", linf(eps=0.1), steps=8), grey_images(2)
    logits, labels = torch.tensor([[2.0, 1.0, 0.0], [0.5, 3.0, 1.0]]), torch.tensor([0, 1])
    shares = logits.log_softmax(dim=1)
    state = {"points": images.clone()}
    for targets, own, rival in ((torch.tensor([-1, -1]), (0, 1), (1, 2)), (torch.tensor([2, 0]), (2, 0), (0, 1))):
        sign = 1.0 if int(targets.max()) < 0 else -1.0
        rows = [replace(rows_of(images, labels, step=step), targets=targets, lane=torch.full((2,), lane))
                for step, lane in ((0, 0), (3, 1), (4, 0), (7, 1))]  # fmt: skip
        said = [attack.ask(one, state).objective(logits, labels, targets) for one in rows]
        assert torch.allclose(said[0], -sign * shares[[0, 1], list(own)], atol=1e-5)
        assert torch.allclose(said[1], sign * shares[[0, 1], list(rival)], atol=1e-5)
        margins = probability_margin(logits, labels, targets)
        assert torch.equal(said[2], margins)
        assert torch.equal(said[3], margins)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("apgd", {"steps": 0}, "at least 1 steps"),
        ("apgd", {"restarts": 0}, "at least 1"),
        ("apgd", {"rho": 1.0}, "between 0 and 1"),
        ("apgd", {"shrink": True, "steps": 3}, "at least 4 steps"),
        ("apgd_t", {"classes": 0}, "at least 1 class"),
        ("r_fgsm", {"share": 0.0}, "between 0 and 1"),
        ("mi_fgsm", {"decay": -0.1}, "at least 0"),
        ("pma", {"steps": 1}, "at least 2 steps"),
        ("square", {"queries": 0}, "at least 1 query"),
        ("square", {"area": 1.5}, "in \\(0, 1\\]"),
    ],
)
def test_settings_out_of_range_are_refused(name, settings, message):
    with pytest.raises(InputError, match=message):
        made(name, THREATS["linf"], **settings)
