"""Attacks that want one certain answer."""

from __future__ import annotations

from bantamweight.reports._blocks import Block, Chart, Panel
from bantamweight.reports._charts import dots
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot, untargeted

__all__ = ["targeted"]

WORDED = {"all": "any class, each tried in turn", "least-likely": "the class that seemed least likely"}


def targeted(context: Context) -> Panel | None:
    """Per target and threat: how often the target was reached, and how sure the net then is; None without any."""
    facts = [fact for fact in context.find("targeted_success") if not untargeted(fact) and fact.value is not None]
    if not facts:
        return None
    columns = {
        "targeted_success": "answered the target",
        "attack_success": "no longer right",
        "robust_accuracy": "still right, of all",
        "confidence_target": "confidence in the target (mean)",
        "iterations_to_success": "queries to success (mean)",
    }
    blocks: list[Block] = []
    for target in dict.fromkeys(fact.target for fact in facts):
        rows = [
            {
                "x": fact.value,
                "low": fact.low,
                "high": fact.high,
                "n": fact.n,
                "variant": context.label(fact.variant),
                "cell": f"{fact.attack}, {fact.threat}",
            }
            for fact in facts
            if fact.target == target
        ]
        keys = {"variant": "variant", "attack": "attack", "threat": "threat", "seed": "seed"}
        table = pivot(
            context,
            f"Towards {WORDED.get(target, target)}",
            keys,
            columns,
            only={"target": target, "source": ""},
        )
        if table:
            spec = dots(rows, x="answered the target", y="variant", colour="cell", percent_x=True)
            blocks.append(Chart(f"Images moved to {WORDED.get(target, target)}", spec, table))
    lead = "Over the images that were right before and are not of the target class."
    return Panel("Targeted attacks", 100, blocks, lead)
