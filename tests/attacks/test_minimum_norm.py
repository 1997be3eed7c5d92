"""Minimum-norm attacks against closed forms: on a linear model the distance to the boundary is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bantamweight.attacks import cw as cw_file
from bantamweight.attacks import deepfool as deepfool_file
from bantamweight.attacks import fmn as fmn_file
from bantamweight.attacks._core import run
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, margin, oracle
from bantamweight.parts import configure
from bantamweight.threats import NORMS, Threat
from tests.attacks.exact import distances
from tests.attacks.nets import Convolutional, grey_images, images_in_box, linear, rows_of
from tests.attacks.test_batch import same

CASES = {
    # Attack, settings, norm; how far above the truth the median may be, and the worst row between two classes.
    "ddn": ("ddn", {}, "l2", 1.02, 1.06),
    "ddn-8bit": ("ddn", {"levels": 256}, "l2", 1.03, 1.6),
    "fmn-l0": ("fmn", {}, "l0", 1.5, 1.0),
    "fmn-l1": ("fmn", {}, "l1", 1.05, 1.02),
    "fmn-l2": ("fmn", {}, "l2", 1.002, 1.005),
    "fmn-linf": ("fmn", {}, "linf", 1.002, 1.005),
    "deepfool-l2": ("deepfool", {}, "l2", 1.021, 1.021),
    "deepfool-linf": ("deepfool", {}, "linf", 1.021, 1.021),
    "cw-l2": ("cw", {"steps": 150, "rounds": 6, "const": 0.05}, "l2", 1.01, 1.15),
    "cw-linf": ("cw", {"steps": 60, "const": 0.01}, "linf", 1.06, 1.1),
    "fab-l1": ("fab", {"steps": 10}, "l1", 1.001, 1.001),
    "fab-l2": ("fab", {"steps": 10}, "l2", 1.001, 1.001),
    "fab-linf": ("fab", {"steps": 10}, "linf", 1.001, 1.001),
    "fab_t-l1": ("fab_t", {"steps": 10}, "l1", 1.001, 1.001),
    "fab_t-l2": ("fab_t", {"steps": 10}, "l2", 1.001, 1.001),
    "fab_t-linf": ("fab_t", {"steps": 10}, "linf", 1.001, 1.001),
}


def attack(name, norm, **settings):
    threat = Threat(NORMS[norm], math.inf)
    return configure("attacks", {"use": name, **settings}).make(threat), threat


def found(case, model, images, labels, **given):
    name, settings, norm, *_ = CASES[case]
    made, threat = attack(name, norm, **settings)
    return run(made, oracle(model, fold=False), images, labels, threat, until="converged", **given)


def corners(count):
    return images_in_box(count, (3, 4, 4)).round()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("images", [grey_images(24, seed=1), corners(24)], ids=["grey", "corners"])
def test_the_distance_to_the_nearest_hyperplane(case, classes, images):
    """Grey images have room on all sides; of black and white ones every pixel can go one way only."""
    model = linear(classes=classes, seed=classes)
    labels = model(images).argmax(dim=1)
    verdicts = found(case, model, images, labels)
    *_, norm, median, worst = CASES[case]
    exact = distances(norm, model, images, labels)
    assert verdicts["success"][exact.isfinite()].all()
    apart = exact.isfinite() & (exact > 1e-3)
    size = torch.tensor(verdicts[f"size_{norm}"])[apart]
    assert len(size) > 20
    assert float((size / exact[apart]).min()) > 1.0 - 1e-4, "nothing is nearer than the boundary"
    # DeepFool aims a fixed length past the boundary; twice that where the box lets half of the pixels move.
    ratio = (size - (2.5 * deepfool_file.BEYOND if CASES[case][0] == "deepfool" else 0.0)) / exact[apart]
    assert float(ratio.median()) <= median
    # Between several classes an attack may go for the second nearest.
    assert float(ratio.max()) <= (worst if classes == 2 else 1.5)


@pytest.mark.parametrize("case", CASES)
def test_a_target_is_reached_no_farther_than_it_is(case):
    """Seen from the label the target's region begins no nearer than the boundary between the two."""
    model, images = linear(classes=3, seed=5), grey_images(24, seed=2)
    labels = model(images).argmax(dim=1)
    targets = (labels + 1) % 3
    verdicts = found(case, model, images, labels, targets=targets)
    hit = model(verdicts.images).argmax(dim=1) == targets
    assert verdicts["success"].all()
    assert hit.all()
    norm = CASES[case][2]
    size, untargeted = torch.tensor(verdicts[f"size_{norm}"]), distances(norm, model, images, labels)
    assert (size >= untargeted * (1 - 1e-4)).all()
    assert float((size / half_spaces(norm, model, images, labels, targets)).median()) <= max(1.1, CASES[case][3])


