"""What holds of every run, whatever the net, the images, the budget and the seed: drawn scenes, small ones first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.attacks._core import run
from bantamweight.errors import InputError
from bantamweight.oracle import margin, oracle
from bantamweight.parts import configure, names
from bantamweight.threats import NORMS, TOLERANCE, Threat, sizes
from tests.attacks.nets import linear

# Enough of the long attacks to go through each of their phases once.
SHORT = {
    "apgd": {"steps": 6},
    "apgd_t": {"steps": 6, "classes": 3},
    "boundary": {"steps": 20, "draws": 6},
    "cw": {"steps": 6, "rounds": 2, "const": 0.5, "shrink": 0.5},
    "ddn": {"steps": 8},
    "deepfool": {"steps": 5},
    "fab": {"steps": 4},
    "fab_t": {"steps": 4, "targets": 3},
    "fmn": {"steps": 8},
    "hop_skip_jump": {"steps": 2, "evaluations": 5, "draws": 6},
    "mi_fgsm": {"steps": 4},
    "pgd": {"steps": 4, "restarts": 2},
    "pma": {"steps": 6},
    "square": {"queries": 15},
}
CLOSE = 1e-4
"""Logits of the same net computed in batches of other sizes differ by less."""
FEW = settings(max_examples=5, deadline=None, derandomize=True)


def made(name, threat):
    return configure("attacks", {"use": name, **SHORT.get(name, {})}).make(threat)


def defined(name, norm, eps=1.0):
    """Whether the attack has a form for the norm, or for no budget; one that raises for another reason counts."""
    try:
        made(name, Threat(norm, eps))
    except InputError as error:
        return (norm.name if math.isfinite(eps) else "needs an eps") not in str(error)
    return True


PAIRS = [(name, norm) for name in names("attacks") for norm in NORMS.values() if defined(name, norm)]
EVERY = pytest.mark.parametrize(("name", "norm"), PAIRS, ids=[f"{name}-{norm.name}" for name, norm in PAIRS])


class Convolution(nn.Module):
    """One convolution, pooled, and a linear layer; no class is far ahead on noise."""

    def __init__(self, channels: int, classes: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.body = nn.Sequential(
                nn.Conv2d(channels, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
            )
            self.head = nn.Linear(16, classes)
            nn.init.normal_(self.head.weight)
            with torch.no_grad():
                self.head.bias -= self(torch.rand(32, channels, 6, 6)).mean(dim=0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


@dataclass(frozen=True)
class Scene:
    """A run's arguments, small enough to be printed whole."""

    rows: int
    shape: tuple[int, int, int]
    classes: int
    conv: bool
    share: float
    seed: int
    until: str
    targeted: bool
    precision: str = "fp32"

    def draw(self, *words):
        return torch.Generator().manual_seed(rng.stream(self.seed, *words))

    def net(self):
        seed, pixels = rng.stream(self.seed, "net"), math.prod(self.shape)
        # Rows that are no multiple of 16 bytes long begin at different places of a vector register, and a matrix
        # product rounds by that: such a linear net gives an image other last bits in another place of the batch.
        if self.conv or pixels % 4:
            return Convolution(self.shape[0], self.classes, seed)
        return linear(self.classes, pixels, seed)

    def images(self):
        """Noise, of which a fifth of the pixels lies at either end of the box."""
        return (1.4 * torch.rand(self.rows, *self.shape, generator=self.draw("images")) - 0.2).clamp(0, 1)

    def labels(self, net):
        """What the net says, but for every fifth image, which it gets wrong."""
        with torch.no_grad():
            said = net(self.images()).argmax(dim=1)
        return torch.where(torch.arange(self.rows) % 5 == 1, (said + 1) % self.classes, said)

    def targets(self):
        """Any class, an image's own too."""
        drawn = torch.randint(self.classes, (self.rows,), generator=self.draw("targets"))
        return drawn if self.targeted else None

    def threat(self, norm):
        """A share of the most that the box allows; at least a pixel in L0."""
        most = norm.largest(self.shape)
        return Threat(norm, max(1.0, math.floor(self.share * most)) if norm.name == "l0" else self.share * most)


