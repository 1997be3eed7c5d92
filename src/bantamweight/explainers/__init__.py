"""Explainers: where in an image a class score comes from. One method per file; `explain` runs them all."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bantamweight.explainers._core import Attributions, Explainer, Undefined, explain

__all__ = ["Attributions", "Explainer", "Undefined", "explain"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the room does not import torch."""
    if name in __all__:
        return getattr(importlib.import_module(f"{__name__}._core"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
