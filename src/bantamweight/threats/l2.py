"""L2: one Euclidean budget for the whole image."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from bantamweight import rng
from bantamweight.threats._core import Budget, Threat, bounded, moved, per_row, reach, signed, total
from bantamweight.threats._level import lengths
from bantamweight.types import Images, Int64

__all__ = ["L2", "l2"]


@dataclass(frozen=True)
class _L2:
    name: str = "l2"

    def size(self, delta: Images) -> Budget:
        return total(delta.square()).sqrt()

    def dual(self, gradient: Images) -> Budget:
        scale = gradient.abs().flatten(1).amax(dim=1).clamp_min(1e-37)
        return self.size(gradient / per_row(scale)) * scale

    def ball(self, delta: Images, eps: Budget) -> Images:
        shrink = (eps / self.size(delta).clamp_min(1e-30)).clamp_max(1.0)
        return delta * per_row(shrink)

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        """Into the ball and then into the box, as attacks are published with; not the nearest point of both."""
        # The origin lies in the box, so clipping afterwards only ever shrinks the perturbation.
        return (origin + self.ball(points - origin, eps)).clamp_(0.0, 1.0)

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        """Uniform in the ball, then clipped to the box."""
        eps = eps.clamp_max(self.largest(origin.shape[1:]))
        dimensions = origin[0].numel()
        direction = rng.normal(keys, origin.shape[1:], "l2", *words)
        radius = rng.uniform(keys, (1,), "l2 radius", *words)[:, 0].double() ** (1.0 / dimensions)
        unit = direction / per_row(self.size(direction))
        return self.project(origin + per_row(eps * radius.float()) * unit, origin, eps)

    def steepest(self, gradient: Images, points: Images) -> Images:  # noqa: ARG002
        # Scaled by the largest entry first: squares of gradients near 1e-23 are zero in float32.
        scale = gradient.abs().flatten(1).amax(dim=1).clamp_min(1e-37)
        scaled = gradient / per_row(scale)
        return scaled / per_row(self.size(scaled).clamp_min(1e-12))

    def step(self, gradient: Images, points: Images, length: Budget) -> Images:
        return per_row(length) * self.steepest(gradient, points)

    def hyperplane(self, points: Images, normal: Images, value: Budget) -> Images:
        """Along the normal, each coordinate as far as the box lets it (Croce and Hein 2020, section 3.1)."""
        way, weights = signed(normal, value), normal.abs().flatten(1)
        # Scaled by the largest entry: squares of gradients near 1e-23 are zero in float32.
        scale = weights.amax(dim=1).clamp_min(1e-37)
        weights = weights.div_(scale[:, None])
        return moved(points, way, lengths(reach(points, way).flatten(1), weights, value.abs() / scale, pull=weights))

    def largest(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(math.prod(shape))


L2 = _L2()


def l2(*, eps: float) -> Threat:
    """The Euclidean length of the perturbation is at most `eps`, over all pixels and channels.

    Raises InputError for an eps that is not above 0.
    """
    return bounded(L2, eps)
