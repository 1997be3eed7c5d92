"""What an attacker may do to an image: all geometry of norm and box, once.

An epsilon is in pixels of [0, 1]. A threat's `norm` holds the geometry; every function takes one epsilon per row,
so rows with different budgets share a batch. No other file asks which norm it is.
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

__all__ = ["Norm", "Threat", "l2", "linf", "sizes"]

PARTS = ("l2", "linf")
TOLERANCE = 1e-6
"""How far a stored perturbation may lie outside its budget: float32 rounding of the pixels, nothing else."""

Budget = Float[Tensor, " b"]


class Norm(Protocol):
    """The geometry of one norm with the pixel box."""

    @property
    def name(self) -> str:
        """As threats are written: `linf`, `l2`."""
        ...

    def size(self, delta: Images) -> Budget:
        """The norm of each row of `delta`."""
        ...

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        """The points moved into the ball around `origin` and into the box."""
        ...

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        """A random point of ball and box for each row, from that row's key."""
        ...

    def steepest(self, gradient: Images, points: Images) -> Images:
        """The direction of unit size in which a linear function with this gradient rises fastest."""
        ...

    def largest(self, shape: tuple[int, ...]) -> float:
        """The largest perturbation that the box allows an image of this shape."""
        ...


def _rows(values: Budget) -> Float[Tensor, "b 1 1 1"]:
    return values[:, None, None, None]


@dataclass(frozen=True)
class _Linf:
    name: str = "linf"

    def size(self, delta: Images) -> Budget:
        return delta.abs().flatten(1).amax(dim=1)

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        low, high = origin - _rows(eps), origin + _rows(eps)
        return torch.minimum(torch.maximum(points, low), high).clamp_(0.0, 1.0)

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        draw = rng.uniform(keys, origin.shape[1:], "linf", *words)
        return self.project(origin + _rows(eps) * (2.0 * draw - 1.0), origin, eps)

    def steepest(self, gradient: Images, points: Images) -> Images:  # noqa: ARG002 (the box does not bind here)
        return gradient.sign()

    def largest(self, shape: tuple[int, ...]) -> float:  # noqa: ARG002
        return 1.0


@dataclass(frozen=True)
class _L2:
    name: str = "l2"

    def size(self, delta: Images) -> Budget:
        return delta.flatten(1).square().sum(dim=1).sqrt()

    def project(self, points: Images, origin: Images, eps: Budget) -> Images:
        # Scaling first: the origin lies in the box, so clipping afterwards only ever shrinks the perturbation.
        delta = points - origin
        shrink = (eps / self.size(delta).clamp_min(1e-30)).clamp_max(1.0)
        return (origin + delta * _rows(shrink)).clamp_(0.0, 1.0)

    def sample(self, origin: Images, eps: Budget, keys: Int64[Tensor, " b"], *words: rng.Word) -> Images:
        dimensions = origin[0].numel()
        direction = rng.normal(keys, origin.shape[1:], "l2", *words)
        radius = rng.uniform(keys, (1,), "l2 radius", *words)[:, 0].double() ** (1.0 / dimensions)
        unit = direction / _rows(self.size(direction))
        return self.project(origin + _rows(eps * radius.float()) * unit, origin, eps)

    def steepest(self, gradient: Images, points: Images) -> Images:  # noqa: ARG002
        # Scaled by the largest entry first: squares of gradients near 1e-23 are zero in float32.
        scale = gradient.abs().flatten(1).amax(dim=1).clamp_min(1e-37)
        scaled = gradient / _rows(scale)
        return scaled / _rows(self.size(scaled).clamp_min(1e-12))

    def largest(self, shape: tuple[int, ...]) -> float:
        return math.sqrt(math.prod(shape))


NORMS: dict[str, Norm] = {"linf": _Linf(), "l2": _L2()}


@dataclass(frozen=True)
class Threat:
    """A norm and a budget in pixels of [0, 1]."""

    norm: Norm
    eps: float

    def __str__(self) -> str:
        """`linf 8/255` where the budget is a whole number of 8-bit levels, else `l2 0.5`."""
        levels = Fraction(self.eps * 255).limit_denominator(1000)
        if levels.denominator == 1 and abs(self.eps * 255 - levels.numerator) < 1e-9 and levels.numerator > 0:
            return f"{self.norm.name} {levels.numerator}/255"
        return f"{self.norm.name} {self.eps:g}"

    def budgets(self, rows: int, device: torch.device | None = None) -> Budget:
        """The budget once per row."""
        return torch.full((rows,), self.eps, device=device)


def linf(*, eps: float) -> Threat:
    """Every pixel channel may move by at most `eps` (Goodfellow et al. 2015); the usual threat for images.

    >>> str(linf(eps=8 / 255))
    'linf 8/255'
    """
    return _threat("linf", eps, 1.0)


def l2(*, eps: float) -> Threat:
    """The Euclidean length of the perturbation is at most `eps`, over all pixels and channels."""
    return _threat("l2", eps, math.inf)


def _threat(norm: str, eps: float, most: float) -> Threat:
    if not 0.0 < eps <= most:
        bound = "above 0" if math.isinf(most) else f"between 0 and {most:g}"
        raise InputError(f"expected an epsilon {bound} for {norm} (images live in [0, 1]), got {eps:g}")
    return Threat(NORMS[norm], float(eps))


def sizes(delta: Images) -> dict[str, Budget]:
    """The size of each perturbation in every norm, L0 counted in pixels (any channel moved).

    >>> {name: float(size) for name, size in sizes(torch.full((1, 1, 1, 4), 0.5)).items()}
    {'linf': 0.5, 'l2': 1.0, 'l1': 2.0, 'l0': 4.0}
    """
    return {
        "linf": NORMS["linf"].size(delta),
        "l2": NORMS["l2"].size(delta),
        "l1": delta.abs().flatten(1).sum(dim=1),
        "l0": (delta != 0).any(dim=1).flatten(1).sum(dim=1).float(),
    }
