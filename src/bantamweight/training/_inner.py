"""The inner attack of adversarial training: the steps up to a worst case, batched, on the net as it is being trained.

Each step differentiates by the images alone and keeps no graph, so no parameter meets a gradient and memory does not
grow with the steps. What is drawn is keyed by sample, step and seed. The net's modes come back as they were and its
running statistics never move: where the attack sees batch statistics, they are used and forgotten. (Code published
with some of the papers lets the inner steps move them; none of the papers asks for it.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Literal, NamedTuple, cast

import torch
from lightning_fabric import is_wrapped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from bantamweight import rng
from bantamweight.attacks._crew import Halt
from bantamweight.errors import InputError
from bantamweight.parts import Part, configure
from bantamweight.threats import Threat
from bantamweight.training._still import WHOLE, copies, divided, look, shares
from bantamweight.training._values import Loss, Span, Step
from bantamweight.types import Float, Images, Labels, Logits

__all__ = ["Ascent", "Crafted", "Forward", "Robust", "Start", "ascend", "ascent", "crafted", "divergence", "quietly"]

Start = Literal["random", "noise", "clean"]
"""A random point of the ball; the image and noise of a thousandth (Zhang et al. 2019); the image itself."""

Against = Literal["labels", "clean answer", "told answer"]
"""What the steps lead away from: the labels, the net's own answer on the clean image, an answer told by a teacher."""

Forward = Callable[[Images], Logits]

WORTH = 3
"""Steps from which a copy of a net that stands still pays."""

SOME = Span(1, 100)
"""A training to try schedules on: what is wrong with one is said before anything is trained."""


class Crafted(NamedTuple):
    """Images to train against, and whether they took more steps than usual because robustness was being lost.

    `forwards` and `backwards` are the images that passed the net on the way.
    """

    images: Images
    recovering: bool = False
    forwards: int = 0
    backwards: int = 0


