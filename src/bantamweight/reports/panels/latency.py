"""How long an answer takes, per runtime and batch, and how many times faster a cut form is."""

from __future__ import annotations

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel
from bantamweight.reports._charts import dots
from bantamweight.reports._run import Context
from bantamweight.reports._tables import measured, pivot

__all__ = ["latency"]


PLACE = {"machine": "machine", "threads": "threads"}
"""What tells timings apart that were made in several places."""


def latency(context: Context) -> Panel | None:
    """Charts of medians by batch, of speed-ups, and the parity of exports; None without timings."""
    facts = [fact for fact in context.find("latency_ms") if fact.value is not None]
    if not facts:
        return None
    columns = {
        "latency_ms": "median",
        "latency_mean_ms": "mean",
        "latency_sd_ms": "sd",
        "latency_p95_ms": "p95",
        "speedup": "times as fast as dense",
    }
    several = len({fact.machine for fact in facts}) > 1
    place = "machine" if several else "runtime"
    charts = []
    for batch in sorted({fact.batch for fact in facts if fact.batch is not None}):
        rows = [
            {
                "x": fact.value,
                "low": fact.low,
                "high": fact.high,
                "n": fact.n,
                "variant": context.label(fact.variant) + (f", {fact.runtime}" if several else ""),
                place: fact.machine if several else fact.runtime,
            }
            for fact in facts
            if fact.batch == batch
        ]
        title = "Time for one image" if batch == 1 else f"Time for a batch of {batch}"
        title += " by machine" if several else ""
        table = pivot(
            context,
            f"{title}, per runtime",
            {"variant": "variant", "runtime": "runtime", **PLACE},
            columns,
            only={"batch": batch},
        )
        if table:
            spec = dots(rows, x="milliseconds (median, measured)", y="variant", colour=place, from_zero=True)
            charts.append(Chart(title, spec, table))
    blocks: list[Block] = [Group("", charts, side=len(charts) > 1)]
    blocks += _speedups(context)
    keys = {"variant": "variant", "runtime": "runtime", "batch": "batch", "other": "against", "against": "on"}
    over = pivot(context, "In all", {**keys, **PLACE}, {"speedup_over": "times as fast (median of paired rounds)"})
    blocks += [over] if over else []
    parity = {
        "parity_max_abs": "largest difference of a logit",
        "parity_top1": "same answer as torch",
        "runtime_accuracy": "right, where it answers otherwise",
        "runtime_accuracy_difference": "over the net in float32",
    }
    exports = pivot(context, "Exports held against torch", {"variant": "variant", "runtime": "runtime"}, parity)
    blocks += [exports] if exports else []
    return Panel("Latency", 70, blocks, measured(facts))


def _speedups(context: Context) -> list[Block]:
    facts = [fact for fact in context.find("speedup") if fact.value is not None]
    if not facts:
        return []
    rows = [
        {
            "x": fact.value,
            "low": fact.low,
            "high": fact.high,
            "n": fact.n,
            "variant": context.label(fact.variant),
            "where": f"{fact.runtime}, batch {fact.batch}",
        }
        for fact in facts
    ]
    keys = {"variant": "variant", "other": "against", "runtime": "runtime", "batch": "batch"}
    times = {"speedup": "times as fast (median of paired rounds)"}
    table = pivot(context, "Speed-up over the dense net", {**keys, **PLACE}, times)
    assert table is not None
    shown = sum(1 for fact in facts if fact.low is not None and fact.low > 1)
    note = f"{shown} of {_words.plural(len(facts), 'comparison')} are shown faster: their whole interval is above 1."
    spec = dots(rows, x="times as fast as the dense net", y="variant", colour="where", mark_at=1.0)
    return [Chart("Speed-up over the dense net, in the same rounds", spec, table, note)]
