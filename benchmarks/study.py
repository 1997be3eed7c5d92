"""The rows of a finished study as Markdown: nets, cuts, every attack cell with n and interval, transfers, speed.

    python benchmarks/study.py RUN > benchmarks/NAME.md
    python benchmarks/study.py RUN resnet20-robust-10 "resnet20-robust/*/tuned"   and these beside each other, in pairs

Reads facts, and for the pairs the verdicts of the run's jobs; what is printed is what the run found.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow.parquet import read_table

from bantamweight.facts import Fact, load, select
from bantamweight.judging.accuracy import paired_facts
from bantamweight.judging.robustness import stays_right


def percent(fact: Fact | None) -> str:
    """A proportion as 69.2% [66.3, 72.0] (n)."""
    if fact is None or fact.value is None:
        return "-"
    return f"{fact.value:.1%} [{100 * (fact.low or 0):.1f}, {100 * (fact.high or 0):.1f}] ({fact.n})"


def number(fact: Fact | None, digits: str = ".3g") -> str:
    """A value with its interval where it has one."""
    if fact is None or fact.value is None:
        return "-"
    interval = f" [{fact.low:{digits}}, {fact.high:{digits}}]" if fact.low is not None else ""
    return f"{fact.value:{digits}}{interval}"


def one(facts: Sequence[Fact], metric: str, **columns: object) -> Fact | None:
    """The only fact that matches, or None."""
    found = select(facts, metric, **columns)
    return found[0] if found else None


def rows(title: str, header: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    """One Markdown table; nothing where there are no cells."""
    cells = list(cells)
    if not cells:
        return
    print(f"\n## {title}\n")
    print("| " + " | ".join(header) + " |")
    print("|" + "---|" * len(header))
    for row in cells:
        print("| " + " | ".join(row) + " |")


def variants_table(facts: Sequence[Fact], names: Sequence[str]) -> None:
    rows(
        "Variants",
        ["variant", "test accuracy (n)", "parameters", "non-zero", "dense fp32 B", "bitmap B", "training s"],
        [
            [
                name,
                percent(one(facts, "accuracy", variant=name, split="test")),
                number(one(facts, "parameters", variant=name), ",.0f"),
                number(one(facts, "nonzeros", variant=name), ",.0f"),
                number(one(facts, "size_bytes", variant=name, item="dense_fp32"), ",.0f"),
                number(one(facts, "size_bytes", variant=name, item="bitmap"), ",.0f"),
                number(one(facts, "training_seconds", variant=name), ".1f"),
            ]
            for name in names
        ],
    )


def attack_table(facts: Sequence[Fact]) -> None:
    def cell(metric: str, fact: Fact) -> Fact | None:
        where = {"variant": fact.variant, "threat": fact.threat, "attack": fact.attack, "target": fact.target}
        return one(facts, metric, **where)

    rows(
        "Attack cells",
        [
            *("variant", "attack", "threat", "target", "robust accuracy (n)", "success of those right (n)"),
            *("hit the target", "queries to success", "seconds"),
        ],
        [
            [
                fact.variant,
                fact.attack,
                fact.threat,
                fact.target or "any",
                percent(fact),
                percent(cell("attack_success", fact)),
                percent(cell("targeted_success", fact)),
                number(cell("iterations_to_success", fact), ".1f"),
                number(cell("attack_seconds", fact), ".1f"),
            ]
            for fact in select(facts, "robust_accuracy")
        ],
    )


def protocols(facts: Sequence[Fact]) -> None:
    """What vouches for the verdicts of protocols, and which of two variants stands on more of the same images."""

    def beside(metric: str, fact: Fact) -> Fact | None:
        return one(facts, metric, variant=fact.variant, attack=fact.attack, threat=fact.threat, target=fact.target)

    asked = select(facts, "escalated")
    rows(
        "What vouches for the protocols",
        ["variant", "protocol", "threat", "checks failed", "audit broke", "at most of survivors (95%)", "escalated"],
        [
            [
                *(fact.variant, fact.attack, fact.threat),
                str(
                    sum(
                        check.value == 0
                        for check in select(
                            facts, "check", variant=fact.variant, attack=fact.attack, threat=fact.threat
                        )
                    )
                ),
                f"{broken.k} of {broken.n}" if (broken := beside("audit_broken", fact)) else "-",
                number(beside("audit_bound", fact), ".1%"),
                fact.note or "no",
            ]
            for fact in asked
        ],
    )
    known = {fact.attack for fact in asked}
    found = select(facts, "robust_accuracy_difference")
    paired("One variant less another, of the same images (p after Holm)", [one for one in found if one.attack in known])


def beside(run: Path, about: dict[str, Any], patterns: Sequence[str]) -> None:
    """Every pair of the variants that fit the patterns, under each protocol: which of two stands on more images."""
    cells: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for job in about["jobs"]:
        labels = job["labels"]
        if job["kind"] != "protocol" or not any(fnmatch(labels["variant"], pattern) for pattern in patterns):
            continue
        table = read_table(run.parents[1] / job["folder"] / "verdicts.parquet")
        columns = {name: table[name].to_numpy() for name in table.column_names}
        cells.setdefault((labels["attack"], labels["threat"]), {})[labels["variant"]] = stays_right(columns)
    for (attack, threat), right in cells.items():
        pairs = list(combinations(right, 2))
        metric = "robust_accuracy_difference"
        facts = paired_facts(right, pairs, metric=metric, attack=attack, threat=threat)
        paired(f"{', '.join(patterns)}: each less the others (p after Holm over these)", facts)


def paired(title: str, facts: Sequence[Fact]) -> None:
    rows(
        title,
        ["variant", "less", "attack", "threat", "points", "p", "gained", "lost"],
        [
            [
                *(fact.variant, fact.other, fact.attack, fact.threat),
                f"{100 * fact.value:+.1f} [{100 * (fact.low or 0):+.1f}, {100 * (fact.high or 0):+.1f}]",
                f"{fact.p_adjusted if fact.p_adjusted is not None else fact.p:.2g}",
                *(str(fact.gained), str(fact.lost)),
            ]
            for fact in facts
            if fact.value is not None
        ],
    )


def others(facts: Sequence[Fact]) -> None:
    rows(
        "Transfers",
        ["made on", "judged on", "attack", "threat", "target", "success (n)", "given success at the source (n)"],
        [
            [
                *(fact.source, fact.variant, fact.attack, fact.threat, fact.target or "any", percent(fact)),
                percent(
                    one(
                        facts,
                        "transfer_given_source",
                        **{key: getattr(fact, key) for key in ("source", "variant", "attack", "threat", "target")},
                    )
                ),
            ]
            for fact in select(facts, "transfer_success")
        ],
    )
    rows(
        "Latency (ms per call, median with interval)",
        ["variant", "runtime", "batch", "ms", "speed-up over dense, same runtime"],
        [
            [
                *(fact.variant, fact.runtime, str(fact.batch), number(fact)),
                number(one(facts, "speedup", variant=fact.variant, runtime=fact.runtime, batch=fact.batch)),
            ]
            for fact in select(facts, "latency_ms")
        ],
    )
    rows(
        "eps at which half of the images are broken",
        ["variant", "attack", "eps", "n"],
        [[fact.variant, fact.attack, number(fact), str(fact.n)] for fact in select(facts, "eps_for_half")],
    )
    rows(
        "Recommended",
        ["scenario", "variant", "why"],
        [[fact.item, fact.variant or "not supported", fact.note] for fact in select(facts, "recommended")],
    )


def main(run: Path, patterns: Sequence[str]) -> None:
    """Print the tables of one run, and one more of the variants that fit the patterns."""
    facts = load(run / "facts.parquet")
    about = json.loads((run / "run.json").read_text())
    written = datetime.date.fromtimestamp((run / "facts.parquet").stat().st_mtime)
    print(f"# {about['title']}\n")
    print(
        f"`bantam run {about['study']}`, {written}, {about['machine']}, {about['threads']} threads, one seed. ", end=""
    )
    print(f"{len(facts)} facts, {len(select(facts, 'robust_accuracy'))} attack cells. Intervals are 95%.")
    variants_table(facts, [one["name"] for one in about["variants"]])
    attack_table(facts)
    protocols(facts)
    if patterns:
        beside(run, about, patterns)
    others(facts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