def half_spaces(norm, model, images, labels, targets):
    """The distance to the target's boundary with the label alone."""
    found = []
    for image, label, target in zip(images, labels, targets, strict=True):
        pair = linear()
        pair.layer.weight.data = model.layer.weight[[int(label), int(target)]]
        pair.layer.bias.data = model.layer.bias[[int(label), int(target)]]
        found.append(distances(norm, pair, image[None], torch.tensor([0])))
    return torch.cat(found)


@pytest.fixture(scope="module")
def scene():
    model, images = Convolutional().eval(), images_in_box(20, (3, 9, 9))
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)


SHORT = {
    "ddn": {"steps": 8},
    "ddn-8bit": {"steps": 8, "levels": 256},
    "cw-l2": {"steps": 8, "rounds": 2, "const": 1.0},
    "cw-linf": {"steps": 6, "const": 1.0, "shrink": 0.5},
    "deepfool-l2": {},
    "deepfool-linf": {},
    "fab-linf": {"steps": 4, "restarts": 2},
    "fab_t-l1": {"steps": 3, "targets": 2},
    **{f"fmn-{norm}": {"steps": 8} for norm in NORMS},
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("case", SHORT)
def test_batch_order_and_shards_change_nothing(scene, case, precision):
    model, images, labels = scene
    made, threat = attack(CASES[case][0], CASES[case][2], **SHORT[case])

    def verdicts(rows, batch=64):
        asked = oracle(model, precision=precision)
        return run(made, asked, images[rows], labels[rows], threat, until="converged", batch=batch)

    whole, order = verdicts(torch.arange(20)), torch.arange(19, -1, -1)
    assert whole["success"].any()
    same(whole, verdicts(torch.arange(20), batch=3))
    same(whole, verdicts(order, batch=7), order)
    same(whole, verdicts(order[::2]), order[::2])


def test_quantized_ddn_finds_pictures(scene):
    model, images, labels = scene
    images = torch.round(images * 255) / 255
    made, threat = attack("ddn", "l2", steps=30, levels=256)
    verdicts = run(made, oracle(model), images, labels, threat, until="converged")
    assert verdicts["survives_8bit"][verdicts["success"]].all()
    assert torch.equal(verdicts.images, torch.round(verdicts.images * 255) / 255)


@pytest.mark.parametrize("norm", NORMS)
def test_fmn_from_an_adversarial_start(norm):
    """From the corner of the box where the label is worst off; rows that start at the image itself search nothing."""
    model, images = linear(classes=2, seed=2), grey_images(40, seed=1)
    labels = model(images).argmax(dim=1)
    other = ((model.layer.weight[1 - labels] - model.layer.weight[labels]) > 0).float().reshape(images.shape)
    starts = torch.where((torch.arange(40) % 2 == 0)[:, None, None, None], other, images)
    made, threat = attack("fmn", norm, steps=60)
    verdicts = run(made, oracle(model, fold=False), images, labels, threat, until="converged", starts=starts)
    exact = distances(norm, model, images, labels)
    assert verdicts["success"].all()
    assert float((torch.tensor(verdicts[f"size_{norm}"]) / exact).max()) <= (2.0 if norm == "l0" else 1.05)
    assert (verdicts["forwards"].reshape(20, 2) == [70, 60]).all()
    assert (verdicts["query"][::2] <= 10).all(), "the search itself finds the boundary"


def test_fmn_does_not_stay_on_the_boundary():
    """A gap of exactly zero is neither a success nor a distance to go."""
    images, labels = torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.int64)

    class Step(torch.nn.Module):
        def forward(self, images):
            first = images[:, 0, 0, 0]
            return torch.stack([torch.full_like(first, 0.25), first - 0.5], dim=1)

    made, threat = attack("fmn", "l1")
    verdicts = run(made, oracle(Step(), fold=False), images, labels, threat, until="converged")
    assert verdicts["success"].all()
    assert verdicts["size_l1"].max() < 0.26


