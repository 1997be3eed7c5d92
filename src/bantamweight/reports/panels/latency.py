"""How long one call takes, on each runtime and batch, and the speed-up over the dense net."""

from __future__ import annotations

from bantamweight.reports import _charts, _words
from bantamweight.reports._blocks import Block, Chart, Panel, Table
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, pivot

__all__ = ["latency"]


def latency(context: Context) -> Panel | None:
    """Medians with intervals, speed-ups from interleaved pairs, and parity of what was exported."""
    facts = context.find("latency_ms")
    if not facts:
        return None
    blocks: list[Block] = []
    for batch in sorted({fact.batch for fact in facts if fact.batch is not None}):
        chosen = [fact for fact in facts if fact.batch == batch]
        rows = [
            {"x": f.value, "low": f.low, "high": f.high, "n": f.n, "variant": f.variant, "runtime": f.runtime}
            for f in chosen
        ]
        spec = _charts.dots(rows, x="milliseconds", y="variant", colour="runtime", from_zero=True)
        cells = [[f.variant, f.runtime, _words.said(f)] for f in chosen]
        title = f"Milliseconds per call at batch {batch}"
        blocks.append(Chart(title, spec, Table(title, ["variant", "runtime", "median"], cells)))
    keys = {"variant": "variant", "runtime": "runtime", "batch": "batch"}
    heads = {
        "latency_mean_ms": "mean",
        "latency_sd_ms": "sd",
        "latency_p95_ms": "95th percentile",
        "speedup": "speed-up",
    }
    note = measured(facts)
    if table := pivot(context, "Spread, and speed-up over the dense net on the same runtime", keys, heads, note=note):
        blocks.append(table)
    parity = {"parity_top1": "same answer as torch", "parity_max_abs": "largest difference of a logit"}
    if table := pivot(context, "Does the exported model answer as torch does?", {"variant": "variant"}, parity):
        blocks.append(table)
    return Panel("Latency", 34, blocks)
