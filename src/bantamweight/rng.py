"""Random numbers that don't know who else is in the batch.

Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), vectorised in integer arithmetic, the
same on any device: row i depends only on its own key (a hash of the image) and on the words that say what the numbers
are for (seed, purpose, restart, step).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from bantamweight.types import Float, Images, Int64

__all__ = ["fold", "generator", "image_keys", "normal", "signs", "stream", "uniform"]

Word = int | float | str
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85
_MASK = 0xFFFFFFFF


def stream(seed: int, *words: Word) -> int:
    """A 63-bit seed derived from a seed and words, the same on every machine.

    >>> stream(0, "shuffle", 3) == stream(0, "shuffle", 3) != stream(0, "shuffle", 4)
    True
    """
    text = "\x1f".join([str(seed), *(f"{type(word).__name__}:{word}" for word in words)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, *words: Word) -> np.random.Generator:
    """A NumPy generator for draws made on the host (splits, shuffles), keyed like `stream`."""
    return np.random.Generator(np.random.Philox(stream(seed, *words)))


def image_keys(images: Images) -> Int64[Tensor, " b"]:
    """One 63-bit key per image, from its exact float32 content."""
    rows = images.detach().to("cpu", torch.float32).contiguous().numpy()
    keys = [int.from_bytes(hashlib.blake2b(row.tobytes(), digest_size=8).digest(), "big") >> 1 for row in rows]
    return torch.tensor(keys, dtype=torch.int64, device=images.device)


def _multiply(a: Tensor, constant: int) -> tuple[Tensor, Tensor]:
    """High and low 32 bits of an unsigned 32 x 32 product; int64 wraps, and masking undoes the sign."""
    product = a * constant
    return (product >> 32) & _MASK, product & _MASK


def _philox(counters: Sequence[Tensor], key0: Tensor, key1: Tensor) -> list[Tensor]:
    """Ten rounds over four words per place, under keys that may be one per row."""
    here = _philox_on_host if counters[0].device.type == "cpu" else _philox_in_torch
    return here(counters, key0, key1)


def _philox_in_torch(counters: Sequence[Tensor], key0: Tensor, key1: Tensor) -> list[Tensor]:
    c0, c1, c2, c3 = counters
    for _ in range(10):
        high0, low0 = _multiply(c0, _M0)
        high1, low1 = _multiply(c2, _M1)
        c0, c1, c2, c3 = high1 ^ c1 ^ key0, low1, high0 ^ c3 ^ key1, low0
        key0, key1 = (key0 + _W0) & _MASK, (key1 + _W1) & _MASK
    return [c0, c1, c2, c3]


def _philox_on_host(counters: Sequence[Tensor], key0: Tensor, key1: Tensor) -> list[Tensor]:
    """The same in NumPy, which has unsigned words and writes in place: a third of the time."""
    c0, c1, c2, c3 = (counter.numpy().astype(np.uint64, order="C") for counter in counters)
    k0, k1 = (key.numpy().astype(np.uint64) for key in (key0, key1))
    m0, m1, w0, w1, mask, half = (np.uint64(word) for word in (_M0, _M1, _W0, _W1, _MASK, 32))
    product0, product1 = np.empty_like(c0), np.empty_like(c0)
    for _ in range(10):
        np.multiply(c0, m0, out=product0)
        np.multiply(c2, m1, out=product1)
        for high, product, low, key in ((c0, product1, c1, k0), (c2, product0, c3, k1)):
            np.right_shift(product, half, out=high)
            high ^= low
            high ^= key
            np.bitwise_and(product, mask, out=low)
        k0, k1 = (k0 + w0) & mask, (k1 + w1) & mask
    return [torch.from_numpy(word.view(np.int64)) for word in (c0, c1, c2, c3)]


def bits(keys: Int64[Tensor, " b"], count: int, *words: Word) -> Int64[Tensor, "b n"]:
    """`count` 32-bit words per row (as int64 in [0, 2^32)).

    The 63-bit row key is Philox's key; the words choose half of the counter, the position the other half.
    """
    blocks = (count + 3) // 4
    purpose = stream(0, *words)
    position = torch.arange(blocks, dtype=torch.int64, device=keys.device).expand(len(keys), blocks)
    high = torch.full_like(position, purpose >> 32)
    low = torch.full_like(position, purpose & _MASK)
    key0, key1 = (keys & _MASK)[:, None], ((keys >> 32) & _MASK)[:, None]
    words4 = _philox([position, torch.zeros_like(position), low, high], key0, key1)
    return torch.stack(words4, dim=2).reshape(len(keys), 4 * blocks)[:, :count]


def fold(keys: Int64[Tensor, " b"], values: Int64[Tensor, " b"]) -> Int64[Tensor, " b"]:
    """New row keys that also depend on one number per row (a restart, a target, a step out of phase)."""
    zeros = torch.zeros_like(keys)
    counters = [values & _MASK, (values >> 32) & _MASK, zeros, zeros]
    mixed = _philox(counters, keys & _MASK, (keys >> 32) & _MASK)
    return ((mixed[0] & 0x7FFFFFFF) << 32) | mixed[1]


def uniform(keys: Int64[Tensor, " b"], shape: Sequence[int], *words: Word) -> Float[Tensor, "b ..."]:
    """Uniform float32 in [0, 1) with 24 random bits, shape `(b, *shape)`."""
    drawn = bits(keys, math.prod(shape), *words)
    return ((drawn >> 8).to(torch.float32) * 2.0**-24).reshape(len(keys), *shape)


def normal(keys: Int64[Tensor, " b"], shape: Sequence[int], *words: Word) -> Float[Tensor, "b ..."]:
    """Standard normal float32 by Box and Muller (1958), shape `(b, *shape)`."""
    count = math.prod(shape)
    half = (count + 1) // 2
    # Float64, because the last bit of a float32 log or cosine depends on where in a vector register it falls.
    drawn = ((bits(keys, 2 * half, *words) >> 8).to(torch.float64) + 0.5) * 2.0**-24
    radius = torch.sqrt(-2.0 * torch.log(drawn[:, :half]))
    angle = 2.0 * math.pi * drawn[:, half:]
    pair = torch.cat([radius * torch.cos(angle), radius * torch.sin(angle)], dim=1)
    return pair[:, :count].to(torch.float32).reshape(len(keys), *shape)


def signs(keys: Int64[Tensor, " b"], shape: Sequence[int], *words: Word) -> Float[Tensor, "b ..."]:
    """Fair random signs, -1 or +1, shape `(b, *shape)`."""
    drawn = bits(keys, math.prod(shape), *words)
    return ((drawn >> 31).to(torch.float32) * 2.0 - 1.0).reshape(len(keys), *shape)
