"""How a cut is spread over layers: scores and a sparsity in, keep masks out.

`global` and `per_layer` are exact to the weight. The others first settle a share for every layer and then drop the
lowest scores within each; rounding leaves the total within one weight per layer of what was asked. `funnel` may be off
by more: where a small layer comes after a large one, the large one's share is rounded down to what the small one can
have (some hundreds of the 2.2 million weights of MobileNetV2). All are nested: what goes at one sparsity is gone at
every higher one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bantamweight.errors import InputError, near
from bantamweight.types import Bool, Float

__all__ = [
    "ALLOCATIONS",
    "Allocation",
    "Masks",
    "Scores",
    "allocate",
    "by_sensitivity",
    "check_sparsity",
    "erk_masks",
    "funnel_masks",
    "global_masks",
    "per_layer_masks",
]

Scores = Mapping[str, Float[Tensor, "..."]]
"""One number per weight, in the weight's shape; the lowest go first."""

Masks = dict[str, Bool[Tensor, "..."]]
"""True where a weight is kept."""

Allocation = Callable[[Scores, float], Masks]


def check_sparsity(sparsity: float) -> float:
    """The sparsity as a float; InputError unless it is in [0, 1)."""
    if isinstance(sparsity, bool) or not isinstance(sparsity, (int, float)) or not 0 <= sparsity < 1:
        raise InputError(f"expected a sparsity in [0, 1), the share of weights to set to zero, got {sparsity!r}")
    return float(sparsity)


def _drop(scores: Tensor, zeros: int) -> Tensor:
    """A keep mask with exactly that many of the lowest dropped."""
    return _keep(scores.reshape(-1), zeros).reshape(scores.shape)


def _keep(scores: Float[Tensor, " n"], zeros: int) -> Bool[Tensor, " n"]:
    """Drop exactly `zeros` of the lowest; among equals the first go first, so masks stay nested."""
    if zeros == 0:
        return torch.ones_like(scores, dtype=torch.bool)
    edge = torch.kthvalue(scores, zeros).values
    drop = scores < edge
    ties = torch.nonzero(scores == edge).squeeze(1)
    drop[ties[: zeros - int(drop.sum())]] = True
    return ~drop


def global_masks(scores: Scores, sparsity: float) -> Masks:
    """Drop the lowest scores wherever they are: round(sparsity * all weights) zeros in all.

    Use it when scores of different layers are comparable; layers that matter less end up thinner.

    >>> masks = global_masks({"a": torch.tensor([1.0, 4.0]), "b": torch.tensor([2.0, 3.0])}, 0.5)
    >>> {name: mask.tolist() for name, mask in masks.items()}
    {'a': [False, True], 'b': [False, True]}
    """
    together = torch.cat([part.reshape(-1) for part in scores.values()])
    flat = _keep(together, round(sparsity * len(together)))
    pieces = torch.split(flat, [part.numel() for part in scores.values()])
    return {name: piece.reshape(scores[name].shape) for name, piece in zip(scores, pieces, strict=True)}


def per_layer_masks(scores: Scores, sparsity: float) -> Masks:
    """Drop the lowest scores of each tensor: round(sparsity * its weights) zeros in each.

    Use it when scores of different layers are not comparable, or when no layer may be thinned more than another.
    """
    return {name: _drop(part, round(sparsity * part.numel())) for name, part in scores.items()}


