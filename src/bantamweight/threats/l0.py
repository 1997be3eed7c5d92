"""L0: a number of pixels, each of which may become any colour."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.threats._core import TOLERANCE, Budget, Threat, bounded, per_row, reach, signed, total
from bantamweight.threats._level import spent
from bantamweight.types import Bool, Float, Images, Int64

__all__ = ["L0", "l0"]

BEYOND = 256.0
"""How far beyond the box a step goes where the gradient is largest: enough for the gain to outweigh the change."""


@dataclass(frozen=True)
class _L0:
    name: str = "l0"

    def size(self, delta: Images) -> Budget:
        return total((delta != 0).any(dim=1).to(delta.dtype))

    def dual(self, gradient: Images) -> Budget:
        """L-inf's, as if one channel of one pixel moved by at most 1: the ball itself has no bound."""
        return gradient.abs().flatten(1).amax(dim=1)

    def ball(self, delta: Images, eps: Budget) -> Images:
        """The pixels with the largest changes."""
        return torch.where(_first(_joined(delta.square()), eps), delta, 0.0)

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        """The nearest point of ball and box (Croce and Hein 2019, "Sparse and imperceivable", section 3.1).

        A pixel is kept for what giving it up would add to the squared distance: its change, and as much again as the
        box has cut off. Of points in the box those are the pixels with the largest change.
        """
        clipped = points.clamp(0.0, 1.0)
        saved = (points - origin).square() - (points - clipped).square()
        return torch.where(_first(_joined(saved), eps), clipped, origin)

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        """As many pixels as the budget allows, any set of them as likely as any other, in uniform colours."""
        order = rng.uniform(keys, origin.shape[2:], "l0", *words)
        colours = rng.uniform(keys, origin.shape[1:], "l0 colours", *words)
        return torch.where(_first(order, eps), colours, origin)

    def steepest(self, gradient: Images, points: Images) -> Images:
        """The one pixel with the most to gain, all the way to the corner of the box: a greedy step."""
        room = reach(points, gradient)
        best = _first(_joined(gradient.abs() * room), gradient.new_ones(len(gradient)))
        return torch.where(best, gradient.sign() * room, 0.0)

    def step(self, gradient: Images, points: Images, length: Budget) -> Images:
        """So many of the pixels with the most to gain to the corner of the box, and on along the gradient.

        What lies beyond the box moves nothing. It tells the projection, which keeps a pixel for its change and for
        what the box cut off, what each is worth: those that stand in their corner already are pushed as well.
        """
        room = reach(points, gradient)
        gains = _joined(gradient.abs() * room)
        best = _first(gains, length.ceil().clamp_min(1.0))
        beyond = BEYOND * gradient / per_row(gradient.abs().flatten(1).amax(dim=1).clamp_min(1e-37))
        pushed = best | (gains == 0.0)[:, None]
        return torch.where(best, gradient.sign() * room, 0.0) + torch.where(pushed, beyond, 0.0)

    def hyperplane(self, points: Images, normal: Images, value: Budget) -> Images:
        """One pixel after another to the corner of the box, largest gain first, the last as far as needed.

        The fewest pixels that reach the plane; no paper's, but what its projections for the other norms become here.
        """
        way = signed(normal, value)
        room = reach(points, way).double()
        gains = _joined(normal.double().abs() * room).flatten(1)
        share = torch.where(gains > 0, spent(gains, gains, value.abs()) / gains, 0.0)
        return (points + way * room * share.reshape(_pixels(points))).to(points.dtype).clamp_(0.0, 1.0)

    def largest(self, shape: tuple[int, ...]) -> float:
        return float(math.prod(shape[-2:]))


def _pixels(images: Images) -> tuple[int, int, int, int]:
    return (len(images), 1, *images.shape[2:])


def _joined(values: Images) -> Float[Tensor, "b h w"]:
    """The sum over channels, one after another."""
    return reduce(torch.add, values.unbind(1))


def _first(worth: Float[Tensor, "b h w"], eps: Budget) -> Bool[Tensor, "b 1 h w"]:
    """The whole number of pixels that `eps` allows, those of most worth; of equals the first."""
    flat = worth.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(flat.shape[1], device=flat.device)
    allowed = rank < (eps * (1.0 + TOLERANCE)).floor()[:, None]
    return torch.zeros_like(allowed).scatter_(1, order, allowed).reshape(len(worth), 1, *worth.shape[1:])


L0 = _L0()


def l0(*, eps: float) -> Threat:
    """At most `eps` pixels may change, to any colour (Croce and Hein 2019); a pixel counts once, whatever its channels.

    Raises InputError for an eps that is not a whole number above 0 or infinite.

    >>> str(l0(eps=20))
    'l0 20'
    """
    threat = bounded(L0, eps)
    if not math.isinf(eps) and eps % 1 != 0:
        raise InputError(f"expected a whole number of pixels as epsilon for l0, got {eps:g}")
    return threat