SCENES = st.builds(
    Scene,
    rows=st.integers(1, 12),
    shape=st.tuples(st.integers(1, 3), st.integers(4, 9), st.integers(4, 9)),
    classes=st.integers(2, 5),
    conv=st.booleans(),
    share=st.floats(0.002, 0.5),
    seed=st.integers(0, 2**16),
    until=st.sampled_from(["first", "budget", "converged"]),
    targeted=st.booleans(),
    precision=st.sampled_from(["fp32", "bf16"]),
)


def ran(scene, name, threat, index=slice(None), batch=256):
    """Verdicts of an attack on some of a scene's images, and the oracle that was asked."""
    net = scene.net().eval()
    labels, targets = scene.labels(net)[index], scene.targets()
    asked = oracle(net, precision=scene.precision)
    verdicts = run(
        made(name, threat), asked, scene.images()[index], labels, threat, until=scene.until, seed=scene.seed,
        targets=None if targets is None else targets[index], batch=batch,
    )  # fmt: skip
    return verdicts, asked


def respects(scene, norm, eps, verdicts):
    """Ball, box, and sizes that are those of the images."""
    delta = verdicts.images - scene.images()
    assert (norm.size(delta) <= eps + TOLERANCE * max(1.0, eps)).all()
    assert 0.0 <= float(verdicts.images.min()) <= float(verdicts.images.max()) <= 1.0
    for name, size in sizes(delta).items():
        assert torch.equal(torch.from_numpy(verdicts[f"size_{name}"]), size)


def agrees(scene, norm, eps, verdicts):
    """What the columns say is what the float32 net says of the image before and after."""
    net = scene.net().eval()
    labels, targets = scene.labels(net), scene.targets()
    wanted = torch.full_like(labels, -1) if targets is None else targets
    columns = {name: torch.from_numpy(values) for name, values in verdicts.columns.items()}
    with torch.no_grad():
        before, after = net(scene.images()), net(verdicts.images)
        eight_bits = torch.round(verdicts.images * 255.0) / 255.0
        rounded = margin(net(eight_bits), labels, wanted)
    assert torch.equal(columns["label"], labels)
    assert torch.equal(columns["target"], wanted)
    assert torch.equal(columns["clean"], before.argmax(dim=1))
    assert torch.equal(columns["right"], columns["clean"] == labels)
    assert torch.equal(columns["attacked"], columns["right"] & (wanted != labels)), "who is wrong already is left alone"
    gap = margin(after, labels, wanted)
    assert torch.allclose(columns["margin"], gap, atol=CLOSE)
    hit = columns["adversarial"] == wanted if scene.targeted else columns["adversarial"] != labels
    assert torch.equal(columns["success"], columns["attacked"] & hit)
    assert not columns["success"][gap > CLOSE].any()
    assert columns["success"][columns["attacked"] & (gap < -CLOSE)].all()
    best = after.topk(2, dim=1)
    clear = best.values[:, 0] - best.values[:, 1] > CLOSE
    assert torch.equal(columns["adversarial"][clear], best.indices[clear, 0])
    assert torch.equal(columns["near"], columns["margin"].abs() < CLOSE)
    assert not columns["survives_8bit"][~columns["success"] | (rounded > CLOSE)].any()
    within = norm.size(eight_bits - scene.images()) <= eps + TOLERANCE * max(1.0, eps)
    assert torch.equal(columns["survives_8bit"] & within, columns["survives_8bit"])
    assert columns["survives_8bit"][columns["success"] & within & (rounded < -CLOSE)].all()
    assert torch.allclose(columns["confidence"], after.softmax(dim=1).amax(dim=1), atol=CLOSE)
    left = ~columns["attacked"] if scene.until != "converged" else ~columns["success"]
    assert torch.equal(verdicts.images[left], scene.images()[left]), "where nothing was found there is nothing to show"


