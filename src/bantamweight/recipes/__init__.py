"""What joins rooms: cut and fine-tune, export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FINETUNE"]

FINETUNE: Mapping[str, Any] = {
    "epochs": 10,
    "optimizer": "adam",
    "rate": 1e-4,
    "weight_decay": 0.0,
    "schedule": "constant",
}
"""Training after a cut, unless said otherwise: Adam at a constant 1e-4 for 10 epochs."""