def funnel_masks(scores: Scores, sparsity: float) -> Masks:
    """Each deeper layer at least as sparse as the one before it, and as near as that allows to `global_masks`.

    The global shares are projected onto non-decreasing sequences, layers weighted by their sizes: pool adjacent
    violators (Barlow et al. 1972), which keeps the total. Layers are in the order of `scores`, which is the module's.

    >>> masks = funnel_masks({"a": torch.tensor([1.0, 2.0, 5.0, 6.0]), "b": torch.tensor([7.0, 8.0, 3.0, 9.0])}, 0.5)
    >>> [int((~mask).sum()) for mask in masks.values()]
    [2, 2]
    """
    sizes = [part.numel() for part in scores.values()]
    zeros = [int((~mask).sum()) for mask in global_masks(scores, sparsity).values()]
    pools: list[tuple[int, int, int]] = []  # zeros, weights, layers
    for pool in zip(zeros, sizes, [1] * len(sizes), strict=True):
        while pools and pools[-1][0] * pool[1] > pool[0] * pools[-1][1]:
            last = pools.pop()
            pool = (last[0] + pool[0], last[1] + pool[1], last[2] + pool[2])
        pools.append(pool)
    counts = [-(-size * pool[0] // pool[1]) for size, pool in zip(sizes, _spread(pools), strict=True)]
    for layer in range(len(sizes) - 2, -1, -1):  # from the deepest, so that rounding can't break the rule
        counts[layer] = min(counts[layer], counts[layer + 1] * sizes[layer] // sizes[layer + 1])
    return {name: _drop(part, count) for (name, part), count in zip(scores.items(), counts, strict=True)}


def _spread(pools: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    return [pool for pool in pools for _ in range(pool[2])]


def erk_masks(scores: Scores, sparsity: float) -> Masks:
    """Erdos-Renyi-kernel: a layer keeps weights in proportion to the sum of its sides, so small layers stay denser.

    Use it at high sparsity, where per_layer starves small layers and global may empty large ones. Evci et al. 2020,
    "Rigging the lottery", section 3; a layer that would keep more than it has is kept whole and the rest thinned more.
    """
    sizes = {name: part.numel() for name, part in scores.items()}
    sides = {name: sum(part.shape) for name, part in scores.items()}
    budget, whole = (1 - sparsity) * sum(sizes.values()), set[str]()
    while True:
        rest = [name for name in scores if name not in whole]
        factor = (budget - sum(sizes[name] for name in whole)) / max(1, sum(sides[name] for name in rest))
        over = {name for name in rest if factor * sides[name] > sizes[name]}
        if not over:
            break
        whole |= over
    kept = {name: 1.0 if name in whole else factor * sides[name] / sizes[name] for name in scores}
    return {name: _drop(part, round((1 - kept[name]) * sizes[name])) for name, part in scores.items()}


def by_sensitivity(curves: Mapping[str, Sequence[tuple[float, float]]]) -> Allocation:
    """An allocation from measured curves: every layer is thinned until it alone would cost the same accuracy.

    `curves` maps a tensor's name to (sparsity, drop in accuracy, as a share) pairs, as `sensitivity` measures them.
    Between points a curve is linear, it never falls (a gain counts as nothing), and an emptied layer costs everything.
    Han et al. 2015, "Learning both weights and connections", section 3.1 sets its thresholds by such curves, by hand.
    Raises InputError, when called, for a layer without a curve.
    """
    known = {name: _rising(points) for name, points in curves.items()}

    def masks(scores: Scores, sparsity: float) -> Masks:
        for name in scores:
            if name not in known:
                raise InputError(f"expected a sensitivity curve for {name!r}, got none; measure it or skip that layer")
        sizes = {name: part.numel() for name, part in scores.items()}
        low, high = 0.0, 2.0
        for _ in range(60):
            middle = (low + high) / 2
            zeros = sum(_share(known[name], middle) * size for name, size in sizes.items())
            low, high = (middle, high) if zeros < sparsity * sum(sizes.values()) else (low, middle)
        return {name: _drop(part, round(_share(known[name], high) * sizes[name])) for name, part in scores.items()}

    return masks


def _rising(points: Sequence[tuple[float, float]]) -> tuple[np.ndarray, np.ndarray]:
    """Drops and the sparsities they stand at, both rising: the slope added is too small to matter and never zero."""
    shares = np.array([0.0, *(share for share, _ in sorted(points) if 0 < share < 1), 1.0])
    drops = np.array([0.0, *(drop for share, drop in sorted(points) if 0 < share < 1), 1.0])
    return np.maximum.accumulate(drops) + 1e-6 * shares, shares


def _share(curve: tuple[np.ndarray, np.ndarray], drop: float) -> float:
    return float(np.interp(drop, *curve))


ALLOCATIONS: Mapping[str, Allocation] = {
    "global": global_masks,
    "per_layer": per_layer_masks,
    "funnel": funnel_masks,
    "erk": erk_masks,
}


def allocate(scores: Scores, sparsity: float, how: str | Allocation = "global") -> Masks:
    """Second verb: keep masks with the zeros asked for.

    `how` is a name in ALLOCATIONS or a function of scores and sparsity. Raises InputError for a sparsity outside
    [0, 1) and when a layer would lose its last weight, which would cut the network in two.
    """
    sparsity = check_sparsity(sparsity)
    if isinstance(how, str):
        if how not in ALLOCATIONS:
            raise InputError(f"{how!r} is no allocation{near(how, ALLOCATIONS)}")
        how = ALLOCATIONS[how]
    masks = how(scores, sparsity)
    for name, mask in masks.items():
        if not bool(mask.any()):
            raise InputError(
                f"a sparsity of {sparsity:g} would leave none of the {mask.numel()} weights of {name!r}; "
                f"ask for less, skip that layer, or allocate {'erk' if how is per_layer_masks else 'per_layer'}"
            )
    return masks
