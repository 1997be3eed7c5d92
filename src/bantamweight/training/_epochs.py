"""The batches of an epoch: shuffled, augmented and cut, all of it a function of (seed, epoch) alone.

So a resumed training needs no generator's state, and augmentation works on some thousands of images at a time,
not batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bantamweight.data import Split, augment
from bantamweight.rng import generator
from bantamweight.types import Images, Int64, Labels

__all__ = ["Batch", "batches", "count"]

CHUNK = 4096 * 3 * 32 * 32
"""Pixel values augmented together (50 MB as floats): enough to be fast, few enough to bound memory at any size."""


@dataclass(frozen=True)
class Batch:
    """This process's share of one batch; `whole` is the size of the batch over all processes."""

    images: Images
    labels: Labels
    index: Int64[Tensor, " b"]
    whole: int


def count(images: int, batch: int) -> int:
    """Batches in an epoch: as few as keep each at or under the asked size.

    >>> count(1600, 64), count(100, 64)
    (25, 2)
    """
    return -(-images // batch)


def batches(
    split: Split,
    batch: int,
    ops: tuple[str | dict[str, Any], ...],
    *,
    seed: int,
    epoch: int,
    device: torch.device,
    memory_format: torch.memory_format,
    rank: int = 0,
    world: int = 1,
) -> Iterator[Batch]:
    """Every image once, in batches of (nearly) equal size: none is left out and none is a batch of its own."""
    order = torch.from_numpy(generator(seed, "shuffle", epoch).permutation(len(split)))
    number = count(len(split), batch)
    bounds = [part * len(split) // number for part in range(number + 1)]
    together = max(1, CHUNK // (batch * split.images[0].numel()))
    for first in range(0, number, together):
        last = min(first + together, number)
        parts = [order[bounds[part] : bounds[part + 1]] for part in range(first, last)]
        own = [part[rank::world] for part in parts]
        index = torch.cat(own)
        images = split.floats(index).to(device)
        images = augment(images, ops, seed=seed, epoch=epoch, index=index).contiguous(memory_format=memory_format)
        labels = split.labels[index].to(device)
        start = 0
        for part, mine in zip(parts, own, strict=True):
            rows = slice(start, start + len(mine))
            yield Batch(images[rows], labels[rows], mine, len(part))
            start = rows.stop
