"""L-inf: every pixel channel has the same budget of its own."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.threats._core import Budget, Threat, bounded, moved, per_row, reach, signed, total
from bantamweight.threats._level import lengths
from bantamweight.types import Images, Int64

__all__ = ["LINF", "linf"]


@dataclass(frozen=True)
class _Linf:
    name: str = "linf"

    def size(self, delta: Images) -> Budget:
        return delta.abs().flatten(1).amax(dim=1)

    def dual(self, gradient: Images) -> Budget:
        return total(gradient.abs())

    def ball(self, delta: Images, eps: Budget) -> Images:
        return torch.minimum(torch.maximum(delta, -per_row(eps)), per_row(eps))

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        # In place: memory that is fresh costs more than arithmetic.
        low, high = origin - per_row(eps), origin + per_row(eps)
        return torch.clamp(points, low, high, out=low).clamp_(0.0, 1.0)

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        """Uniform in the ball, then clipped to the box."""
        eps = eps.clamp_max(1.0)
        draw = rng.uniform(keys, origin.shape[1:], "linf", *words)
        return self.project(origin + per_row(eps) * (2.0 * draw - 1.0), origin, eps)

    def steepest(self, gradient: Images, points: Images) -> Images:  # noqa: ARG002 (the box does not bind here)
        return gradient.sign()

    def step(self, gradient: Images, points: Images, length: Budget) -> Images:
        return per_row(length) * self.steepest(gradient, points)

    def hyperplane(self, points: Images, normal: Images, value: Budget) -> Images:
        """Every coordinate moves by the same, or as far as the box lets it (Croce and Hein 2020, section 3.1)."""
        way = signed(normal, value)
        return moved(points, way, lengths(reach(points, way).flatten(1), normal.abs().flatten(1), value.abs()))

    def largest(self, shape: tuple[int, ...]) -> float:  # noqa: ARG002
        return 1.0


LINF = _Linf()


def linf(*, eps: float) -> Threat:
    """Every pixel channel may move by at most `eps` (Goodfellow et al. 2015); the usual threat for images.

    Raises InputError for an eps outside (0, 1] that is not infinite.

    >>> str(linf(eps=8 / 255))
    'linf 8/255'
    """
    return bounded(LINF, eps, 1.0)
