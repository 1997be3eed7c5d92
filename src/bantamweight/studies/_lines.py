"""The lines of a study: one net cut by one criterion ever deeper, and what its neighbours say of each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.parquet as pq

from bantamweight.facts import Fact
from bantamweight.judging.distances import needed_eps
from bantamweight.judging.steps import Cut, accuracy_steps, distance_steps, verdict_fact
from bantamweight.studies.plan import Plan
from bantamweight.studies.store import Store

__all__ = ["line_facts"]

LEAST = 3
"""Points below which a line has no shape."""


def line_facts(
    plan: Plan, store: Store, facts: Sequence[Fact], answers: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Fact]:
    """accuracy_step, distance_step and over_pruning of every line with achieved MACs and at least three points."""
    shares = {fact.variant: fact.value or 0.0 for fact in facts if fact.metric == "macs_share"}
    found: list[Fact] = []
    distances = _distances(plan, store)
    for (family, how), line in _lines(plan, shares).items():
        columns = {"variant": family, "against": how}
        for split, right in answers.items():
            known = [cut for cut in line if cut.variant in right]
            if split == plan.subject.evaluation and len(known) >= LEAST:
                steps = accuracy_steps(known, right, split=split)
                found += [*steps, verdict_fact(known, steps, "accuracy", split=split, **columns)]
        for (attack, threat, seed), needed in distances.items():
            known = [cut for cut in line if cut.variant in needed]
            if len(known) >= LEAST:
                cell = {"attack": attack, "threat": threat, "seed": seed}
                steps = distance_steps(known, needed, **cell)
                found += [*steps, verdict_fact(known, steps, "the distance needed", **cell, **columns)]
    return found


def _lines(plan: Plan, shares: Mapping[str, float]) -> dict[tuple[str, str], list[Cut]]:
    """Cuts of one net by one criterion, tuned apart from untuned; a control that was asked nothing stands at 1."""
    lines: dict[tuple[str, str], dict[float, Cut]] = defaultdict(dict)
    for one in plan.variants:
        if one.sparsity is not None and one.name in shares:
            _, at, seed = one.name.rpartition("/")[2].partition("@")
            # A fine-tuning with a name of its own says so in the criterion.
            how = f"{one.criterion}, fine-tuned" if one.tuned else one.criterion
            how += f", seed {seed}" if at else ""
            lines[one.family, how].setdefault(one.sparsity, Cut(one.name, one.sparsity, shares[one.name]))
    return {key: list(line.values()) for key, line in lines.items()}


def _distances(plan: Plan, store: Store) -> dict[tuple[str, str, int], dict[str, np.ndarray]]:
    """Per minimum-norm attack and norm, what each image of each variant needs."""
    found: dict[tuple[str, str, int], dict[str, np.ndarray]] = defaultdict(dict)
    images: dict[tuple[str, str, int], np.ndarray] = {}
    for job in plan.jobs:
        if job.kind == "minimum_norm":
            table = pq.read_table(store.job(job.key) / "verdicts.parquet")
            columns = {name: table[name].to_numpy() for name in table.column_names}
            cell = (str(job.labels["attack"]), str(job.labels["threat"]), int(job.labels.get("seed", 0)))
            if np.array_equal(images.setdefault(cell, columns["index"]), columns["index"]):
                found[cell][str(job.labels["variant"])] = needed_eps(columns, str(job.settings["norm"]))
    return found
