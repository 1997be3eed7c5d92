"""What was asked and found: plain claims, each with the facts it stands on, and what to ship."""

from __future__ import annotations

from typing import Any

from bantamweight.judging.claims import claims
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Fragment, Group, Panel, Prose
from bantamweight.reports._run import Context

__all__ = ["summary"]


def summary(context: Context) -> Panel | None:
    """The first page; None when the facts carry no claim."""
    made = [claim for claim in claims(context.facts) if claim.topic != "recommendation"]
    if not made:
        return None
    blocks: list[Block] = [_gates(context), Fragment(CLAIMS, {"claims": [_claim(context, one) for one in made]})]
    picks = [_pick(context, fact) for fact in context.find("recommended")]
    if picks:
        blocks.append(Group("What to ship", [Fragment(CARDS, {"picks": picks})]))
    lead = "Every sentence follows from facts of this run; open its evidence to see them."
    return Panel("Findings", 0, [block for block in blocks if block is not None], lead)


def _gates(context: Context) -> Any:
    gates = context.manifest.get("gates") or []
    failed = [str(gate.get("gate")) for gate in gates if not gate.get("passed")]
    if not gates:
        return None
    said = f"{len(gates) - len(failed)} of {_words.plural(len(gates), 'gate')} passed"
    return Prose(said + (f"; failed: {', '.join(failed)}." if failed else "."), "note")


def _claim(context: Context, claim: Any) -> dict[str, Any]:
    rows = [{"row": row, "said": _describe(context.facts[row])} for row in claim.evidence[:12]]
    return {
        "text": claim.text,
        "supported": claim.verdict == "supported",
        "reason": claim.reason,
        "rows": rows,
        "more": len(claim.evidence) - len(rows),
    }


def _describe(fact: Any) -> str:
    names = ("variant", "other", "source", "split", "threat", "attack", "target", "item", "runtime", "batch")
    where = [str(getattr(fact, name)) for name in names if getattr(fact, name) not in ("", None)]
    return f"{fact.metric} ({', '.join(where)}): {_words.said(fact)}"


def _pick(context: Context, fact: Any) -> dict[str, Any]:
    return {"scenario": fact.item, "variant": fact.variant, "note": fact.note, "row": context.row(fact)}


CLAIMS = """
<ol class="claims">
{% for claim in claims %}
  <li{% if not claim.supported %} class="unsupported"{% endif %}>
    <p>{% if not claim.supported %}<span class="tag">not supported</span> {% endif %}{{ claim.text }}</p>
    {% if claim.reason %}<p class="why">{{ claim.reason }}</p>{% endif %}
    {% if claim.rows %}
    <details class="evidence"><summary>Evidence</summary><ul>
    {% for row in claim.rows %}<li><a href="#fact-{{ row.row }}">{{ row.said }}</a></li>{% endfor %}
    {% if claim.more > 0 %}<li>and {{ claim.more }} more</li>{% endif %}
    </ul></details>
    {% endif %}
  </li>
{% endfor %}
</ol>
"""

CARDS = """
<ul class="cards">
{% for pick in picks %}
  <li class="card">
    <h4>{{ pick.scenario }} <a href="#fact-{{ pick.row }}">fact</a></h4>
    <p class="pick">{{ pick.variant or "not supported" }}</p>
    <p>{{ pick.note }}</p>
  </li>
{% endfor %}
</ul>
"""
