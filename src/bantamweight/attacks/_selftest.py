"""Can this attack find an adversarial point that is known to be there? (Zimmermann, Brendel, Tramer and Carlini 2022,
"Increasing confidence in adversarial robustness evaluations".)"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from bantamweight import rng, stats
from bantamweight.attacks._cascade import Cascade, cascade, fall
from bantamweight.attacks._core import Attack, run
from bantamweight.attacks.checks.random_draws import draws
from bantamweight.errors import InputError
from bantamweight.oracle import Oracle, Precision, oracle
from bantamweight.predict import tiles
from bantamweight.threats import Threat
from bantamweight.types import Float, Images, Labels, Tensor

__all__ = ["SelfTest", "self_test"]

TRIES = 5
CLOSENESS = 0.999
"""How far from the last inner point to the planted one the decision boundary lies (the authors' setting)."""
RIDGES = (1e-6, 1e-3, 1e-1)
MOST = 999
LUCK = 200
"""Random draws that show how hard the task is (the authors' setting)."""
BEYOND_LUCK = 5
"""Points that luck must miss. An attack that found them all, and they were fewer, could not be told from luck: the
exact sign test of 4 points found by one only has p = 1/16, that of 5 has 1/32."""


@dataclass(frozen=True)
class SelfTest:
    """On how many images a point was planted, and on how many of these the attack, or luck alone, found one.

    `asked` counts the images tried; on the others no plane through the features parts the planted point from the
    inner ones, or the model answers at random.
    """

    asked: int
    planted: int
    found: int
    lucky: int

    @property
    def share(self) -> float:
        """Of the planted ones; an attack that is to be believed finds nearly all."""
        return self.found / self.planted if self.planted else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the share."""
        low, high = stats.wilson(self.found, self.planted)[:2] if self.planted else (0.0, 1.0)
        return float(low), float(high)

    @property
    def telling(self) -> bool:
        """Whether the points were hard enough: luck finds at most half of them, and misses at least five."""
        return not self.doubt

    @property
    def doubt(self) -> str:
        """Why finding the points proves nothing; empty where it does."""
        if 2 * self.lucky > self.planted:
            return "random draws find most of the points too"
        if self.planted - self.lucky < BEYOND_LUCK:
            missed = self.planted - self.lucky
            return f"random draws miss {missed} of the points, and {BEYOND_LUCK} at least tell an attack from luck"
        return ""

    def __str__(self) -> str:
        """`found 61 of 64 planted adversarial points (200 random draws find 2)`."""
        said = f"found {self.found} of {self.planted} planted adversarial points"
        return f"{said} ({LUCK} random draws find {self.lucky})"


def self_test(
    module: nn.Module,
    images: Images,
    labels: Labels,
    threat: Threat,
    attack: Attack | Cascade,
    *,
    n: int = 64,
    inner: int | None = None,
    surrogate: nn.Module | None = None,
    precision: Precision = "fp32",
    seed: int = 0,
) -> SelfTest:
    """Give the model a new last layer on each image, under which one known point of the ball is adversarial; attack it.

    Choose it to judge an evaluation, not a model: an attack that misses planted points would miss others too. The new
    layer tells `inner` random points of the ball from one on its edge, by the input of the model's last linear layer,
    which is found by itself; what comes before and after that layer stays, where it takes two classes. With as many
    inner points as features (at most 999, the authors' number; the default) a plane between them exists; with more the
    planted point is harder to find. `surrogate` gives gradients in place of the model (`bpda`) and `precision` is that
    of gradients, both as for an oracle. Looks at `n` images that the model gets right, chosen by content. Costs `inner`
    + 200 forwards per image and the attack. Nothing passed in is changed. Raises InputError for a model without a last
    linear layer.
    """
    if n < 1 or (inner is not None and inner < 1):
        raise InputError(f"expected at least 1 image and 1 inner point, got n={n}, inner={inner}")
    with torch.random.fork_rng(devices=[]):
        own = copy.deepcopy(module).eval().requires_grad_(False)
        name = _readout(own, images[:8])
        rows = _chosen(own, images, labels, n, seed)
        features = _Features(own, name)
        stand_in = None if surrogate is None else _binary(surrogate, name, images[:8])
        # Not fused: the last layer is another one for each image.
        whole = _binary(own, name, images[:8])
        binary = oracle(whole, precision=precision, fold=False, fuse=False, surrogate=stand_in)
        inner = min(_linear(own, name).in_features, MOST) if inner is None else inner
        plan = attack if isinstance(attack, Cascade) else cascade(attack.name, attack)
        planted = found = lucky = 0
        for row in rows.tolist():
            image = images[row : row + 1]
            if not _plant(features, binary, image, threat, inner, seed):
                continue
            planted += 1
            truth = torch.zeros(1, dtype=torch.int64)
            verdicts, _ = fall(plan, binary, image, truth, threat, seed=seed)
            found += int(verdicts["success"].sum())
            lucky += int(run(draws(threat, LUCK), binary, image, truth, threat, seed=seed)["success"].sum())
    return SelfTest(len(rows), planted, found, lucky)


def _readout(module: nn.Module, images: Images) -> str:
    """The name of the last linear layer that runs and has one output per class."""
    called: list[tuple[str, int]] = []

    def note(name: str, output: Tensor) -> None:
        if output.dim() == 2:
            called.append((name, output.shape[1]))

    hooks = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: note(name, output))  # noqa: ARG005
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    try:
        with torch.no_grad():
            classes = module(images).shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    if not called or called[-1][1] != classes:
        raise InputError("expected a model whose last layer is an nn.Linear with one output per class, to replace it")
    return called[-1][0]


def _chosen(module: nn.Module, images: Images, labels: Labels, n: int, seed: int) -> Tensor:
    """The first rows by content among those that the model gets right."""
    with torch.no_grad():
        said = torch.cat([module(images[part]).argmax(dim=1) for part in tiles(len(images))])
    right = torch.nonzero(said == labels)[:, 0]
    keys = rng.image_keys(images[right])
    ranks = rng.fold(keys, torch.full_like(keys, rng.stream(seed, "self-test")))
    return right[ranks.argsort(stable=True)[:n]].sort().values


def _linear(module: nn.Module, name: str) -> nn.Linear:
    layer = module.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer


class _Binary(nn.Module):
    """A copy of a module with two outputs: its last linear layer is replaced, or cut off with all that follows."""

    def __init__(self, module: nn.Module, name: str, *, cut: bool) -> None:
        super().__init__()
        self.net, self.name, self.cut = copy.deepcopy(module), name, cut
        layer = _linear(module, name)
        self.head = nn.Linear(layer.in_features, 2).to(layer.weight.device)
        if not cut:
            self.net.set_submodule(name, self.head)

    def forward(self, images: Images) -> Float[Tensor, "b 2"]:
        if not self.cut:
            return self.net(images)
        seen: list[Tensor] = []
        hook = self.net.get_submodule(self.name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        try:
            self.net(images)
        finally:
            hook.remove()
        return self.head(seen[-1])

    def set(self, way: Tensor, bias: float) -> None:
        """Second logit less the first: the projection on `way` less the bias."""
        self.head.weight.data.copy_(torch.stack([-way / 2, way / 2]))
        self.head.bias.data.copy_(torch.tensor([bias / 2, -bias / 2]))


def _binary(module: nn.Module, name: str, images: Images) -> _Binary:
    """What follows the layer stays, unless it can't do with two classes."""
    whole = _Binary(module, name, cut=False)
    try:
        with torch.no_grad():
            fits = whole(images).shape == (len(images), 2)
    except Exception:  # a module may complain of a shape in any way
        fits = False
    return whole if fits else _Binary(module, name, cut=True)


@dataclass(frozen=True)
class _Features:
    """What goes into a module's last linear layer, and what comes out."""

    module: nn.Module
    name: str

    def __call__(self, images: Images) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b k"]]:
        seen: list[tuple[Tensor, Tensor]] = []
        layer = self.module.get_submodule(self.name)
        hook = layer.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0].double(), output.double())))
        try:
            with torch.no_grad():
                for part in tiles(len(images)):
                    self.module(images[part])
        finally:
            hook.remove()
        inputs, outputs = zip(*seen, strict=True)
        return torch.cat(inputs), torch.cat(outputs)


