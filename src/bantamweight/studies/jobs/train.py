"""One architecture trained from scratch."""

from __future__ import annotations

from typing import Any

from bantamweight.errors import BantamError
from bantamweight.facts import Fact
from bantamweight.studies._curves import training_facts, write_history
from bantamweight.studies._place import Place
from bantamweight.training._core import train as fit
from bantamweight.training._fresh import fresh
from bantamweight.variants import Variant

__all__ = ["fitted", "train"]


def train(place: Place, *, model: dict[str, Any], recipe: dict[str, Any], seed: int) -> list[Fact]:
    """Curves and times as facts; `variant/`, `history.json`. Checkpoints are in the scratch area until it is done."""
    return fitted(place, fresh(model, place.data, seed=seed, trust=place.trust), recipe, seed)


def fitted(place: Place, start: Variant, recipe: dict[str, Any], seed: int) -> list[Fact]:
    """Train `start` and leave the best weights as this job's result."""
    trained = fit(
        start,
        place.data,
        place.scratch,
        progress=lambda epoch, epochs: place.tell(epoch / epochs, f"epoch {epoch} of {epochs}"),
        trust=place.trust,
        teacher=place.variant("teacher") if "teacher" in place.inputs else None,
        **{**recipe, "augment": tuple(recipe["augment"])},
        seed=seed,
    )
    if trained.variant is None:
        raise BantamError("training a variant gave no variant back")
    place.save(trained.variant)
    write_history(trained, place.out / "history.json")
    return training_facts(trained)
