"""Training after a cut: what was cut stays zero."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from bantamweight.compression._core import measure
from bantamweight.facts import Fact
from bantamweight.judging.sparsity import sparsity_facts
from bantamweight.studies._place import Place
from bantamweight.studies.jobs.train import fitted
from bantamweight.variants import build, load

__all__ = ["finetune"]


def finetune(place: Place, *, recipe: dict[str, Any], asked: float, seed: int) -> list[Fact]:
    """Curves, times, and the sparsity counted again (`asked` was the cut's); `variant/`, `history.json`."""
    cut = place.variant()
    facts = fitted(place, replace(cut, name=f"{cut.name}/tuned"), recipe, seed)
    made = build(load(place.out / "variant"), trust=place.trust)
    return facts + sparsity_facts(measure(made, asked=asked))
