"""What the Square attack proposes in each norm: a first point, and its best point with one square changed.

Andriushchenko et al. 2020, algorithms 2 (L-inf) and 3 (L2); L1 as in the authors' AutoAttack. Everything is drawn for
each row: rows may be at different steps, hence at squares of different sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch

from bantamweight import rng
from bantamweight.attacks._core import Rows
from bantamweight.attacks._parts import select
from bantamweight.errors import InputError
from bantamweight.threats import Norm
from bantamweight.threats._core import per_row
from bantamweight.types import Bool, Float, Images, Int64, Tensor

__all__ = ["Squares", "squares"]

CELLS = 5
"""L2 and L1 start from a grid of this many bumps in each direction."""
SMALL = 5
"""Up to this side a square is written pixel by pixel; most of a long search has none larger."""
SLACK = 1e-6
"""The share of an L1 budget that is left over for rounding, as in the reference."""


class Squares(Protocol):
    """One norm's proposals."""

    def side(self, area: float, shortest: int) -> int:
        """The side, in pixels, of a square with this many pixels in an image whose shorter side is `shortest`."""
        ...

    def start(self, rows: Rows) -> Images:
        """The first point of each row."""
        ...

    def words(self, channels: int) -> int:
        """How many random words a proposal takes."""
        ...

    def propose(
        self,
        rows: Rows,
        best: Images,
        sides: tuple[int, ...],
        level: Int64[Tensor, " b"],
        words: Int64[Tensor, "b n"],
    ) -> Images:
        """The best points, each with a square of side `sides[level]` changed."""
        ...


def _signs(words: Tensor) -> Tensor:
    """-1 or +1 from 32-bit words."""
    return (words >> 31).float() * 2.0 - 1.0


def _corner(word: Int64[Tensor, " b"], side: Int64[Tensor, " b"], length: int) -> Int64[Tensor, " b"]:
    """Where a square of that side begins, every place as likely as any other."""
    return (word * (length - side + 1)) >> 32


def _window(
    words: Int64[Tensor, "b 2"], side: Int64[Tensor, " b"], images: Images
) -> tuple[Bool[Tensor, "b 1 h w"], Int64[Tensor, "b h"], Int64[Tensor, "b w"]]:
    """A random square of each row: its mask, and each pixel's row and column in it (clamped, outside).

    Every place is equally likely, as in the paper; the reference never takes the last one.
    """

    def along(word: Tensor, length: int) -> tuple[Tensor, Tensor]:
        place = torch.arange(length, device=words.device) - _corner(word, side, length)[:, None]
        inside = (place >= 0) & (place < side[:, None])
        return inside, torch.minimum(place.clamp_min(0), side[:, None] - 1)

    (rows, down), (columns, across) = (along(words[:, axis], images.shape[2 + axis]) for axis in (0, 1))
    return (rows[:, :, None] & columns[:, None, :])[:, None], down, across


@dataclass(frozen=True)
class Stripes:
    """L-inf: vertical stripes of plus or minus the budget, then squares of it, one random sign per channel."""

    norm: Norm

    def side(self, area: float, shortest: int) -> int:
        return min(max(round(area**0.5), 1), shortest)

    def start(self, rows: Rows) -> Images:
        channels, _, width = rows.images.shape[1:]
        signs = rng.signs(rows.keys, (channels, 1, width), "stripes")
        return self.norm.project(rows.images + per_row(rows.eps) * signs, rows.images, rows.eps)

    def words(self, channels: int) -> int:
        return 2 + channels

    def propose(self, rows: Rows, best: Images, sides: tuple[int, ...], level: Tensor, words: Tensor) -> Images:
        side = _sides(sides, best.device)[level]
        # At the ends of the budget only the box is left to see to.
        ends = per_row(rows.eps) * _signs(words[:, 2:])[:, :, None, None]
        # Off the CPU every square counts as a large one, since a look at which are would make the device wait.
        if side.device.type != "cpu" or bool((side > SMALL).all()):
            return _selected(rows.images, best, ends, words, side)
        large = torch.nonzero(side > SMALL)[:, 0]
        points = _written(rows.images, best, ends, words, side.clamp_max(SMALL))
        if len(large):
            points[large] = _selected(rows.images[large], best[large], ends[large], words[large], side[large])
        return points


