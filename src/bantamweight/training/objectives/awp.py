"""AWP: Wu, Xia, Wang 2020, "Adversarial weight perturbation helps robust generalization", algorithm 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call

from bantamweight.errors import InputError
from bantamweight.parts import Part, Room, configure
from bantamweight.training._inner import Robust, quietly
from bantamweight.training._job import learns_from_a_teacher
from bantamweight.training._values import Loss, Objective, Step
from bantamweight.types import Images, Labels

__all__ = ["awp"]


def awp(
    label_smoothing: float,
    *,
    objective: Annotated[str | dict[str, Any] | Part, Room("objectives")],
    gamma: Annotated[float, Field(gt=0, le=1)] = 5e-3,
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.0,
) -> Objective:
    """Another objective (`pgd_at`, `trades`, ...) at weights moved against it: flatter, and less robust overfitting.

    Each weight tensor moves by `gamma` of its own length along the gradient of the loss on the adversarial images
    in one step; the gradient there trains the weights themselves. Biases and norms stay, as in the paper's code, and
    so do weights that are zero, for what was cut is cut. Costs a forward and a backward pass more. The first `warmup`
    share of all steps goes without. Raises InputError for an objective that does not craft its images before it
    weighs them: a natural one, or `free`.
    """
    part = configure("objectives", objective)
    inner = None if learns_from_a_teacher(part) else part.make(label_smoothing)
    if not isinstance(inner, Robust):
        raise InputError(
            "awp needs an adversarial objective that crafts its images first, and no teacher, "
            f"got {part.name!r}; use pgd_at or trades"
        )
    return _Perturbed(inner, gamma, warmup)


@dataclass(frozen=True)
class _Perturbed:
    inner: Robust
    gamma: float
    warmup: float

    @property
    def probe(self) -> Callable[[nn.Module, Images, Labels, Step], Images] | None:
        """The inner objective's."""
        return self.inner.probe

    @property
    def budget(self) -> Callable[[Step], float] | None:
        """The inner objective's."""
        return self.inner.budget

    def __call__(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:
        if step.step < self.warmup * step.steps:
            return self.inner(module, images, labels, step)
        started = perf_counter()
        made = self.inner.craft(module, images, labels, step)
        weights = [weight for weight in module.parameters() if weight.requires_grad and weight.ndim > 1]
        rows = 0
        with quietly(module, "train", half=step.half) as forward, torch.enable_grad():

            def counted(points: Images) -> Tensor:
                nonlocal rows
                rows += len(points)
                return forward(points)

            loss = self.inner.weigh(counted, images, made.images, labels)
            slopes = torch.autograd.grad(loss.value, weights, allow_unused=True)
        took = perf_counter() - started
        # Leaves plus constants: the gradient at the moved weights trains the real ones, and nothing need be put back.
        moved = {
            weight: weight + self.gamma * _along(weight.detach(), slope)
            for weight, slope in zip(weights, slopes, strict=True)
            if slope is not None
        }
        places = {name: moved[weight] for name, weight in _places(module) if weight in moved}

        def there(points: Images) -> Tensor:
            logits: Tensor = functional_call(module, places, (points,), tie_weights=False)
            return logits

        spent = made.recovering, made.forwards + rows, made.backwards + rows, took
        return self.inner.weigh(there, images, made.images, labels).after(*spent)


def _places(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Every place that holds a parameter, once: a wrapper's two ways to one layer are one, a tied weight has several.

    (Left to find ties itself, `functional_call` takes the two ways for a tie and puts back what it put in.)
    """
    for path, part in module.named_modules():
        for name, weight in part.named_parameters(recurse=False):
            yield f"{path}.{name}" if path else name, weight


def _along(weight: Tensor, slope: Tensor) -> Tensor:
    """The slope at the weight's own length, zero where the weight is."""
    slope = slope * (weight != 0)
    return slope * (weight.norm() / slope.norm().clamp_min(1e-12))
