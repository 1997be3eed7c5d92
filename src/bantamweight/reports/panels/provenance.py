"""Where every number came from: data, machine, versions, the study itself, and every fact."""

from __future__ import annotations

import json

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Fragment, Panel, Table
from bantamweight.reports._run import Context

__all__ = ["provenance"]


def provenance(context: Context) -> Panel:
    """The end of the page."""
    manifest, data = context.manifest, context.data
    counts = ", ".join(f"{count:,} {split}" for split, count in (data.get("counts") or {}).items())
    rows = [
        ["data", f"{data.get('name', 'unknown')}: {counts}; {len(context.classes)} classes"],
        ["content hash", str(data.get("content", "unknown"))],
        ["images left out", _words.said(context.one("data_skipped"))],
        ["near-duplicates across splits", _words.said(context.one("data_leaks"))],
        ["machine", str(manifest.get("machine", "unknown"))],
        ["threads", str(manifest.get("threads", "unknown"))],
        ["versions", ", ".join(f"{name} {said}" for name, said in (manifest.get("versions") or {}).items())],
        ["seeds", ", ".join(sorted({str(fact.seed) for fact in context.facts if fact.seed is not None})) or "0"],
    ]
    gates = [
        [str(gate.get("gate")), "passed" if gate.get("passed") else "FAILED", _words.number(gate.get("value"))]
        for gate in manifest.get("gates") or []
    ]
    jobs = [
        [str(job.get("kind")), " ".join(str(v) for v in (job.get("labels") or {}).values()), str(job.get("key"))]
        for job in manifest.get("jobs") or []
    ]
    blocks: list[Block] = [Table("This run", ["what", "said"], rows)]
    if gates:
        blocks.append(Table("Gates", ["gate", "outcome", "value"], gates))
    spec = json.dumps(manifest.get("spec"), indent=1, ensure_ascii=False)
    blocks.append(Fragment(SPEC, {"spec": spec}))
    blocks.append(Table("Jobs and their keys", ["kind", "of", "key"], jobs, folded=True))
    blocks.append(Fragment(FACTS, {"count": len(context.facts)}))
    return Panel("Provenance", 90, blocks)


SPEC = (
    """<details class="data"><summary>The study as it was run</summary><pre tabindex="0">{{ spec }}</pre></details>"""
)

FACTS = """
<details id="facts" open><summary>Every fact ({{ count|whole }})</summary>
<div class="filters">
  <label>Words <input type="search" id="fact-filter" autocomplete="off"></label>
  <label>Metric <select id="fact-metric"><option value="">all</option></select></label>
  <button type="button" id="fact-csv">Save as CSV</button>
</div>
<p class="note" id="fact-count" role="status"></p>
<div class="scroll" id="fact-table" tabindex="0" role="region" aria-label="Every fact">
<table><caption>Facts of this run</caption><thead><tr></tr></thead><tbody></tbody></table></div>
<button type="button" id="fact-more">Show more</button>
</details>
"""
