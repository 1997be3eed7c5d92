"""Where everything comes from: gates, the study as it was run, machine, versions, jobs, and every fact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import yaml

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Cell, Fragment, Panel, Table
from bantamweight.reports._run import Context

__all__ = ["provenance"]

SPEC = (
    """<details class="data"><summary>The study as it was run</summary><pre tabindex="0">{{ text }}</pre></details>"""
)


def provenance(context: Context) -> Panel:
    """The last section; always there."""
    manifest = context.manifest
    blocks: list[Block] = []
    gates = [gate for gate in manifest.get("gates") or [] if isinstance(gate, dict)]
    if gates:
        rows: list[Sequence[str | Cell]] = [
            [str(gate.get("gate", "")), _number(gate.get("value")), _passed(gate)] for gate in gates
        ]
        blocks.append(Table("Gates of this study", ["gate", "value found", "outcome"], rows))
    blocks.append(_made(context))
    if manifest.get("spec"):
        text = yaml.safe_dump(manifest["spec"], sort_keys=False, allow_unicode=True, width=88)
        blocks.append(Fragment(SPEC, {"text": text}))
    blocks += _jobs(context)
    blocks.append(Fragment("{% include 'facts.html' %}", {"count": len(context.facts)}))
    lead = "Enough to doubt any number above, or to make it again."
    return Panel("Provenance and every fact", 200, blocks, lead)


def _made(context: Context) -> Table:
    manifest, facts, data = context.manifest, context.facts, context.data
    seeds = sorted({fact.seed for fact in facts if fact.seed is not None})
    threads = sorted({fact.threads for fact in facts if fact.threads is not None})
    origins = Counter(fact.origin for fact in facts)
    machines = "; ".join(sorted({fact.machine for fact in facts if fact.machine}))
    rows = [
        ["study", str(manifest.get("study", ""))],
        ["run", context.folder.resolve().name],
        ["data", f"{data.get('name', 'unknown')}, content {data.get('content', 'unknown')}"],
        ["machine", str(manifest.get("machine") or machines)],
        ["threads", ", ".join(map(str, threads)) or str(manifest.get("threads", "unknown"))],
        ["seeds", ", ".join(map(str, seeds)) or "none stated"],
        ["facts", ", ".join(f"{_words.whole(count)} {origin}" for origin, count in sorted(origins.items()))],
        ["versions", _versions(manifest.get("versions"))],
    ]
    return Table("How it was made", ["what", "which"], [row for row in rows if row[1]])


def _versions(versions: Any) -> str:
    if isinstance(versions, dict):
        return ", ".join(f"{name} {version}" for name, version in versions.items())
    return str(versions or "")


def _jobs(context: Context) -> list[Block]:
    rows = []
    for job in context.manifest.get("jobs") or []:
        labels = job.get("labels") or {}
        said = ", ".join(f"{key} {value}" for key, value in labels.items() if value not in ("", None))
        rows.append([str(job.get("kind", "")), said or _words.NONE, str(job.get("key", ""))])
    caption = f"{_words.plural(len(rows), 'job')} of this run, with their keys"
    return [Table(caption, ["kind", "of", "key"], rows, folded=True)] if rows else []


def _number(value: Any) -> str:
    return _words.number(float(value), 4) if isinstance(value, int | float) else "unknown"


def _passed(gate: Any) -> Cell:
    """A gate that no single fact answers has not passed; its note says why."""
    note = f": {gate['note']}" if gate.get("note") else ""
    return Cell("passed" if gate.get("passed") else f"failed{note}", kind="good" if gate.get("passed") else "bad")