def _selected(images: Images, best: Images, ends: Tensor, words: Tensor, side: Int64[Tensor, " b"]) -> Images:
    """The best points with `ends` added to the image within each row's square."""
    inside, _, _ = _window(words[:, :2], side, best)
    return select(inside, ends.add(images).clamp_(0.0, 1.0), best)


def _written(images: Images, best: Images, ends: Tensor, words: Tensor, side: Int64[Tensor, " b"]) -> Images:
    """The same where every square is small: nothing is computed outside of it."""
    channels, height, width = best.shape[1:]
    # A square that is smaller than the largest writes its last row and column again.
    steps = torch.minimum(torch.arange(SMALL, device=best.device), side[:, None] - 1)
    down = _corner(words[:, 0], side, height)[:, None] + steps
    across = _corner(words[:, 1], side, width)[:, None] + steps
    place = (down[:, :, None] * width + across[:, None, :]).flatten(1)[:, None].expand(-1, channels, -1)
    new = images.flatten(2).gather(2, place).add_(ends[:, :, 0]).clamp_(0.0, 1.0)
    return best.flatten(2).scatter(2, place, new).reshape(best.shape)


@dataclass(frozen=True)
class Bumps:
    """L2 and L1: a perturbation whose mass is moved from one random window into a pair of bumps in another.

    `order` is the norm's, `power` shapes the bumps. Where it `projects`, the window gets more than there is to spend
    and the projection chooses what to keep; else the whole is scaled to the budget.
    """

    norm: Norm
    order: int
    power: int
    projects: bool

    def side(self, area: float, shortest: int) -> int:
        return min(max(round(area**0.5), 3) // 2 * 2 + 1, shortest)

    def start(self, rows: Rows) -> Images:
        """A grid of bumps, each with a random orientation and a random sign per channel."""
        channels, height, width = rows.images.shape[1:]
        side = max(min(height, width) // CELLS, 1)
        words = rng.bits(rows.keys, CELLS * CELLS * (1 + channels), "grid").reshape(-1, 1 + channels, CELLS, CELLS)
        places = [torch.arange(n, device=words.device) - max((n - CELLS * side) // 2, 0) for n in (height, width)]
        inside = [(place >= 0) & (place < CELLS * side) for place in places]
        down, across = (place.clamp(0, CELLS * side - 1) for place in places)
        cells = words[:, :, (down // side)[:, None], (across // side)[None, :]]
        bumps = _bumps((side,), self.order, self.power, words.device)
        bump = bumps[cells[:, 0] >> 31, 0, (down % side)[:, None], (across % side)[None, :]]
        grid = bump[:, None] * _signs(cells[:, 1:]) * (inside[0][:, None] & inside[1][None, :])
        return self._fit(rows, grid)

    def words(self, channels: int) -> int:
        return 5 + channels

    def propose(self, rows: Rows, best: Images, sides: tuple[int, ...], level: Tensor, words: Tensor) -> Images:
        side = _sides(sides, best.device)[level]
        into, down, across = _window(words[:, 0:2], side, best)
        out, _, _ = _window(words[:, 2:4], side, best)
        turned = (words[:, 4] >> 31)[:, None, None]
        bumps = _bumps(sides, self.order, self.power, best.device)
        bump = bumps[turned, level[:, None, None], down[:, :, None], across[:, None, :]][:, None]
        delta = best - rows.images
        old = delta * into
        new = bump * into * _signs(words[:, 5:])[:, :, None, None] + old / (1e-12 + self._size(old))
        new = new / (1e-12 + self._size(new)) * self._spare(rows, delta, self._size(delta * (into | out)))
        return self._fit(rows, select(into, new, delta * ~out))

    def _size(self, delta: Images) -> Float[Tensor, "b c 1 1"]:
        """The norm of each channel."""
        return self._root(self._power(delta.abs()).flatten(2).sum(dim=2))[:, :, None, None]

    def _power(self, values: Tensor) -> Tensor:
        """To the norm's order; torch would copy them for an order of 1."""
        return values if self.order == 1 else values.pow(self.order)

    def _root(self, values: Tensor) -> Tensor:
        return values if self.order == 1 else values.pow(1.0 / self.order)

    def _spare(self, rows: Rows, delta: Images, windows: Float[Tensor, "b c 1 1"]) -> Float[Tensor, "b c 1 1"]:
        """What each channel of the window may have: what both windows had, and its share of what was not spent."""
        channels = delta.shape[1]
        unspent = (self._power(rows.eps) - self._power(self.norm.size(delta))).clamp_min(0.0)
        spare = self._root(per_row(unspent) / channels + self._power(windows))
        return spare * channels if self.projects else spare

    def _fit(self, rows: Rows, delta: Images) -> Images:
        """The points whose perturbations have the budget's size, but for what the box takes."""
        if self.projects:
            return self.norm.project(rows.images + delta, rows.images, rows.eps * (1.0 - SLACK))
        scaled = delta * per_row(rows.eps / self.norm.size(delta).clamp_min(1e-12))
        return self.norm.project(rows.images + scaled, rows.images, rows.eps)


@cache
def _sides(sides: tuple[int, ...], device: torch.device) -> Int64[Tensor, " n"]:
    """The sides on a device; copied there once, because a copy from the host makes a device wait."""
    return torch.tensor(sides, device=device)


@cache
def _bumps(
    sides: tuple[int, ...], order: int, power: int, device: torch.device | None = None
) -> Float[Tensor, "2 n s s"]:
    """The pair of bumps for each side, upright and turned, filled up with zeros to the largest side; copied once."""
    table = torch.zeros(2, len(sides), max(sides), max(sides))
    for place, side in enumerate(sides):
        pair = _bump(side, order, power)
        table[0, place, :side, :side], table[1, place, :side, :side] = pair, pair.T
    return table.to(device=device)


def _bump(side: int, order: int, power: int) -> Float[Tensor, "s s"]:
    """Two bumps of opposite sign on top of each other, of size 1 together (algorithm 3's eta).

    A pixel's height is the sum of 1 / n^power over the rings that hold it, counted from its bump's middle.
    """

    def unit(bump: Tensor) -> Tensor:
        return bump / bump.abs().pow(order).sum().pow(1.0 / order).clamp_min(1e-12)

    def half(height: int, width: int) -> Tensor:
        rings = 1.0 / torch.arange(1, max(height // 2, width // 2) + 2, dtype=torch.float64) ** power
        held = rings.flip(0).cumsum(0).flip(0)
        down, across = (torch.arange(length) - length // 2 for length in (height, width))
        return unit(held[torch.maximum(down.abs()[:, None], across.abs()[None, :])])

    return unit(torch.cat([half(side // 2, side), -half(side - side // 2, side)])).float()


SQUARES: dict[str, Callable[[Norm], Squares]] = {
    "linf": Stripes,
    "l2": lambda norm: Bumps(norm, order=2, power=2, projects=False),
    "l1": lambda norm: Bumps(norm, order=1, power=4, projects=True),
}


def squares(norm: Norm) -> Squares:
    """The proposals of a norm; raises InputError where the attack has none."""
    if norm.name not in SQUARES:
        raise InputError(f"the Square attack is defined for {', '.join(SQUARES)}, not for {norm.name}")
    return SQUARES[norm.name](norm)