@dataclass(frozen=True)
class Robust:
    """An objective in two halves: what to train against, and the loss once that is known (so that weights can be
    perturbed in between). `probe` attacks validation images, the net being in eval mode: PGD of ten steps at the whole
    budget. `budget` is the eps in force at a step."""

    craft: Callable[[nn.Module, Images, Labels, Step], Crafted]
    weigh: Callable[[Forward, Images, Images, Labels], Loss]
    probe: Callable[[nn.Module, Images, Labels, Step], Images] | None = None
    budget: Callable[[Step], float] | None = None

    def __call__(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:
        """The loss on adversarial images; its logits are the adversarial ones, so training accuracy is robust."""
        started = perf_counter()
        made = self.craft(module, images, labels, step)
        took = perf_counter() - started
        return self.weigh(module, images, made.images, labels).after(*made[1:], took)


@dataclass(frozen=True)
class Ascent:
    """Projected steepest ascent: `rate` is the step in pixels, or with None `share` of the budget.

    `mode` is what the net is in meanwhile: "train" uses batch statistics and drops out, "eval" neither. `growth` makes
    the share of the budget in force at each step of the training, and `pace` that of the steps. `against` says what
    rises: cross-entropy on the labels, or the divergence from an answer.
    """

    threat: Threat
    steps: int
    rate: float | None
    share: float
    start: Start
    mode: Literal["train", "eval"]
    growth: Part
    pace: Part | None = None
    against: Against = "labels"

    def taking(self, steps: int, share: float) -> Ascent:
        """The same threat in more, smaller steps."""
        return replace(self, steps=steps, share=share, rate=None, pace=None)

    def eps(self, step: Step) -> float:
        """The budget in force at a step of the training."""
        return self.threat.eps * _at(self.growth, step)

    def taken(self, step: Step) -> int:
        """Steps towards the worst case at a step of the training; none where there is no budget yet."""
        paced = 1.0 if self.pace is None else _at(self.pace, step)
        return max(1, round(self.steps * paced)) if self.eps(step) else 0

    def probe(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Images:
        """Where ten steps against the labels drive images at the whole budget, the net being in eval mode."""
        how = replace(self.taking(10, 0.25), start="random", mode="eval", growth=configure("schedules", "constant"))
        return ascend(replace(how, against="labels"), module, images, labels, step)


def ascent(
    name: str,
    threat: str | dict[str, Any] | Part | Threat,
    *,
    steps: int,
    rate: float | None,
    share: float,
    start: Start,
    mode: Literal["train", "eval"],
    growth: str | dict[str, Any] | Part,
    pace: str | dict[str, Any] | Part = "constant",
    against: Against = "labels",
) -> Ascent:
    """An ascent from an objective's settings; raises InputError for a threat without a budget, or above the box, and
    for a schedule that can't be."""
    made = threat if isinstance(threat, Threat) else configure("threats", threat).make()
    if math.isinf(made.eps):
        raise InputError(f"{name} needs a threat with an eps, got {made}; give it one")
    if steps < 1:
        raise InputError(f"{name} needs at least 1 step, got steps={steps}")
    grows, paced = (configure("schedules", one) for one in (growth, pace))
    for schedule in (grows, paced):
        schedule.make(SOME)
    return Ascent(made, steps, rate, share, start, mode, grows, paced, against)


def ascend(
    how: Ascent, module: nn.Module, images: Images, labels: Labels, step: Step, told: Logits | None = None
) -> Images:
    """The point that each image is driven to, within ball and box; without a gradient. `told` is a teacher's answer."""
    origin, steps = images.detach(), how.taken(step)
    if not steps:
        return origin
    eps = torch.full((len(origin),), how.eps(step), device=origin.device)
    length = eps * how.share if how.rate is None else torch.full_like(eps, how.rate)
    points = _started(how, origin, eps, step)
    with quietly(module, how.mode, half=step.half) as forward:
        own = _unwrapped(module)
        # In training mode every row sees the statistics of the whole batch, and few steps are not worth a copy.
        found = WHOLE if how.mode == "train" or steps < WORTH else look(own, origin)
        if found.whole:
            return _climbed(how, forward, (origin, points, labels, told), (eps, length), steps)
        count = shares(len(origin))
        stills = copies(own, found, count, half=step.half)

        def walk(number: int, rows: slice, halt: Halt) -> Images:
            given = (origin[rows], points[rows], labels[rows], None if told is None else told[rows])
            with torch.autocast("cpu", torch.bfloat16, enabled=step.half):  # a thread's own
                return _climbed(how, _asked(stills[number]), given, (eps[rows], length[rows]), steps, halt)

        return divided(len(origin), count, walk)


def crafted(
    how: Ascent, module: nn.Module, images: Images, labels: Labels, step: Step, told: Logits | None = None
) -> Crafted:
    """`ascend`, and what it cost the net."""
    rows, steps = len(images), how.taken(step)
    own = rows if steps and how.against != "labels" and told is None else 0  # its answer, to lead away from
    return Crafted(ascend(how, module, images, labels, step, told), False, own + steps * rows, steps * rows)


def _at(schedule: Part, step: Step) -> float:
    """What a schedule multiplies by at a step, between 0 and 1."""
    return min(1.0, max(0.0, float(schedule.make(Span(step.epochs, step.steps // step.epochs))(step.step))))


def _climbed(
    how: Ascent,
    forward: Forward,
    given: tuple[Images, Images, Labels, Logits | None],
    lengths: tuple[Float[Tensor, " b"], Float[Tensor, " b"]],
    steps: int,
    halt: Halt = lambda: False,
) -> Images:
    """The steps themselves, of each row's length and within its budget; none after `halt` has said so."""
    norm, (origin, points, labels, told), (eps, length) = how.threat.norm, given, lengths
    loss = _rising(how, forward, origin, labels, told)
    for _ in range(steps):
        if halt():
            break
        points.requires_grad_(True)
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(loss(forward(points)), points)
        points = points.detach()
        moved = points + norm.step(gradient, points, length)
        points = norm.project(moved, origin, eps)
    return points


def _started(how: Ascent, origin: Images, eps: Float[Tensor, " b"], step: Step) -> Images:
    keys = step.index.to(origin.device)
    if how.start == "clean":
        return origin.clone()
    if how.start == "random":
        return how.threat.norm.sample(origin, eps, keys, "adversary", step.seed, step.step)
    noise = rng.normal(keys, origin.shape[1:], "adversary", step.seed, step.step)
    return how.threat.norm.project(origin + 1e-3 * noise, origin, eps)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Without what Fabric puts around it."""
    return cast("nn.Module", module.module) if is_wrapped(module) else module


def _asked(module: nn.Module) -> Forward:
    """Float32 logits of a module, in whatever precision is in force."""

    def forward(images: Images) -> Logits:
        logits: Logits = module(images)
        return logits.float()

    return forward


def _rising(
    how: Ascent, forward: Forward, origin: Images, labels: Labels, told: Logits | None
) -> Callable[[Logits], Tensor]:
    """What the steps raise: a sum, so that a row's gradient is its own."""
    if how.against == "labels":
        return lambda logits: cross_entropy(logits, labels, reduction="sum")
    if told is None:
        with torch.no_grad():
            told = forward(origin)
    goal = told
    return lambda logits: divergence(goal, logits).sum()


def divergence(told: Logits, said: Logits) -> Float[Tensor, " b"]:
    """KL(told || said) of each row, from logits."""
    return kl_div(log_softmax(said, dim=1), log_softmax(told, dim=1), reduction="none", log_target=True).sum(dim=1)


@contextmanager
def quietly(module: nn.Module, mode: Literal["train", "eval"], *, half: bool) -> Iterator[Forward]:
    """The net, float32 logits out, such that using it leaves no trace: no statistics move, all modes come back.

    Without what Fabric wraps it in: processes that share a training are told of one forward pass, the training's own.
    In mode "train" parts that were left in eval mode stay in it.
    """
    own = _unwrapped(module)
    modes = [(part, part.training) for part in own.modules()]
    norms = [part for part in own.modules() if isinstance(part, _NormBase)]
    kept = [(norm, norm.track_running_stats, norm.running_mean, norm.running_var) for norm in norms]
    kind = next((weight.device.type for weight in own.parameters()), "cpu")

    try:
        # Flags and not `.eval()`, which exported programs refuse.
        for part, _ in modes if mode == "eval" else ():
            part.training = False
        # Only of those in training mode: without the flag an instance norm forgets in eval mode what it has learnt.
        for norm in (norm for norm in norms if norm.training):
            norm.track_running_stats = False
            if isinstance(norm, _InstanceNorm):  # which moves what it has whatever the flag says
                norm.running_mean = norm.running_var = None
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            yield _asked(own)
    finally:
        for part, was in modes:
            part.training = was
        for norm, tracks, mean, variance in kept:
            norm.track_running_stats, norm.running_mean, norm.running_var = tracks, mean, variance
