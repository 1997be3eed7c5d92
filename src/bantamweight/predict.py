"""Float32 logits in fixed tiles, so that an answer never depends on what else was asked.

oneDNN picks its kernels by the batch size; on one machine, build and thread count, logits and gradients are bit-equal
across batch sizes that are multiples of 8 and differ at sizes 1 or 7. So every batch is padded to one of a few sizes,
which also bounds memory: every further batch shape costs its own buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from bantamweight.types import Images, Int64, Logits

__all__ = ["TILES", "logits_of", "pad", "tile_of", "tiles"]

TILES = (8, 16, 32, 64)
"""The only batch sizes a model ever sees."""


def tile_of(rows: int) -> int:
    """The smallest tile that holds that many rows, or the largest there is.

    >>> [tile_of(rows) for rows in (1, 8, 9, 1000)]
    [8, 8, 16, 64]
    """
    return next((tile for tile in TILES if rows <= tile), TILES[-1])


def pad(index: Int64[Tensor, " n"]) -> Int64[Tensor, " t"]:
    """Row numbers filled up to a tile by repeating the first one."""
    return torch.cat([index, index[:1].expand(tile_of(len(index)) - len(index))])


def tiles(rows: int) -> Iterator[slice]:
    """Slices of at most one full tile each."""
    return (slice(start, min(start + TILES[-1], rows)) for start in range(0, rows, TILES[-1]))


@torch.no_grad()
def logits_of(module: nn.Module, images: Images) -> Logits:
    """Logits of a module in its present mode, tile by tile; images are floats in [0, 1] or bytes.

    Bitwise independent of the number and order of the images.
    """
    answers = []
    for part in tiles(len(images)):
        rows = pad(torch.arange(part.start, part.stop, device=images.device))
        batch = images[rows]
        if batch.dtype == torch.uint8:
            batch = batch.to(torch.float32) / 255.0
        answers.append(module(batch.contiguous()).float()[: part.stop - part.start])
    return torch.cat(answers) if answers else torch.empty(0, 0)
