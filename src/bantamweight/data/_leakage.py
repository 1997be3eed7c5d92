"""Near-duplicates across splits: what a test image can't prove when its twin was trained on.

dHash (Krawetz, "Kind of like that", 2013): grey, reduced to 9 x 8, one bit per pair of neighbours, 64 in all. Pairs
within a small Hamming distance are candidates; a pair counts when the reduced images also correlate, since plain
pictures (sky, paper) share a hash without being the same. With the limits below, all of the 64 best pairs of CIFAR-10's
train and test were twins when looked at (recoloured ones among them); the digits have two pairs, a 1 and a 1 each that
are hard to tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor
from torch.nn import functional

from bantamweight.data._core import Split
from bantamweight.types import Float

__all__ = ["dhash", "leaks"]

_ROWS = 1024


def dhash(images: UInt8[Tensor, "n c h w"]) -> Bool[Tensor, "n 64"]:
    """The 64 bits of each image: whether it grows brighter to the right, eight times in each of eight rows."""
    return _bits(_reduced(images))


def leaks(
    splits: Mapping[str, Split], *, bits: int = 8, correlation: float = 0.985
) -> tuple[tuple[str, str, str, str], ...]:
    """Pairs (split, name, other split, name) of images that show the same; at most one twin per image and split.

    `bits` is the greatest Hamming distance of the hashes, `correlation` the least one of the reduced grey images.
    50,000 against 10,000 images take a few seconds and 300 MB. Mirrored twins are not found.
    """
    keys = [key for key in ("train", "val", "test", *sorted(splits)) if key in splits]
    keys = [key for index, key in enumerate(keys) if key not in keys[:index] and len(splits[key])]
    small = {key: _reduced(splits[key].images) for key in keys}
    found = []
    for later in range(1, len(keys)):
        for earlier in range(later):
            first, second = keys[earlier], keys[later]
            found += [
                (first, splits[first].names[left], second, splits[second].names[right])
                for left, right in _twins(small[first], small[second], bits, correlation)
            ]
    return tuple(found)


def _reduced(images: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n 8 9"]:
    parts = []
    for start in range(0, len(images), 4 * _ROWS):
        pixels = images[start : start + 4 * _ROWS].to(torch.float32).div_(255.0)
        if pixels.shape[1] == 3:
            pixels = 0.299 * pixels[:, :1] + 0.587 * pixels[:, 1:2] + 0.114 * pixels[:, 2:]
        parts.append(functional.interpolate(pixels, (8, 9), mode="bilinear", antialias=True)[:, 0])
    return torch.cat(parts) if parts else torch.empty(0, 8, 9)


def _twins(first: Tensor, second: Tensor, bits: int, correlation: float) -> list[tuple[int, int]]:
    """For every image of `second` its nearest in `first`, where it is near enough."""
    left, right = _signs(first), _signs(second)
    pairs = []
    for start in range(0, len(second), _ROWS):
        # Rows of +-1: their product is 64 - 2 x the Hamming distance, exactly, and a matrix product is fast.
        nearest, index = (right[start : start + _ROWS] @ left.T).max(dim=1)
        rows = (nearest >= 64 - 2 * bits).nonzero().flatten()
        alike = _alike(first[index[rows]], second[start + rows]) >= correlation
        pairs += [(int(index[row]), start + int(row)) for row in rows[alike]]
    return pairs


def _bits(small: Float[Tensor, "n 8 9"]) -> Bool[Tensor, "n 64"]:
    return (small[:, :, 1:] > small[:, :, :-1]).flatten(1)


def _signs(small: Float[Tensor, "n 8 9"]) -> Float[Tensor, "n 64"]:
    return _bits(small).to(torch.float32) * 2.0 - 1.0


def _alike(first: Float[Tensor, "n 8 9"], second: Float[Tensor, "n 8 9"]) -> Float[Tensor, " n"]:
    """Correlation; 1 for two images of one and the same plain grey, where it is not defined."""
    one, other = (each - each.mean(dim=(1, 2), keepdim=True) for each in (first, second))
    spread = (one.square().sum(dim=(1, 2)) * other.square().sum(dim=(1, 2))).sqrt()
    same = (first - second).abs().amax(dim=(1, 2)) <= 1.0 / 255.0
    return torch.where(same, 1.0, (one * other).sum(dim=(1, 2)) / spread.clamp_min(1e-6))
