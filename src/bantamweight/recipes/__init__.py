"""What joins rooms: cut and fine-tune, export."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["FINETUNE", "FINETUNES"]

FINETUNE: Mapping[str, Any] = {
    "epochs": 10,
    "optimizer": "adam",
    "rate": 1e-4,
    "weight_decay": 0.0,
    "schedule": "constant",
}
"""Training after a cut, unless said otherwise: Adam at a constant 1e-4 for 10 epochs."""

FINETUNES: Mapping[str, Mapping[str, Any] | None] = {
    "none": None,
    "adam": FINETUNE,
    "cycle": {"epochs": 10, "optimizer": "adamw", "rate": 1e-3, "weight_decay": 5e-4, "schedule": "one_cycle"},
    "distill": {**FINETUNE, "objective": "distill", "rate": 1e-3, "schedule": "one_cycle"},
    "sgd": {
        "epochs": 50,
        "batch": 256,
        "optimizer": "sgd",
        "rate": 1e-3,
        "weight_decay": 5e-4,
        "schedule": "exponential",
    },
}
"""Recipes of training after a cut, by name: settings of `training.train`.

`adam` is the default; `cycle` raises the rate and lets it fall, for deep cuts and few epochs; `distill` does so
with the parent as its teacher; `sgd` is the long one of studies that retrain what they pruned.
"""
