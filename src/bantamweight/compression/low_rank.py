"""Low rank: a layer becomes two thin ones, by the singular value decomposition of its matrix.

Denton, Zaremba, Bruna, LeCun, Fergus, "Exploiting linear structure within convolutional networks" (2014), section 3.2;
for convolutions the split is that of Zhang, Zou, He, Sun, "Accelerating very deep convolutional networks" (2015),
equation 4 without its response term: outputs against input channels and kernel together. By Eckart and Young no other
matrix of that rank is nearer to the layer's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bantamweight.compression._ranks import Factorisation

__all__ = ["low_rank"]


def low_rank() -> Factorisation:
    """Factors convolutions and linear layers; no zeros and no narrower features, for layers with fast-falling values.

    >>> left, values, right = low_rank().split(torch.eye(2))
    >>> (left * values) @ right
    tensor([[1., 0.],
            [0., 1.]])
    """
    return Factorisation("low_rank", _split)


def _split(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    return left, values, right
