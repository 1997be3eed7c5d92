"""Cuts and trainings in turn, or one inside the other, as one job: only their end is a variant of the study."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from bantamweight.facts import Fact
from bantamweight.judging.compression import target_facts
from bantamweight.recipes._rounds import Schedule
from bantamweight.recipes._stages import Job, made
from bantamweight.studies._place import Place, part
from bantamweight.studies.jobs.compress import clock_of, counted

__all__ = ["scheduled"]


def scheduled(
    place: Place,
    *,
    criterion: dict[str, Any],
    kind: str,
    value: float,
    allocate: str | None,
    round_to: int,
    skip: Sequence[str],
    uncut: Literal["refuse", "say"],
    schedule: Schedule,
    rounds: int | None,
    recipe: dict[str, Any],
    seed: int,
    runtime: dict[str, Any] | None = None,
) -> list[Fact]:
    """Facts target_asked, target_reached, uncut, and those of `counted`; `variant/`; stages in the scratch area."""
    parent = place.variant()
    training = {**recipe, "augment": tuple(recipe["augment"]), "seed": seed}
    job = Job(
        parent=parent,
        data=place.data,
        rule=part(place, "compression", criterion),
        use=criterion,
        kind=kind,
        value=value,
        schedule=schedule,
        finetune=training,
        rounds=rounds,
        settings={"allocate": allocate, "round_to": round_to, "layers": None, "skip": list(skip), "uncut": uncut},
        clock=clock_of(place, runtime),
        home=place.scratch / "stages",
        trust=place.trust,
        heard=lambda what, done, total: place.tell(done / total, f"{what}: epoch {done} of {total}"),
        teacher=place.variant("teacher") if "teacher" in place.inputs else None,
    )
    cut, result = made(job)
    place.save(result)
    told = target_facts(kind, value, cut.reached, below=cut.below, above=cut.above, uncut=cut.uncut)
    return told + counted(place, result, value if kind == "sparsity" else 0.0)
