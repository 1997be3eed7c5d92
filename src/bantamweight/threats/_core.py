"""What every norm must offer, a threat, and what the norms share.

An epsilon is in pixels of [0, 1]. Every function takes one epsilon per row, so rows with different budgets share a
batch, and what it returns for a row does not depend on the others.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.types import Float, Images, Int64

__all__ = [
    "TOLERANCE", "Budget", "Flat", "Norm", "Threat",
    "above", "bounded", "moved", "per_row", "reach", "signed", "total", "towards",
]  # fmt: skip

TOLERANCE = 1e-6
"""How far a stored perturbation may lie outside its budget: float32 rounding of the pixels, nothing else."""

Budget = Float[Tensor, " b"]
Flat = Float[Tensor, "b n"]


class Norm(Protocol):
    """The geometry of one norm with the pixel box."""

    @property
    def name(self) -> str:
        """As threats are written: `linf`, `l2`, `l1`, `l0`."""
        ...

    def size(self, delta: Images) -> Budget:
        """The norm of each row of `delta`."""
        ...

    def dual(self, gradient: Images) -> Budget:
        """The most that a linear function with this gradient rises over the unit ball, box aside."""
        ...

    def ball(self, delta: Images, eps: Budget) -> Images:
        """The nearest perturbations of at most that size, box aside."""
        ...

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        """The points moved into the ball around `origin` (itself in the box) and into the box."""
        ...

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        """A random point of ball and box for each row, from that row's key."""
        ...

    def steepest(self, gradient: Images, points: Images) -> Images:
        """The direction of unit size in which a linear function with this gradient rises fastest from `points`.

        Zero where the gradient is zero, or where the box leaves no way up that the norm cares about.
        """
        ...

    def step(self, gradient: Images, points: Images, length: Budget) -> Images:
        """The change of that size along `steepest`; in L0 as many of the steepest pixels, and at least one."""
        ...

    def hyperplane(self, points: Images, normal: Images, value: Budget) -> Images:
        """The point of the box, nearest in this norm to `points` (in the box), with value + <normal, x - points> = 0.

        Where the box does not reach the plane, the nearest of its points that come closest to it.
        """
        ...

    def largest(self, shape: tuple[int, ...]) -> float:
        """The largest perturbation that the box allows an image of this shape."""
        ...


@dataclass(frozen=True)
class Threat:
    """A norm and a budget in pixels of [0, 1]; `eps` is math.inf where only the box bounds the perturbation."""

    norm: Norm
    eps: float

    def __str__(self) -> str:
        """`linf 8/255` where the budget is a whole number of 8-bit levels below 1, else `l2 0.5`, or `l2 unbounded`."""
        if math.isinf(self.eps):
            return f"{self.norm.name} unbounded"
        levels = Fraction(self.eps * 255).limit_denominator(1000)
        whole = levels.denominator == 1 and abs(self.eps * 255 - levels.numerator) < 1e-9
        if whole and 0 < levels.numerator < 255:
            return f"{self.norm.name} {levels.numerator}/255"
        return f"{self.norm.name} {self.eps:g}"

    def budgets(self, rows: int, device: torch.device | None = None) -> Budget:
        """The budget once per row."""
        return torch.full((rows,), self.eps, device=device)


def bounded(norm: Norm, eps: float, most: float = math.inf) -> Threat:
    """A threat whose budget has been checked: above 0, and at most `most` unless it is infinite."""
    if not (0.0 < eps <= most or eps == math.inf):
        bound = "above 0" if math.isinf(most) else f"between 0 and {most:g}"
        hint = "" if math.isinf(most) else "; write it in those values, such as 8/255"
        raise InputError(f"expected an epsilon {bound} for {norm.name} (images live in [0, 1]), got {eps:g}{hint}")
    return Threat(norm, float(eps))


def per_row(values: Budget) -> Float[Tensor, "b 1 1 1"]:
    """One number per row, to be multiplied with images."""
    return values[:, None, None, None]


def total(values: Float[Tensor, "b ..."]) -> Budget:
    """The sum of each row, to the bit the same in every batch.

    torch splits the sum of a lone long row between threads, which rounds otherwise, so such a row gets company.
    """
    flat = values.flatten(1)
    return flat.repeat(2, 1).sum(dim=1)[:1] if len(flat) == 1 else flat.sum(dim=1)


def above(values: Tensor, level: Tensor) -> Tensor:
    """1.0 where a value is above the level, else 0.0; a tenth of the time of a mask of booleans and `where`."""
    return torch.gt(values, level, out=torch.empty_like(values))


def reach(points: Images, direction: Images) -> Images:
    """How far each coordinate can go in the direction's sign before it leaves the box; 0 where the sign is 0."""
    corner = above(direction, direction.new_zeros(()))
    room = corner.to(points.dtype).sub_(points).abs_()
    return room.mul_(direction.sign().abs_())


def signed(normal: Images, value: Budget) -> Images:
    """The way down a plane that has this value at the points: -1, 0 or 1 for each coordinate."""
    return normal.sign().mul_(per_row(-value.sign()))


def moved(points: Images, way: Images, length: Flat) -> Images:
    """`points` after each coordinate has gone its length of the `way`, in the box."""
    return torch.addcmul(points, way, length.reshape(points.shape)).clamp_(0.0, 1.0)


def towards(points: Images, way: Images, counted: Flat, weights: Flat) -> Images:
    """`points` after each coordinate has gone the `way` until it `counted` so much at its weight; float64 inside."""
    length = torch.where(weights > 0, counted / weights, 0.0).reshape(points.shape)
    return (points + way * length).to(points.dtype).clamp_(0.0, 1.0)
