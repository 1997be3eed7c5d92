"""Metrics: how far a map may be trusted. One metric per file; `judging/scores.py` makes facts of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.explainers.metrics._core import Metric, Scene, Scores, answers, scene

__all__ = ["Metric", "Scene", "Scores", "answers", "scene"]

__getattr__, __dir__ = lazy(__name__, dict.fromkeys(__all__, "_core"))
