"""Interleaved timing of several variants on several runtimes, and how each exported file answers beside torch."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from bantamweight.data import Split
from bantamweight.facts import Fact
from bantamweight.judging.latency import latency_facts
from bantamweight.judging.parity import kept_facts, parity_facts
from bantamweight.judging.sparsity import size_facts
from bantamweight.parts import configure
from bantamweight.predict import logits_of
from bantamweight.recipes._int8 import answers
from bantamweight.runtimes._core import Session, compare, prepare
from bantamweight.runtimes._latency import measure
from bantamweight.studies._place import Place, draw, split_of
from bantamweight.variants import Variant, build, load

__all__ = ["latency"]

COMPARED = 64
"""Images on which an exported file is held against torch."""

CALIBRATED = 256
"""Training images from which a runtime of integers takes its ranges."""

JUDGED = 2000
"""Images on which a file that answers otherwise than torch is judged."""


def latency(
    place: Place,
    *,
    runtimes: Sequence[dict[str, Any]],
    batches: Sequence[int],
    runs: int,
    warmups: int,
    split: str,
) -> list[Fact]:
    """Facts of judging.latency, parity and size_bytes of what was exported; `exports/` holds the files.

    The inputs are the variants, by the names the study gives them; a speed-up is over a variant's dense ancestor.
    """
    chosen = split_of(place, split)
    images = chosen.floats(draw(len(chosen), COMPARED)).numpy().astype(np.float32)
    seen = split_of(place, "train" if "train" in place.data.splits else split)
    ranges = seen.floats(draw(len(seen), CALIBRATED, seed=1)).numpy().astype(np.float32)
    facts: list[Fact] = []
    with ExitStack() as stack:
        sessions: dict[tuple[str, str], Session] = {}
        for number, (name, folder) in enumerate(place.inputs.items()):
            variant = load(folder / "variant")
            for spec in runtimes:
                session, found = _prepared(place, stack, variant, spec, number, images, ranges)
                sessions[name, session.runtime] = session
                if any(fact.metric == "parity_holds" and not fact.value for fact in found):
                    found += _kept(place, session, variant, chosen)
                facts += [fact.model_copy(update={"variant": name, "split": split}) for fact in found]
            place.tell(0.3 * (number + 1) / len(place.inputs), f"exporting {name}")
        seconds = measure(
            sessions,
            threads=place.threads,
            batches=batches,
            warmup=warmups,
            runs=runs,
            progress=lambda done: place.tell(0.3 + 0.7 * done, "timing"),
        )
    timed = latency_facts(seconds, threads=place.threads)
    notes = {key: session.note for key, session in sessions.items()}
    return facts + [fact.model_copy(update={"note": notes[fact.variant, fact.runtime]}) for fact in timed]


def _prepared(
    place: Place,
    stack: ExitStack,
    variant: Variant,
    spec: dict[str, Any],
    number: int,
    images: np.ndarray,
    ranges: np.ndarray,
) -> tuple[Session, list[Fact]]:
    """A session that stays open for the timing, and what there is to say of its file."""
    part = configure("runtimes", spec, trust=place.trust)
    folder = place.out / "exports" / f"{number}-{part.name}"
    folder.mkdir(parents=True)
    given: dict[str, Any] = {"threads": place.threads, "folder": folder, "trust": place.trust}
    session = stack.enter_context(prepare(part, variant, images=ranges, **given))
    if session.artifact is None:
        folder.rmdir()
        return session, []
    with prepare("torch", variant, **given) as reference:
        parity = compare(session, reference, images)
    weighed = size_facts({session.artifact.kind: session.artifact.size_bytes}, runtime=session.runtime)
    return session, [*parity_facts(parity, runtime=session.runtime), *weighed]


def _kept(place: Place, session: Session, variant: Variant, split: Split) -> list[Fact]:
    """What a rounded file is right about, beside the net it was made from."""
    judged = split.take(draw(len(split), JUDGED, seed=2))
    labels = judged.labels.numpy()
    before = logits_of(build(variant, trust=place.trust), judged.images).argmax(dim=1).numpy() == labels
    after = answers(session, judged.floats().numpy().astype(np.float32)).argmax(axis=1) == labels
    return kept_facts(before, after, runtime=session.runtime)