def _plant(features: _Features, binary: Oracle, image: Images, threat: Threat, inner: int, seed: int) -> bool:
    """Give the binary model the layer under which a point on the edge of the ball is the other class; judge it."""
    eps = threat.budgets(1)
    keys = rng.fold(rng.image_keys(image).expand(inner), torch.arange(inner))
    points = threat.norm.sample(image.expand(inner, -1, -1, -1), eps.expand(inner), keys, "inner", seed)
    inside, outputs = features(torch.cat([image, points]))
    best = outputs[0].topk(2).values
    for draw in range(TRIES):
        noise = rng.normal(rng.image_keys(image), image.shape[1:], "planted", seed, draw)
        edge = threat.norm.project(image + eps * threat.norm.steepest(noise, image), image, eps)
        target = features(edge)[0][0]
        for ridge in RIDGES:
            way = _plane(inside, target, ridge)
            low, high = float((inside @ way).max()), float(target @ way)
            if not high > low:
                continue
            bias = high - (1.0 - CLOSENESS) * (high - low)
            # The clean image's margin is what it was: the attack meets logits of the size it is used to.
            times = float(best[0] - best[1]) / max(bias - float(inside[0] @ way), 1e-30)
            for net in (binary.judged, binary.proposer):
                assert isinstance(net, _Binary)
                net.set(way * times, bias * times)
            said = binary.judge(torch.cat([image, edge])).argmax(dim=1)
            if said.tolist() == [0, 1]:
                return True
    return False


def _plane(inside: Float[Tensor, "m d"], target: Float[Tensor, " d"], ridge: float) -> Float[Tensor, " d"]:
    """Fisher's direction from many points to one, with a ridge; through the smaller of the two Gram matrices."""
    centred = inside - inside.mean(dim=0)
    away = target - inside.mean(dim=0)
    count, width = centred.shape
    size = ridge * float(centred.square().sum()) / width + 1e-30
    if width <= count:
        way = torch.linalg.solve(centred.T @ centred + size * torch.eye(width, dtype=away.dtype), away)
    else:
        gram = centred @ centred.T + size * torch.eye(count, dtype=away.dtype)
        way = (away - centred.T @ torch.linalg.solve(gram, centred @ away)) / size
    return way / way.norm().clamp_min(1e-300)
