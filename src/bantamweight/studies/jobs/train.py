"""One architecture trained from scratch."""

from __future__ import annotations

from typing import Any

from bantamweight.compression import measure
from bantamweight.errors import BantamError
from bantamweight.facts import Fact
from bantamweight.judging.sparsity import sparsity_facts
from bantamweight.parts import configure
from bantamweight.studies._curves import training_facts, write_history
from bantamweight.studies._place import Place
from bantamweight.training._core import train as fit
from bantamweight.training._fresh import fresh
from bantamweight.training._values import Span
from bantamweight.variants import Variant, build, load

__all__ = ["asked", "fitted", "train"]


def train(place: Place, *, model: dict[str, Any], recipe: dict[str, Any], seed: int) -> list[Fact]:
    """Curves, times and zeros as facts; `variant/`, `history.json`. Checkpoints are in the scratch area meanwhile."""
    facts = fitted(place, fresh(model, place.data, seed=seed, trust=place.trust), recipe, seed)
    share = asked(recipe)
    if share is None:
        return facts
    module = build(load(place.out / "variant"), trust=place.trust)
    return facts + sparsity_facts(measure(module, asked=share))


def asked(recipe: dict[str, Any]) -> float | None:
    """The share of weights that a training is to be rid of in the end, where something is cut in it."""
    if recipe["compress"] is None:
        return None
    share: float = configure("pruning", recipe["compress"]).make(Span(recipe["epochs"], 100)).sparsity
    return share


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
    return training_facts(trained, recipe["objective"])
