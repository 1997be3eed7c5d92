"""The rows of a finished sweep as Markdown: each line of cuts over its achieved MACs, what rises, L1 beside random.

    python benchmarks/sweep.py RUN STORE > benchmarks/sweep.md

Reads facts, and from the store who was right on which image, for the paired tests between criteria.
"""

from __future__ import annotations

import datetime
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from _table import columns, row

from bantamweight import stats
from bantamweight.facts import Fact, load, select

WAYS = {"tuned": "natural", "hardened": "against attack"}
DISTANCES = (("ddn", "l2"), ("fmn", "linf"), ("fmn", "l1"), ("fmn", "l0"))


def main(run: Path, store: Path) -> None:
    """Three tables."""
    facts, told = load(run / "facts.parquet"), json.loads((run / "run.json").read_text(encoding="utf-8"))
    lines = _lines(told["variants"])
    print(f"# {told['title']}\n")
    print(f"`bantam run sweep`, {datetime.date.today().isoformat()}, {told['machine']}. {len(facts)} facts.\n")
    _dense(facts, sorted({line[0] for line in lines}))
    _curves(facts, lines)
    _rises(facts)
    _methods(lines, _right(told["jobs"], store))


def _lines(variants: Sequence[dict]) -> dict[tuple[str, str, str], dict[float, list[str]]]:
    """Names by net, criterion and way of fine-tuning, then by depth, one per seed."""
    found: dict[tuple[str, str, str], dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for one in variants:
        family, _, rest = one["name"].partition("/")
        if one.get("tuned"):
            cut, _, way = rest.partition("/")
            criterion, _, depth = cut.rpartition("-")
            found[family, criterion, way.partition("@")[0]][float(depth)].append(one["name"])
    return found


def _dense(facts: Sequence[Fact], families: Sequence[str]) -> None:
    print("\n## The nets\n")
    columns("net", " accuracy", *(f" {attack} {norm}" for attack, norm in DISTANCES))
    for family in families:
        (fact,) = select(facts, "accuracy", variant=family, split="test")
        found = [_distance(facts, family, *which) for which in DISTANCES]
        row(family, f"{fact.value:.1%} ({fact.n:,})", *(f"{value:.4g}" for value in found))


def _distance(facts: Sequence[Fact], variant: str, attack: str, norm: str) -> float:
    found = [
        fact for fact in select(facts, f"distance_{norm}", variant=variant)
        if fact.attack.startswith(attack) and fact.threat.startswith(norm)
    ]  # fmt: skip
    return float("nan") if not found or found[0].value is None else found[0].value


def _curves(facts: Sequence[Fact], lines: dict[tuple[str, str, str], dict[float, list[str]]]) -> None:
    print("\n## Each line, means over the seeds (least to most): accuracy, and median distances over 512 images\n")
    columns("net", "criterion", "tuned", " asked", " MACs", " accuracy", *(f" {a} {n}" for a, n in DISTANCES))
    for (family, criterion, way), line in lines.items():
        for depth, names in sorted(line.items()):
            macs = [_value(facts, "macs_share", name) for name in names]
            right = [_value(facts, "accuracy", name, split="test") for name in names]
            away = [[_distance(facts, name, *which) for name in names] for which in DISTANCES]
            row(
                *(family, criterion, WAYS.get(way, way), f"{depth:g}", f"{np.mean(macs):.3f}"),
                f"{np.mean(right):.1%} ({min(right):.1%} to {max(right):.1%})",
                *(_spread([value for value in each if not np.isnan(value)]) for each in away),
            )


def _spread(found: Sequence[float]) -> str:
    if len(found) < 2:
        return f"{found[0]:.4g}" if found else "-"
    return f"{np.mean(found):.4g} ({min(found):.4g} to {max(found):.4g})"


def _value(facts: Sequence[Fact], metric: str, variant: str, **more: object) -> float:
    found = select(facts, metric, variant=variant, **more)
    return float("nan") if not found or found[0].value is None else found[0].value


def _rises(facts: Sequence[Fact]) -> None:
    print("\n## Does anything get better again where less is left?\n")
    print("A line is one net, criterion, fine-tuning and seed; neighbours are compared on the same images, and Holm's")
    print("correction is over the ten steps of a line.\n")
    columns("net", "what", "attack", " lines", " with a shown rise", "those")
    cells: dict[tuple[str, str, str], list[Fact]] = defaultdict(list)
    for fact in select(facts, "over_pruning"):
        cells[fact.variant, fact.item, f"{fact.attack} {fact.threat}".strip()].append(fact)
    for (family, what, attack), found in cells.items():
        risen = [fact for fact in found if fact.value]
        said = "; ".join(f"{fact.against}: {fact.note}" for fact in risen)
        row(family, what, attack or "-", len(found), len(risen), said or "-")


def _right(jobs: Sequence[dict], store: Path) -> dict[str, np.ndarray]:
    """Who is right on which test image, by variant."""
    found = {}
    for job in jobs:
        if job["kind"] == "evaluate" and job["labels"].get("split", "test") == "test":
            path = store / job["folder"] / "predictions.parquet"
            found[job["labels"]["variant"]] = pq.read_table(path, columns=["right"])["right"].to_numpy()
    return found


def _methods(lines: dict[tuple[str, str, str], dict[float, list[str]]], right: dict[str, np.ndarray]) -> None:
    print("\n## L1 minus random, accuracy at the same asked depth, seed by seed (95%; p after Holm over the table)\n")
    rows = []
    for (family, criterion, way), line in lines.items():
        rival = lines.get((family, "random_channels", way), {})
        for depth, names in sorted(line.items()) if criterion == "l1_channels" else ():
            for one, other in zip(sorted(names), sorted(rival.get(depth, ())), strict=True):
                rows.append((family, way, depth, one.rpartition("@")[2], right[one], right[other]))
    counts = [(int((a & ~b).sum()), int((b & ~a).sum()), len(a)) for *_, a, b in rows]
    adjusted = stats.holm([stats.mcnemar(up, down) for up, down, _ in counts])
    columns(
        "net",
        "tuned",
        " asked",
        *(f" seed {seed}" for seed in sorted({each[3] for each in rows})),
        "shown alike by all",
    )
    table: dict[tuple[str, str, float], list[tuple[str, int]]] = defaultdict(list)
    for (family, way, depth, *_), (up, down, n), p in zip(rows, counts, adjusted, strict=True):
        low, high = stats.paired_interval(up, down, n)
        said = f"{(up - down) / n:+.1%} ({low:+.1%} to {high:+.1%}; {p:.2g})"
        table[family, way, depth].append((said, 0 if p >= 0.05 else 1 if up > down else -1))
    for (family, way, depth), cells in table.items():
        row(
            family,
            WAYS.get(way, way),
            f"{depth:g}",
            *(said for said, _ in cells),
            "yes" if len({sign for _, sign in cells}) == 1 and cells[0][1] else "no",
        )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
