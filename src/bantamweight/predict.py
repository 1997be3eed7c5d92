"""Float32 logits in one fixed tile, so that an answer never depends on what else was asked.

oneDNN and ATen pick kernels and split work by the batch size, so a row's last bits may change with it. On one machine,
build and thread count they do not change with the row's place in a batch of 64: every call has that size, filled up by
repeating a row. That also bounds memory, since every further batch shape costs its own buffers. Other tiles are used
only where they were seen to give the same bits (`agreeing`).

One exception is known: a linear layer over rows that are no multiple of 16 bytes, such as 81 pixels of one channel.
There the last bits depend on whether the row's place in the batch is even.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from bantamweight.types import Images, Int64, Logits

__all__ = ["LARGER", "SMALLER", "TILE", "agreeing", "agrees", "logits_of", "pad", "tiles", "volume"]

TILE = 64
"""The batch size of every gradient, and of every forward unless another one was seen to agree."""

SMALLER = (16, 32)
"""Tiles for the last few rows: multiples of a vector's 16 floats, or what a row comes to would depend on its place."""

LARGER = (96, 128, 160, 192, 224, 256)
"""Tiles for nets so small that a call costs more than its rows."""


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


def agreeing(function: Callable[[Images], Tensor], images: Images, candidates: Sequence[int]) -> tuple[int, ...]:
    """The tile sizes, smallest first, at which a function of images gives the same bits as in a full tile."""
    same = [size for size in candidates if agrees(function, images, size)]
    return tuple(sorted([*same, TILE]))


def agrees(function: Callable[[Images], Tensor], images: Images, size: int) -> bool:
    """Whether rows of a large tile come out the same in smaller ones, at its start, at its end and between.

    At multiples of 8 they nearly always do; this looks before anyone relies on it.
    """
    most, least = max(size, TILE), min(size, TILE)
    full = images[pad(torch.arange(min(len(images), most), device=images.device), (most,))].contiguous()
    whole = function(full)
    places = (0, 24, most - least)
    return all(torch.equal(function(full[at : at + least].contiguous()), whole[at : at + least]) for at in places)


@torch.no_grad()
def volume(module: nn.Module, images: Images) -> int:
    """Bytes that a forward writes per image: every result of every operation, counted on 8 images."""
    rows = images[pad(torch.arange(min(len(images), 8), device=images.device), (8,))]
    with _Written() as written:
        module(rows)
    return written.size_bytes // len(rows)


class _Written(TorchDispatchMode):
    """Counts what operations return; views of what is there already are counted too, which errs on the safe side."""

    def __init__(self) -> None:
        super().__init__()
        self.size_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        parts = answer if isinstance(answer, tuple | list) else (answer,)
        self.size_bytes += sum(part.numel() * part.element_size() for part in parts if isinstance(part, Tensor))
        return answer
