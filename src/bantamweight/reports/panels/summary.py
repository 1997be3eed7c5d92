"""What was asked and what was found: plain claims, each with the facts it stands on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.judging.claims import Claim, claims
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Fragment, Group, Panel, Prose, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import untargeted

__all__ = ["summary"]

TITLES = {
    "method": "Which architecture or recipe",
    "robustness": "Under attack",
    "attack": "What the attacks do",
    "gaze": "What the nets look at",
}
COLUMNS = ("variant", "other", "source", "attack", "threat", "target", "split", "item", "against", "runtime")
WORDED = ("other", "source", "target", "against")
SHOWN = 12
AT_ONCE = 4
GLANCE = 40
"""Variants that can be taken in at a glance; more are folded away."""


def summary(context: Context) -> Panel | None:
    """The first page; None only for a run without any fact."""
    if not context.facts:
        return None
    found = claims(context.facts)
    blocks: list[Block] = [_asked(context), *_gates(context), *_recommended(context, found), *_overview(context)]
    for topic in dict.fromkeys(claim.topic for claim in found if claim.topic != "recommended"):
        of_topic = [claim for claim in found if claim.topic == topic]
        blocks.append(Group(TITLES.get(topic, topic.capitalize()), [_list(context, of_topic)]))
    lead = "Every sentence follows from facts of this run; open its evidence to see them."
    return Panel("What was found", 0, blocks, lead)


def _asked(context: Context) -> Prose:
    """What the run consists of, in one paragraph."""
    data, dense = context.data, [one for one in context.varieties if one.dense]
    made = len(context.varieties) - len(dense)
    counts = data.get("counts")
    listed = counts.items() if isinstance(counts, dict) else ()
    images = ", ".join(f"{_words.whole(count)} {split}" for split, count in listed if count)
    said = [f"Asked: {_words.plural(len(dense), 'net')} ({', '.join(one.name for one in dense)})"]
    if made:
        said.append(f"and {_words.plural(made, 'form')} cut from {'it' if len(dense) == 1 else 'them'}")
    if data.get("name"):
        said.append(f"on {data['name']} ({images + '; ' if images else ''}{len(context.classes)} classes)")
    return Prose(" ".join(said) + ".")


def _gates(context: Context) -> list[Block]:
    gates = [gate for gate in context.manifest.get("gates") or [] if isinstance(gate, dict)]
    if not gates:
        return []
    failed = [str(gate.get("gate")) for gate in gates if not gate.get("passed")]
    said = f"{len(gates) - len(failed)} of {_words.plural(len(gates), 'gate')} passed"
    return [Prose(said + (f"; failed: {', '.join(failed)}." if failed else "."))]


def _recommended(context: Context, found: Sequence[Claim]) -> list[Block]:
    """A card per scenario."""
    cards = []
    for claim in found:
        if claim.topic == "recommended" and claim.evidence:
            fact = context.facts[claim.evidence[0]]
            reason = fact.note.removeprefix("not supported: ")
            cards.append(
                {
                    "scenario": fact.item,
                    "variant": fact.variant if fact.value else "",
                    "reason": reason,
                    "row": claim.evidence[0],
                }
            )
    if not cards:
        return []
    return [Group("Recommended operating point", [Fragment("{% include 'cards.html' %}", {"cards": cards})])]


def _overview(context: Context) -> list[Block]:
    """Every variant with the figures that decide: one line each."""
    robust, latency = _cell(context), _latency(context)
    columns = {
        f"accuracy, {context.split}": [fact for fact in context.find("accuracy", split=context.split) if not fact.item],
        f"right under {robust[0].attack}, {robust[0].threat}" if robust else "robust": robust,
        "smallest file": _smallest(context),
        f"one image, {latency[0].runtime}" if latency else "latency": latency,
    }
    shown = {head: {fact.variant: fact for fact in reversed(facts)} for head, facts in columns.items() if facts}
    if not shown:
        return []
    rows: list[Sequence[str | Cell]] = [
        [one.name, *(_words.said(facts.get(one.name)) for facts in shown.values())]
        for one in context.varieties
        if any(one.name in facts for facts in shown.values())
    ]
    note = "The time for one image is measured; every other figure is computed." if latency else ""
    folded = len(rows) > GLANCE
    table = Table("Figures that decide", ["variant", *shown], rows, note, folded=folded)
    return [Group("Every variant at a glance", [table])]


def _cell(context: Context) -> list[Fact]:
    """The attack cell that most variants share, and of those the one that hurts most."""
    cells: dict[tuple[str, str, str], list[Fact]] = {}
    for fact in context.find("robust_accuracy"):
        if untargeted(fact) and fact.value is not None:
            cells.setdefault((fact.attack, fact.threat, fact.split), []).append(fact)
    mean = {cell: sum(fact.value or 0.0 for fact in facts) / len(facts) for cell, facts in cells.items()}
    iterated = [cell for cell in cells if not cell[0].startswith("fgsm")] or list(cells)
    best = max(iterated, key=lambda cell: (len({fact.variant for fact in cells[cell]}), -mean[cell]), default=None)
    return cells[best] if best else []


def _smallest(context: Context) -> list[Fact]:
    best: dict[str, Fact] = {}
    for fact in context.find("size_bytes"):
        if fact.value and (fact.variant not in best or fact.value < (best[fact.variant].value or 0.0)):
            best[fact.variant] = fact
    return list(best.values())


def _latency(context: Context) -> list[Fact]:
    found = context.find("latency_ms", batch=1)
    runtimes = list(dict.fromkeys(fact.runtime for fact in found))
    wanted = "onnxruntime" if "onnxruntime" in runtimes else next(iter(runtimes), "")
    return [fact for fact in found if fact.runtime == wanted]


def _list(context: Context, found: Sequence[Claim]) -> Fragment:
    """Claims as a list; under each the facts it stands on."""
    items: list[dict[str, Any]] = []
    for claim in found:
        rows = [{"row": row, "text": _evidence(context.facts[row])} for row in claim.evidence[:SHOWN]]
        items.append(
            {
                "text": claim.text,
                "supported": claim.verdict == "supported",
                "reason": claim.reason,
                "evidence": rows,
                "count": len(claim.evidence),
            }
        )
    return Fragment(
        "{% include 'claims.html' %}", {"items": items, "shown": AT_ONCE if len(items) > AT_ONCE + 1 else len(items)}
    )


def _evidence(fact: Fact) -> str:
    """A fact in one line: `accuracy, net, test: 69.2% [66.3, 72.0], n = 1,000`."""
    held = {name: str(getattr(fact, name)) for name in COLUMNS if getattr(fact, name) not in ("", "none")}
    about = [f"{name} {value}" if name in WORDED else value for name, value in held.items()]
    about += [f"batch {fact.batch}"] if fact.batch is not None else []
    measured = " (measured)" if fact.origin == "measured" else ""
    return f"{', '.join([fact.metric, *about])}: {_words.said(fact)}{measured}"
