"""N:M sparsity: of every M neighbouring weights along the input, N stay.

Mishra et al., "Accelerating sparse deep neural networks" (2021), section 2: 2:4 along the dimension that a matrix
product sums over, which for a convolution is its input channels. On a CPU the zeros save bytes and no time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import pad

from bantamweight.compression._core import Criterion, prunable
from bantamweight.errors import InputError

__all__ = ["n_m", "two_four"]

Scores = Mapping[str, Tensor]


def two_four() -> Criterion:
    """2:4, the pattern that sparse tensor cores read; `n_m` has others."""
    return _scheme("two_four", 2, 4)


def n_m(*, n: Annotated[int, Field(ge=1, le=64)] = 2, m: Annotated[int, Field(ge=2, le=64)] = 4) -> Criterion:
    """Keeps the N largest of every M weights along the input; where hardware wants a pattern.

    Its only sparsity is 1 - n / m. An incomplete last group counts as filled up with zeros: of three weights, 2:4
    keeps two, and of a depthwise convolution's single one it keeps that. Raises InputError unless n < m.
    """
    if n >= m:
        raise InputError(f"expected n below m, since n of every m weights stay, got n={n} and m={m}")
    return _scheme(f"n_m-{n}-{m}", n, m)


def _scheme(name: str, n: int, m: int) -> Criterion:
    def masks(scores: Scores, _sparsity: float) -> dict[str, Tensor]:
        return {name: _largest(part, n, m) for name, part in scores.items()}

    return Criterion(name, "none", _score, allocation=masks, only=1 - n / m)


def _score(module: nn.Module, _evidence: Scores) -> dict[str, Tensor]:
    return {name: weight.abs() for name, weight in prunable(module).items()}


def _largest(scores: Tensor, n: int, m: int) -> Tensor:
    """A keep mask: along dimension 1, the n largest of every m; among equals the first stay."""
    last = scores.transpose(1, -1)
    groups = -(-last.shape[-1] // m)
    filled = pad(last, (0, groups * m - last.shape[-1]), value=-torch.inf).reshape(*last.shape[:-1], groups, m)
    best = torch.argsort(filled, dim=-1, descending=True, stable=True)[..., :n]
    keep = torch.zeros_like(filled, dtype=torch.bool).scatter_(-1, best, True)
    return keep.reshape(*last.shape[:-1], groups * m)[..., : last.shape[-1]].transpose(1, -1).contiguous()
