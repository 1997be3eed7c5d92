"""Free adversarial training: Shafahi et al. 2019, "Adversarial training for free!", algorithm 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bantamweight.parts import Part, Room
from bantamweight.threats import Norm
from bantamweight.training._inner import Ascent, ascent
from bantamweight.training._values import Loss, Objective, Step
from bantamweight.types import Images, Labels

__all__ = ["free"]


def free(
    label_smoothing: float,
    *,
    threat: Annotated[str | dict[str, Any] | Part, Room("threats")],
    replays: Annotated[int, Field(ge=1, le=100)] = 4,
    rate: Annotated[float, Field(gt=0)] | None = None,
    growth: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "constant",
) -> Objective:
    """One backward pass serves both: the weights' step and the images'. Robust training at the price of natural.

    Every batch comes `replays` times in a row (divide the epochs by that), and each time the perturbation moves by
    `rate` (None: eps) along the gradient of the pass before. It is carried over to the next batch, as in the paper, and
    begins at zero with each epoch. `growth` is a schedule that multiplies eps. Raises InputError for a threat without
    an eps, or with one above 1 in L-inf.
    """
    how = ascent("free", threat, steps=1, rate=rate, share=1.0, start="clean", mode="train", growth=growth)
    return _Free(how, replays, label_smoothing)


@dataclass
class _Free:
    """Remembers the last batch's perturbed images, whose gradient the backward pass leaves there."""

    how: Ascent
    replays: int
    label_smoothing: float
    epoch: int = -1
    moved: Tensor | None = None
    leaf: Tensor | None = field(default=None, repr=False)

    def __call__(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss:
        if step.epoch != self.epoch:
            self.epoch, self.moved, self.leaf = step.epoch, None, None
        self.moved = self._carried(images, self.how.eps(step))
        self.leaf = (images + self.moved).clamp(0, 1).detach().requires_grad_(True)
        logits = module(self.leaf)
        return Loss(cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing), logits)

    def probe(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Images:
        """PGD of ten steps, for validation images."""
        return self.how.probe(module, images, labels, step)

    def budget(self, step: Step) -> float:
        """The eps in force at a step of the training."""
        return self.how.eps(step)

    def _carried(self, images: Images, eps: float) -> Tensor:
        """The perturbation for these images: the last one, a step on; batches may differ by one image."""
        if self.moved is None or self.leaf is None or self.leaf.grad is None or not eps:
            return torch.zeros_like(images)
        norm, rows = self.how.threat.norm, min(len(images), len(self.moved))
        gradient, here = self.leaf.grad[:rows], self.leaf.detach()[:rows]
        length = torch.full((rows,), self.how.rate or eps, device=images.device)
        step = norm.step(gradient, here, length)
        moved = torch.zeros_like(images)
        moved[:rows] = _within(norm, self.moved[:rows] + step, eps)
        return moved


def _within(norm: Norm, moved: Tensor, eps: float) -> Tensor:
    """The perturbation within the ball; the box is the next images' own."""
    return norm.ball(moved, torch.full((len(moved),), eps, device=moved.device))
