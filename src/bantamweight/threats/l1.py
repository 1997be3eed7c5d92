"""L1: one budget for the sum of all changes, which a few pixels may use up."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.threats._core import TOLERANCE, Budget, Threat, above, bounded, per_row, reach, signed, total, towards
from bantamweight.threats._level import shrunk, spent
from bantamweight.types import Images, Int64

__all__ = ["L1", "l1"]

SHARE = 0.01
"""The coordinates that one step moves: SLIDE's 99th percentile (Tramer and Boneh 2019, section 3 and appendix B)."""


@dataclass(frozen=True)
class _L1:
    name: str = "l1"

    def size(self, delta: Images) -> Budget:
        return total(delta.abs())

    def dual(self, gradient: Images) -> Budget:
        return gradient.abs().flatten(1).amax(dim=1)

    def ball(self, delta: Images, eps: Budget) -> Images:
        amounts = delta.abs().flatten(1)
        kept = shrunk(amounts, torch.full_like(amounts, math.inf), eps)
        return delta.sign() * kept.reshape(delta.shape)

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        """The nearest point of ball and box (Croce and Hein 2021, "Mind the box", proposition 2.1)."""
        delta = points - origin
        # What the box leaves each on its way; one that does not move is asked for nothing, whatever stands here.
        room = above(delta, delta.new_zeros(())).to(origin.dtype).sub_(origin).abs_()
        kept = shrunk(delta.abs().flatten(1), room.flatten(1), eps).reshape(points.shape)
        moved = torch.addcmul(origin, delta.sign(), kept).to(points.dtype).clamp_(0.0, 1.0)
        # In 100,000 dimensions float32 rounding adds up to more than the tolerance: round such rows towards the origin.
        over = self.size(moved - origin) > eps + 0.5 * TOLERANCE * eps.clamp_min(1.0)
        if moved.device.type == "cpu" and not bool(over.any()):  # elsewhere, looking would make the device wait
            return moved
        inwards = torch.where((moved - origin).abs() > kept, torch.nextafter(moved, origin), moved)
        return torch.where(per_row(over), inwards, moved)

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        """Uniform in the ball (exponentials over their sum and one more), then clipped to the box."""
        eps = eps.clamp_max(self.largest(origin.shape[1:]))
        count = origin[0].numel()
        drawn = -torch.log1p(-rng.uniform(keys, (count + 1,), "l1", *words).double())
        lengths = (drawn[:, :count] / total(drawn)[:, None]).to(origin.dtype).reshape(origin.shape)
        delta = per_row(eps) * lengths * rng.signs(keys, origin.shape[1:], "l1 signs", *words)
        return (origin + delta).clamp_(0.0, 1.0)

    def steepest(self, gradient: Images, points: Images) -> Images:
        """Equal shares for the 1% of coordinates with the largest gradient among those that the box does not block.

        Up to 100 dimensions that is the single best one, the steepest direction; in more, SLIDE's compromise: steps
        as long as a useful budget would push a single coordinate out of the box.
        """
        nothing = gradient.new_zeros(())
        free = above(reach(points, gradient).to(gradient.dtype), nothing)
        rises = gradient.abs().mul_(free).flatten(1)
        least = rises.topk(math.ceil(SHARE * rises.shape[1]), dim=1).values[:, -1:]
        chosen = above(rises, nothing).sub_(above(least.expand_as(rises), rises)).clamp_min_(0.0)
        shares = chosen / total(chosen).clamp_min(1.0)[:, None]
        return gradient.sign() * shares.reshape(gradient.shape)

    def step(self, gradient: Images, points: Images, length: Budget) -> Images:
        return per_row(length) * self.steepest(gradient, points)

    def hyperplane(self, points: Images, normal: Images, value: Budget) -> Images:
        """One coordinate after another to the end of the box, largest weight first (Croce and Hein 2020, 3.1)."""
        way = signed(normal, value)
        weights = normal.double().abs().flatten(1)
        counted = spent(weights * reach(points, way).double().flatten(1), weights, value.abs())
        return towards(points, way, counted, weights)

    def largest(self, shape: tuple[int, ...]) -> float:
        return float(math.prod(shape))


L1 = _L1()


def l1(*, eps: float) -> Threat:
    """The changes of all pixels and channels add up to at most `eps` (Chen et al. 2018, Croce and Hein 2021).

    Raises InputError for an eps that is not above 0.

    >>> str(l1(eps=12))
    'l1 12'
    """
    return bounded(L1, eps)