def counts(scene, attack, verdicts, ledger):
    """Queries are counted, by the row and by the ledger, and none that the access does not allow."""
    asked, forwards, backwards = verdicts["attacked"], verdicts["forwards"], verdicts["backwards"]
    assert ((forwards > 0) == asked).all()
    assert (forwards <= attack.lanes * attack.queries).all()
    assert (backwards >= 0).all()
    assert (backwards <= scene.classes * forwards).all()
    assert ((verdicts["query"] >= 0) == verdicts["success"]).all()
    assert (verdicts["query"] < forwards)[asked].all()
    assert ledger.forwards >= forwards.sum()
    assert ledger.backwards >= backwards.sum()
    if attack.lanes == 1:
        assert ledger.forwards == forwards.sum()
    if attack.access != "white":
        assert ledger.backwards == 0


@EVERY
@given(scene=SCENES)
@FEW
def test_what_a_run_returns_is_within_the_threat_true_and_counted(name, norm, scene):
    threat = scene.threat(norm)
    verdicts, asked = ran(scene, name, threat)
    respects(scene, norm, threat.eps, verdicts)
    agrees(scene, norm, threat.eps, verdicts)
    counts(scene, made(name, threat), verdicts, asked.ledger)


@pytest.mark.parametrize(
    ("name", "norm"), [pair for pair in PAIRS if defined(*pair, math.inf)], ids=lambda part: getattr(part, "name", part)
)
@given(scene=SCENES)
@settings(FEW, max_examples=3)
def test_without_a_budget_only_the_box_is_respected(name, norm, scene):
    threat = Threat(norm, math.inf)
    verdicts, asked = ran(scene, name, threat)
    respects(scene, norm, math.inf, verdicts)
    agrees(scene, norm, threat.eps, verdicts)
    counts(scene, made(name, threat), verdicts, asked.ledger)


def same(verdicts, other, index):
    """The rows of `verdicts` that `index` names are those of `other`, to the bit."""
    assert torch.equal(verdicts.images[index], other.images)
    for column in verdicts.columns:
        assert (verdicts[column][index.numpy()] == other[column]).all(), column


@EVERY
@given(scene=SCENES)
@settings(FEW, max_examples=3)
def test_neither_a_second_run_nor_another_order_nor_other_company_changes_a_bit(name, norm, scene):
    threat = scene.threat(norm)
    verdicts, _ = ran(scene, name, threat)
    order = torch.randperm(scene.rows, generator=scene.draw("order"))
    same(verdicts, ran(scene, name, threat, order)[0], order)
    some = order[: (scene.rows + 1) // 2]
    same(verdicts, ran(scene, name, threat, some, batch=3)[0], some)


@EVERY
@given(scene=SCENES)
@settings(FEW, max_examples=2)
def test_nothing_that_is_passed_in_is_changed(name, norm, scene):
    threat, net, state = scene.threat(norm), scene.net(), torch.get_rng_state()
    images, labels, targets = scene.images(), scene.labels(net), scene.targets()
    clean, starts = net(images).detach(), (0.5 * images + 0.25).contiguous()
    given = {"images": images, "labels": labels, "clean": clean, "starts": starts, **net.state_dict()}
    given |= {} if targets is None else {"targets": targets}
    kept = {key: value.clone() for key, value in given.items()}
    run(
        made(name, threat), oracle(net), images, labels, threat, targets=targets, until=scene.until, seed=scene.seed,
        clean=clean, starts=starts,
    )  # fmt: skip
    assert all(torch.equal(value, kept[key]) for key, value in given.items())
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training
    assert all(weight.grad is None for weight in net.parameters())
