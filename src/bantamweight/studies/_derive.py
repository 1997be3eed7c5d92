"""Facts that follow from several jobs: paired tests, recovery, trends, recommendations, gates."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from bantamweight.errors import InputError
from bantamweight.facts import Fact
from bantamweight.judging import gates
from bantamweight.judging.accuracy import paired_facts, pairs_to_compare, recovery_fact, trend_fact
from bantamweight.judging.front import front_facts
from bantamweight.judging.protocol import warm_facts
from bantamweight.judging.recommend import Needs, recommend, recommended_facts
from bantamweight.judging.robustness import stays_right
from bantamweight.studies._lines import line_facts
from bantamweight.studies.plan import Job, Plan, Variety
from bantamweight.studies.store import Store

__all__ = ["derived", "judged"]

Right = Mapping[str, np.ndarray]


def derived(plan: Plan, store: Store, facts: Sequence[Fact]) -> list[Fact]:
    """Everything that no single job could say; `facts` are the jobs' own."""
    found: list[Fact] = []
    answers = _answers(plan, store)
    for split, right in answers.items():
        found += paired_facts(right, pairs_to_compare(right), split=split) if len(right) > 1 else []
        found += _recoveries(plan, right, split) + _trends(plan, right, split=split)
    for cell, right in _cells(plan, store).items():
        columns = dict(zip(CELL, cell, strict=True))
        if len(right) > 1:
            found += paired_facts(right, pairs_to_compare(right), metric="robust_accuracy_difference", **columns)
    found += _warm(plan, store)
    found += line_facts(plan, store, facts, answers)
    return found + _recommended(plan, [*facts, *found])


def _answers(plan: Plan, store: Store) -> dict[str, dict[str, np.ndarray]]:
    """Per split, which images each variant has right."""
    found: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for job in plan.jobs:
        if job.kind == "evaluate":
            table = pq.read_table(store.job(job.key) / "predictions.parquet", columns=["right"])
            found[job.labels["split"]][job.labels["variant"]] = table["right"].to_numpy()
    return found


CELL = ("attack", "threat", "target", "split", "seed")


def _cells(plan: Plan, store: Store) -> dict[tuple[Any, ...], dict[str, np.ndarray]]:
    """Per attack cell, which images each variant keeps right; only cells whose images are the same for all."""
    found: dict[tuple[Any, ...], dict[str, np.ndarray]] = defaultdict(dict)
    images: dict[tuple[Any, ...], np.ndarray] = {}
    for job in plan.jobs:
        if job.kind in ("attack", "protocol"):
            table = pq.read_table(store.job(job.key) / "verdicts.parquet")
            columns = {name: table[name].to_numpy() for name in table.column_names}
            cell = tuple(job.labels.get(name, "") for name in CELL)
            known = images.setdefault(cell, columns["index"])
            if np.array_equal(known, columns["index"]):
                found[cell][job.labels["variant"]] = stays_right(columns)
    return found


def _warm(plan: Plan, store: Store) -> list[Fact]:
    """What the parent's adversarial images broke as they were, of those that were given to them."""
    found = []
    for job in plan.jobs:
        if job.kind == "protocol" and "parent" in job.labels:
            said = json.loads((store.job(job.key) / "result.json").read_text(encoding="utf-8"))
            columns = {name: job.labels[name] for name in (*CELL, "variant", "protocol") if name in job.labels}
            found += warm_facts(said, source=job.labels["parent"], job=job.key, **columns)
    return found


def _recoveries(plan: Plan, right: Right, split: str) -> list[Fact]:
    pairs = [(one.name, one.family) for one in plan.variants if one.tuned and one.name in right and one.family in right]
    return [recovery_fact(right, variant, other, split=split) for variant, other in pairs]


def _trends(plan: Plan, right: Right, **columns: Any) -> list[Fact]:
    """Accuracy against sparsity of each family, cut and tuned apart, tested as a trend."""
    lines: dict[tuple[str, str, bool], dict[float, Variety]] = defaultdict(dict)
    for one in plan.variants:
        if one.sparsity is not None and one.name in right:
            lines[one.family, one.criterion, one.tuned].setdefault(one.sparsity, one)
    found = []
    for (family, criterion, tuned), line in lines.items():
        if len(line) > 1 and family in right:
            points = {0.0: right[family], **{sparsity: right[one.name] for sparsity, one in line.items()}}
            item = f"{criterion}, fine-tuned" if tuned else criterion
            found.append(trend_fact(points, variant=family, item=item, **columns))
    return found


def _recommended(plan: Plan, facts: Sequence[Fact]) -> list[Fact]:
    block = plan.study.recommend
    if block is None:
        return []
    from bantamweight.studies.plan import select

    names = select(block.variants, [one.name for one in plan.variants], "recommend.variants")
    threat, attack = str(block.threat.make()) if block.threat else "", str(block.attack) if block.attack else ""
    settled = recommend(
        facts,
        variants=names,
        scenarios=block.scenarios,
        needs=Needs(frame_ms=block.frame_ms, most_bytes=block.most_bytes, margin=block.margin),
        threat=threat,
        attack=attack,
    )
    front = front_facts(facts, variants=names, threat=threat, attack=attack)
    return recommended_facts(facts, settled) + front


def judged(lines: Sequence[str], facts: Sequence[Fact]) -> list[dict[str, Any]]:
    """Each gate with its outcome; `passed` is None and `note` says why when no single fact answers it."""
    found = []
    for line in lines:
        try:
            (outcome,) = gates.evaluate([line], facts)
            number = getattr(outcome.fact, outcome.gate.field)
            found.append({"gate": line, "passed": outcome.passed, "value": number, "note": ""})
        except InputError as error:
            found.append({"gate": line, "passed": None, "value": None, "note": str(error)})
    return found


def jobs_of(plan: Plan, kind: str) -> list[Job]:
    """The jobs of one kind."""
    return [job for job in plan.jobs if job.kind == kind]
