"""Attacks against closed forms: on a linear model the best perturbation of every norm is known."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._core import Attack, run
from bantamweight.attacks._objectives import cross_entropy, negative_margin
from bantamweight.attacks._smallest import smallest_eps
from bantamweight.attacks.fgsm import fgsm
from bantamweight.attacks.pgd import pgd
from bantamweight.oracle import Query, margin, oracle
from bantamweight.threats import l2, linf
from tests.attacks.nets import grey_images, images_in_box, linear

NORMS = {"linf": linf, "l2": l2}
DUAL = {"linf": 1, "l2": 2}
# With a step of the whole budget PGD reaches the optimum of a linear model; with Madry's it comes within a percent.
ATTACKS = {"fgsm": fgsm, "pgd": lambda threat: pgd(threat, rate=threat.eps)}


def margins(model, images, labels, targets=None):
    aims = torch.full_like(labels, -1) if targets is None else targets
    return margin(model(images), labels, aims).detach()


def halfway(norm, model, images, labels):
    """The threat whose budget breaks about half of the images."""
    dual = (model.layer.weight[0] - model.layer.weight[1]).norm(p=DUAL[norm])
    return NORMS[norm](eps=float(margins(model, images, labels).median() / dual))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ATTACKS)
def test_two_classes_are_broken_exactly_when_the_closed_form_says(name, norm):
    model, images = linear(), grey_images(200)
    labels = model(images).argmax(dim=1)
    threat = halfway(norm, model, images, labels)
    reach = threat.eps * (model.layer.weight[0] - model.layer.weight[1]).norm(p=DUAL[norm])
    before = margins(model, images, labels)
    verdicts = run(ATTACKS[name](threat), oracle(model, fold=False), images, labels, threat, until="budget")
    breakable = (before < reach).numpy()
    clear = ((before - reach).abs() > 1e-4).numpy()
    assert 50 < breakable.sum() < 150, "the example must have both outcomes"
    assert (verdicts["success"] == breakable)[clear].all()
    # Where it is not broken, the stored image is the best there is: its margin fell by the full reach.
    kept = clear & ~breakable
    assert torch.allclose(torch.tensor(verdicts["margin"])[kept], (before - reach)[kept], atol=1e-4)


@pytest.mark.parametrize("norm", NORMS)
def test_a_targeted_attack_on_three_classes_raises_the_target(norm):
    model, images = linear(classes=3, seed=3), grey_images(64, seed=4)
    labels = model(images).argmax(dim=1)
    targets = (labels + 1) % 3
    apart = (model.layer.weight[labels] - model.layer.weight[targets]).norm(p=DUAL[norm], dim=1)
    threat = NORMS[norm](eps=float((margins(model, images, labels, targets) / apart).median()))
    verdicts = run(pgd(threat), oracle(model, fold=False), images, labels, threat, targets=targets, until="budget")
    after = margins(model, verdicts.images, labels, targets)
    assert (after < margins(model, images, labels, targets) - 1e-3).all()
    won = model(verdicts.images).argmax(dim=1) == targets
    assert (won.numpy() == verdicts["success"]).all()
    assert 10 < won.sum() < 54


def test_cross_entropy_is_torch_s_and_keeps_its_direction_where_torch_s_rounds_to_zero():
    logits = torch.tensor([[2.0, 1.0, -1.0], [40.0, 0.0, -3.0]], dtype=torch.float32, requires_grad=True)
    labels, none = torch.tensor([0, 0]), torch.tensor([-1, -1])
    ours = cross_entropy(logits, labels, none)
    exact = torch.nn.functional.cross_entropy(logits.double(), labels, reduction="none")
    assert torch.allclose(ours.double(), exact, rtol=1e-5)
    (gradient,) = torch.autograd.grad(ours.sum(), logits, retain_graph=True)
    (wanted,) = torch.autograd.grad(exact.sum(), logits)
    assert torch.allclose(gradient, wanted, rtol=1e-4)
    assert gradient[1, 0] < 0
    assert torch.equal(cross_entropy(logits, none, labels), -ours)


def test_the_box_binds_where_pixels_are_black_or_white():
    model = linear(pixels=192)
    images = images_in_box(32).round()
    labels = model(images).argmax(dim=1)
    threat = linf(eps=0.25)
    verdicts = run(fgsm(threat), oracle(model, fold=False), images, labels, threat, until="budget")
    weights = (model.layer.weight[labels] - model.layer.weight[1 - labels]).reshape(images.shape)
    best = (images - 0.25 * weights.sign()).clamp(0, 1)
    assert torch.allclose(torch.tensor(verdicts["margin"]), margins(model, best, labels), atol=1e-4)


def test_queries_are_dated_and_counted():
    model, images = linear(), grey_images(100)
    labels = model(images).argmax(dim=1)
    threat = halfway("linf", model, images, labels)
    verdicts = run(pgd(threat, steps=7, start="clean"), oracle(model, fold=False), images, labels, threat)
    broken = verdicts["success"]
    # A broken row stops at once: as many forwards as points seen, one gradient for each point before the last.
    assert (verdicts["forwards"][broken] == verdicts["query"][broken] + 1).all()
    assert (verdicts["query"][broken] >= 1).all()
    assert (verdicts["forwards"][~broken] == 8).all()
    assert (verdicts["backwards"][~broken] == 7).all()
    # The step is 2.5 eps / 7: the first point that can be adversarial follows from the margin.
    slope = (model.layer.weight[0] - model.layer.weight[1]).abs().sum()
    needed = torch.ceil(margins(model, images, labels) / (slope * threat.eps * 2.5 / 7) + 1e-6)
    assert (torch.tensor(verdicts["query"])[broken] == needed[broken]).float().mean() > 0.98


def bisection(threat, rounds=20):
    """A minimum-norm attack for the test: bisect along the steepest direction."""

    def init(rows):
        return {"low": torch.zeros_like(rows.eps), "high": 2 * rows.eps, "way": torch.zeros_like(rows.images)}

    def ask(rows, state):
        middle = (state["low"] + state["high"]) / 2
        moved = rows.images + middle[:, None, None, None] * state["way"]
        return Query(moved, "gradient", negative_margin, rows.step == 0)

    def tell(rows, state, answer):
        if answer.gradient is not None:
            first = (rows.step == 0)[:, None, None, None]
            way = torch.where(first, threat.norm.steepest(answer.gradient, rows.images), state["way"])
        else:
            way = state["way"]
        middle, started = (state["low"] + state["high"]) / 2, rows.step > 0
        broken = margin(answer.logits, rows.labels, rows.targets) < 0
        high = torch.where(started & broken, middle, state["high"])
        low = torch.where(started & ~broken, middle, state["low"])
        return {"low": low, "high": high, "way": way}

    return Attack("bisection", rounds, init, ask, tell)


@pytest.mark.parametrize("norm", NORMS)
def test_converged_keeps_the_smallest_success(norm):
    model, images = linear(), grey_images(50)
    labels = model(images).argmax(dim=1)
    threat = halfway(norm, model, images, labels)
    verdicts = run(
        bisection(threat),
        oracle(model, fold=False),
        images,
        labels,
        threat,
        until="converged",
        eps=2 * threat.budgets(50),
    )
    dual = (model.layer.weight[0] - model.layer.weight[1]).norm(p=DUAL[norm])
    exact = margins(model, images, labels) / dual
    inside = (exact < 2 * threat.eps * 0.99).numpy() & (exact > 1e-4).numpy()
    assert inside.sum() > 20
    found = torch.tensor(verdicts[f"size_{norm}"])
    assert verdicts["success"][inside].all()
    assert torch.allclose(found[inside], exact[inside], rtol=2e-2, atol=1e-5)
    assert (found[inside] >= exact[inside] * 0.999).all()


@pytest.mark.parametrize("norm", NORMS)
def test_the_smallest_budget_is_the_distance_to_the_boundary(norm):
    model, images = linear(), grey_images(60)
    labels = model(images).argmax(dim=1)
    labels[:5] = 1 - labels[:5]
    exact = margins(model, images, labels) / (model.layer.weight[0] - model.layer.weight[1]).norm(p=DUAL[norm])
    threat = NORMS[norm](eps=float(exact.median()))
    found = torch.tensor(smallest_eps(fgsm(threat), oracle(model, fold=False), images, labels, threat, rounds=10))
    within = (exact > 0) & (exact < threat.eps * 0.999)
    assert 10 < within.sum() < 50
    assert (found[:5] == 0).all()
    assert found[exact > threat.eps * 1.001].isinf().all()
    assert torch.allclose(found[within].float(), exact[within], atol=threat.eps / 1000)
    assert (found[within].float() >= exact[within] - 1e-6).all()