def test_deepfool_crosses_a_boundary_it_stands_on():
    """A margin of exactly zero is no success, and the boundary no distance away."""
    images, labels = torch.full((8, 1, 8, 8), 0.5), torch.zeros(8, dtype=torch.int64)

    class Tied(nn.Module):
        def forward(self, images):
            over = images[:, 0, 0, 0] - 0.5
            return torch.stack([torch.zeros_like(over), over], dim=1)

    for norm in ("l2", "linf"):
        made, threat = attack("deepfool", norm, steps=3)
        verdicts = run(made, oracle(Tied(), fold=False), images, labels, threat, until="converged")
        assert verdicts["success"].all()
        assert verdicts[f"size_{norm}"].max() < 2e-4


def test_deepfool_stops_at_the_first_adversarial_point():
    model, images = linear(classes=4, seed=4), grey_images(24, seed=1)
    labels = model(images).argmax(dim=1)
    verdicts = found("deepfool-l2", model, images, labels)
    assert (verdicts["forwards"] == 2).all()
    assert (verdicts["backwards"] == 8).all(), "four classes, two points"


def test_the_final_search_of_fab_comes_closer(scene):
    model, images, labels = scene
    sizes = []
    for search in (0, 3):
        made, threat = attack("fab", "l2", steps=3, search=search)
        sizes.append(run(made, oracle(model), images, labels, threat, until="converged")["size_l2"])
    assert (sizes[1] <= sizes[0]).all()
    assert (sizes[1] < sizes[0]).mean() > 0.5


def test_fab_t_needs_one_backward_a_step_and_no_lane_for_classes_that_are_not_there():
    model, images = linear(classes=3, seed=3), grey_images(10, seed=1)
    labels = model(images).argmax(dim=1)
    made, threat = attack("fab_t", "l2", steps=4, search=0)
    verdicts = run(made, oracle(model, fold=False), images, labels, threat, until="converged")
    assert (verdicts["backwards"] == 2 * 4).all()
    assert (verdicts["forwards"] == 2 * 8).all()


def test_a_margin_asked_of_cw_is_a_margin_kept():
    model, images = linear(classes=4, seed=4), grey_images(12, seed=1)
    labels = model(images).argmax(dim=1)
    none = torch.full_like(labels, -1)
    for norm in ("l2", "linf"):
        made, threat = attack("cw", norm, steps=150, rounds=5, const=0.1, shrink=0.8, kappa=1.0)
        verdicts = run(made, oracle(model, fold=False), images, labels, threat, until="converged")
        assert verdicts["success"].all()
        assert float(margin(model(verdicts.images), labels, none).max()) <= -1.0


@pytest.mark.parametrize(
    ("name", "norm", "settings", "message"),
    [
        ("ddn", "linf", {}, "ddn is defined for l2, got linf"),
        ("cw", "l1", {}, "cw is defined for l2, linf, got l1"),
        ("fab", "l0", {}, "fab is defined for linf, l2, l1, got l0"),
        ("ddn", "l2", {"gamma": 1.5}, "gamma between 0 and 1"),
        ("fmn", "l1", {"steps": 0}, "expected steps >= 1"),
        ("cw", "l2", {"rate": -1.0}, "expected rate and const above 0"),
        ("fab_t", "l2", {"targets": 0}, "other classes=0"),
        ("deepfool", "l2", {"overshoot": -0.1}, "overshoot >= 0"),
    ],
)
def test_what_is_not_defined_is_refused_in_one_sentence(name, norm, settings, message):
    with pytest.raises(InputError, match=message):
        attack(name, norm, **settings)


