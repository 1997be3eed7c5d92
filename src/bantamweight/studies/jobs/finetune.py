"""Training after a cut: what was cut stays zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bantamweight.facts import Fact
from bantamweight.studies._place import Place
from bantamweight.studies.jobs.train import fitted

__all__ = ["finetune"]


def finetune(place: Place, *, recipe: dict[str, Any], seed: int) -> list[Fact]:
    """Curves and times as facts; `variant/`, `history.json`."""
    cut = place.variant()
    return fitted(place, replace(cut, name=f"{cut.name}/tuned"), recipe, seed)
