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
from typing import Any, Literal, NamedTuple, cast

import torch
from lightning_fabric import is_wrapped
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.nn.modules.batchnorm import _NormBase

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.parts import Part, configure
from bantamweight.threats import Threat
from bantamweight.training._values import Loss, Span, Step
from bantamweight.types import Float, Images, Labels, Logits

__all__ = ["Ascent", "Crafted", "Forward", "Robust", "Start", "ascend", "ascent", "divergence", "quietly"]

Start = Literal["random", "noise", "clean"]
"""A random point of the ball; the image and noise of a thousandth (Zhang et al. 2019); the image itself."""

Forward = Callable[[Images], Logits]


class Crafted(NamedTuple):
    """Images to train against, and whether they took more steps than usual because robustness was being lost."""

    images: Images
    recovering: bool = False


@dataclass(frozen=True)
class Robust:
    """An objective in two halves: what to train against, and the loss once that is known (so that weights can be
    perturbed in between)."""

    craft: Callable[[nn.Module, Images, Labels, Step], Crafted]
    weigh: Callable[[Forward, Images, Images, Labels], Loss]

    def __call__(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:
        """The loss on adversarial images; its logits are the adversarial ones, so training accuracy is robust."""
        crafted = self.craft(module, images, labels, step)
        loss = self.weigh(module, images, crafted.images, labels)
        return loss._replace(recovering=crafted.recovering)


@dataclass(frozen=True)
class Ascent:
    """Projected steepest ascent: `rate` is the step in pixels, or with None `share` of the budget.

    `mode` is what the net is in meanwhile: "train" uses batch statistics and drops out, "eval" neither. `growth` makes
    the share of the budget in force at each step. `against` says what rises: cross-entropy on the labels, or the
    divergence from the answer on the clean image.
    """

    threat: Threat
    steps: int
    rate: float | None
    share: float
    start: Start
    mode: Literal["train", "eval"]
    growth: Part
    against: Literal["labels", "clean answer"] = "labels"

    def taking(self, steps: int, share: float) -> Ascent:
        """The same threat in more, smaller steps."""
        return replace(self, steps=steps, share=share, rate=None)


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
    against: Literal["labels", "clean answer"] = "labels",
) -> Ascent:
    """An ascent from an objective's settings; raises InputError for a threat without a budget, or above the box."""
    made = threat if isinstance(threat, Threat) else configure("threats", threat).make()
    if math.isinf(made.eps):
        raise InputError(f"{name} needs a threat with an eps, got {made}; give it one")
    if steps < 1:
        raise InputError(f"{name} needs at least 1 step, got steps={steps}")
    return Ascent(made, steps, rate, share, start, mode, configure("schedules", growth), against)


def ascend(how: Ascent, module: nn.Module, images: Images, labels: Labels, step: Step) -> Images:
    """The point that each image is driven to, within ball and box; without a gradient."""
    norm, origin = how.threat.norm, images.detach()
    grown = min(1.0, max(0.0, how.growth.make(Span(step.epochs, step.steps // step.epochs))(step.step)))
    eps = torch.full((len(origin),), how.threat.eps * grown, device=origin.device)
    if not grown:
        return origin
    length = (eps * how.share if how.rate is None else torch.full_like(eps, how.rate)).clamp_min(norm.least_step)
    points = _started(how, origin, eps, step)
    with quietly(module, how.mode, half=step.half) as forward:
        loss = _rising(how, forward, origin, labels)
        for _ in range(how.steps):
            points.requires_grad_(True)
            with torch.enable_grad():
                (gradient,) = torch.autograd.grad(loss(forward(points)), points)
            points = points.detach()
            moved = points + length[:, None, None, None] * norm.steepest(gradient, points)
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


def _rising(how: Ascent, forward: Forward, origin: Images, labels: Labels) -> Callable[[Logits], Tensor]:
    """What the steps raise: a sum, so that a row's gradient is its own."""
    if how.against == "labels":
        return lambda logits: cross_entropy(logits, labels, reduction="sum")
    with torch.no_grad():
        told = forward(origin)
    return lambda logits: divergence(told, logits).sum()


def divergence(told: Logits, said: Logits) -> Float[Tensor, " b"]:
    """KL(told || said) of each row, from logits."""
    return kl_div(log_softmax(said, dim=1), log_softmax(told, dim=1), reduction="none", log_target=True).sum(dim=1)


@contextmanager
def quietly(module: nn.Module, mode: Literal["train", "eval"], *, half: bool) -> Iterator[Forward]:
    """The net, float32 logits out, such that using it leaves no trace: no statistics move, all modes come back.

    Without what Fabric wraps it in: processes that share a training are told of one forward pass, the training's own.
    In mode "train" parts that were left in eval mode stay in it.
    """
    own = cast("nn.Module", module.module) if is_wrapped(module) else module
    modes = [(part, part.training) for part in own.modules()]
    tracked = [(part, part.track_running_stats) for part in own.modules() if isinstance(part, _NormBase)]
    kind = next((weight.device.type for weight in own.parameters()), "cpu")

    def forward(images: Images) -> Logits:
        logits: Logits = own(images)
        return logits.float()

    try:
        # Flags and not `.eval()`, which exported programs refuse.
        for part, _ in modes if mode == "eval" else ():
            part.training = False
        for norm, _ in tracked:
            norm.track_running_stats = False
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            yield forward
    finally:
        for part, was in modes:
            part.training = was
        for norm, tracks in tracked:
            norm.track_running_stats = tracks