class Rooted(nn.Module):
    """Squares of square roots: the image itself, with a slope that is no number where a pixel is black."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, images):
        return self.inner(images.sqrt().square())


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("ddn", {"steps": 60}),
        ("fmn", {"steps": 60}),
        ("deepfool", {}),
        ("cw", {"steps": 80, "rounds": 2, "const": 10.0}),
        ("fab_t", {"steps": 10}),
        ("pgd", {"steps": 20}),
    ],
)
def test_a_slope_that_is_no_number_loses_no_image(name, settings):
    inner, images = Convolutional().eval(), images_in_box(12, (3, 9, 9))
    images[:, :, :2] = 0.0
    labels = inner(images).argmax(dim=1)
    threat = Threat(NORMS["l2"], 3.0 if name == "pgd" else math.inf)
    made = configure("attacks", {"use": name, **settings}).make(threat)
    until = "first" if name == "pgd" else "converged"
    for net in (inner, Rooted(inner)):
        assert run(made, oracle(net), images, labels, threat, until=until)["success"].all(), type(net)


@pytest.mark.parametrize(
    ("name", "norm", "settings", "most"),
    [
        ("ddn", "l2", {"steps": 40}, 1.00001),
        ("fmn", "l2", {"steps": 20, "gamma_last": 0.05}, 1.00001),
        ("fmn", "linf", {"steps": 20, "gamma_last": 0.05}, 1.001),
        ("fmn", "l1", {"steps": 20, "gamma_last": 0.05}, 1.02),
    ],
)
def test_the_last_steps_go_straight_to_the_boundary(name, norm, settings, most):
    """`most` is how far from the image the walk's direction lets the boundary be, of the shortest distance."""
    model, images = linear(), grey_images(24)
    labels = model(images).argmax(dim=1)
    exact = distances(norm, model, images, labels)
    worst, beyond = [], []
    for search in (0, 10):
        made, threat = attack(name, norm, search=search, **settings)
        verdicts = run(made, oracle(model, fold=False), images, labels, threat, until="converged")
        assert (verdicts["forwards"] == settings["steps"]).all(), "the search is part of the steps"
        worst.append(float((torch.tensor(verdicts[f"size_{norm}"]) / exact).max()))
        beyond.append(-float(margin(model(verdicts.images), labels, torch.full_like(labels, -1)).min()))
    assert beyond[1] < 1e-4 < 0.01 < beyond[0]
    assert worst[1] < most < worst[0]


def test_fmn_never_looks_farther_than_where_it_has_been():
    radius, change, broken = torch.tensor([1.0, 1.0, 1.0]), torch.full((3,), 0.1), torch.tensor([True, True, False])
    best = torch.tensor([0.5, 2.0, 0.5])
    assert fmn_file._continuous(radius, change, broken, best).tolist() == pytest.approx([0.5, 0.9, 1.1])
    counted = fmn_file._counted(torch.tensor([9.0, 9.0, 1.0]), change, broken, torch.tensor([3.0, 20.0, 5.0]))
    assert counted.tolist() == [3.0, 8.0, 2.0]


def test_a_success_of_cw_draws_the_threshold_below_what_it_reached():
    hit, state = torch.tensor([True, True, False]), {"threshold": torch.tensor([1.0, 0.2, 1.0])}
    state |= {"hit": hit, "best": torch.tensor([0.5, 0.5, 0.5]), "const": torch.ones(3)}
    turned = cw_file._linf(100, 9, 0.9).turn(state)
    assert turned["threshold"].tolist() == pytest.approx([0.45, 0.18, 1.0])
    assert turned["const"].tolist() == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("broken", [True, False])
def test_fab_steps_back_towards_the_image_from_beyond_the_boundary(broken):
    images = grey_images(2)
    made, _ = attack("fab", "l2", steps=5)
    away = images + 0.1
    state = {**made.init(rows_of(images)), "points": away}
    logits = torch.tensor([[0.0, 1.0], [0.0, 1.0]]) * (1.0 if broken else -1.0)
    nothing = torch.zeros(2, dtype=torch.int64)
    told = made.tell(rows_of(images, step=1), state, Answer(logits.argmax(dim=1), logits, None, nothing, nothing))
    wanted = torch.lerp(images, away, 0.9) if broken else away
    assert torch.allclose(told["points"], wanted)
