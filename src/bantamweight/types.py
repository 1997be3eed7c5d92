"""The tensors that flow between rooms, with their shapes."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int, Int64, UInt8
from torch import Tensor

Images = Float[Tensor, "b c h w"]
"""Pixels in [0, 1]; normalisation is the model's first layer, so an epsilon always means pixels."""

Labels = Int[Tensor, " b"]
"""Class indices."""

Logits = Float[Tensor, "b k"]
"""Unnormalised class scores, one row per image."""

__all__ = ["Bool", "Float", "Images", "Int", "Int64", "Labels", "Logits", "Tensor", "UInt8"]
