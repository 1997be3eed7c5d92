"""Explainers: where in an image a class score comes from. One method per file; `explain` runs them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.explainers._core import Attributions, Explainer, Undefined, explain

__all__ = ["Attributions", "Explainer", "Undefined", "explain"]

__getattr__, __dir__ = lazy(
    __name__,
    {"Attributions": "_core", "Explainer": "_core", "Undefined": "_core", "explain": "_core"},
)
