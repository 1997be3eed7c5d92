"""Float32 logits in one fixed tile, so that an answer never depends on what else was asked.

oneDNN and ATen pick kernels and split work by the batch size, so a row's last bits may change with it. On one machine,
build and thread count they do not change with the row's place in a batch of 64: every call has that size, filled up by
repeating a row. That also bounds memory, since every further batch shape costs its own buffers. Smaller tiles are used
only where they were seen to give the same bits (`agreeing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from bantamweight.types import Images, Int64, Logits

__all__ = ["TILE", "agreeing", "logits_of", "pad", "tiles"]

TILE = 64
"""The batch size of every gradient, and of every forward unless a smaller one was seen to agree."""

SMALLER = (8, 16, 32)


def pad(index: Int64[Tensor, " n"], sizes: Sequence[int] = (TILE,)) -> Int64[Tensor, " t"]:
    """At most one tile of row numbers, filled up to the smallest size that holds them by repeating the first.

    >>> pad(torch.tensor([3, 5]), (4, 64)).tolist()
    [3, 5, 3, 3]
    """
    size = next(size for size in sizes if len(index) <= size)
    return torch.cat([index, index[:1].expand(size - len(index))])


def tiles(rows: int) -> Iterator[slice]:
    """Slices of at most one full tile each."""
    return (slice(start, min(start + TILE, rows)) for start in range(0, rows, TILE))


@torch.no_grad()
def logits_of(module: nn.Module, images: Images, *, sizes: Sequence[int] = (TILE,)) -> Logits:
    """Logits of a module in its present mode, tile by tile; images are floats in [0, 1] or bytes.

    Bitwise independent of the number and order of the images.
    """
    answers = []
    for part in tiles(len(images)):
        rows = pad(torch.arange(part.start, part.stop, device=images.device), sizes)
        batch = images[rows]
        if batch.dtype == torch.uint8:
            batch = batch.to(torch.float32) / 255.0
        answers.append(module(batch.contiguous()).float()[: part.stop - part.start])
    return torch.cat(answers) if answers else torch.empty(0, 0)


def agreeing(function: Callable[[Images], Tensor], images: Images) -> tuple[int, ...]:
    """The tile sizes, the full one last, at which a function of images gives the same bits as in a full tile.

    Multiples of 8 nearly always do; this looks before anyone relies on it.
    """
    full = images[pad(torch.arange(min(len(images), TILE), device=images.device))].contiguous()
    whole = function(full)
    same = [
        size
        for size in SMALLER
        if all(torch.equal(function(full[at : at + size].contiguous()), whole[at : at + size]) for at in (0, 24))
    ]
    return (*same, TILE)
