"""How often attacks succeed as the budget grows."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Group, Panel
from bantamweight.reports._charts import dots, lines
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot, untargeted

__all__ = ["attacks"]

NAMES = {"attack_success": "of the images it had right", "fooled_overall": "of all images (wrong before counted too)"}
Line = tuple[str, str, str]


def attacks(context: Context) -> Panel | None:
    """Untargeted success against eps per net, attack and norm; None without attacks."""
    facts = [
        fact
        for fact in context.find("attack_success")
        if untargeted(fact) and not fact.source and fact.value is not None
    ]
    if not facts:
        return None
    swept: dict[Line, list[Fact]] = {}
    for fact in facts:
        swept.setdefault((context.variety(fact.variant).family, fact.attack, _words.norm(fact.threat)), []).append(fact)
    swept = {line: of_line for line, of_line in swept.items() if len({_words.eps(fact.threat) for fact in of_line}) > 1}
    blocks: list[Block] = [_lines(context, line) for line in swept]
    drawn = {(attack, norm) for _, attack, norm in swept}
    single = dict.fromkeys(fact.threat for fact in facts if (fact.attack, _words.norm(fact.threat)) not in drawn)
    blocks += [_single(context, threat) for threat in single]
    half = pivot(
        context,
        "The budget at which half of all images are wrong (of each image its own; a wrong one needs 0)",
        {"variant": "variant", "attack": "attack", "threat": "norm"},
        {"eps_for_half": "median eps"},
        where=untargeted,
    )
    blocks += [half] if half else []
    lead = (
        "Untargeted. The budget eps is in units of pixels in [0, 1], before normalisation. An image that was wrong "
        "before the attack was not attacked; bars are 95% Wilson intervals."
    )
    return Panel("Attack success", 80, blocks, lead)


def _lines(context: Context, line: Line) -> Group:
    family, attack, norm = line
    charts = []
    for metric, of in NAMES.items():
        facts = [
            fact
            for fact in context.find(metric, attack=attack)
            if untargeted(fact)
            and not fact.source
            and _words.norm(fact.threat) == norm
            and context.variety(fact.variant).family == family
            and _words.eps(fact.threat) is not None
        ]
        rows = [
            {
                "x": _words.eps(fact.threat),
                "y": fact.value,
                "low": fact.low,
                "high": fact.high,
                "n": fact.n,
                "variant": _cut(context, fact.variant),
                "state": _state(context, fact.variant),
            }
            for fact in facts
        ]
        title = f"Fooled, {of}"
        table = pivot(
            context,
            f"{attack} on {family}, {norm}: {title.lower()}",
            {"variant": "variant", "threat": "threat"},
            {metric: of},
            where=lambda fact: untargeted(fact) and _words.norm(fact.threat) == norm and _of(context, fact) == family,
            only={"attack": attack, "source": ""},
        )
        if rows and table:
            dash = "state" if len({row["state"] for row in rows}) > 1 else ""
            spec = lines(
                rows, x=f"eps ({norm})", y="fooled", colour="variant", dash=dash, percent_y=True, from_zero=True
            )
            charts.append(Chart(title, spec, table))
    return Group(f"{attack} on {family}, {norm}", charts, side=True)


def _single(context: Context, threat: str) -> Chart:
    facts = [fact for fact in context.find("attack_success", threat=threat) if untargeted(fact) and not fact.source]
    rows = [
        {
            "x": fact.value,
            "low": fact.low,
            "high": fact.high,
            "n": fact.n,
            "variant": context.label(fact.variant),
            "attack": fact.attack,
        }
        for fact in facts
        if fact.value is not None
    ]
    table = pivot(
        context,
        f"Fooled at {threat}",
        {"variant": "variant", "attack": "attack"},
        NAMES,
        where=lambda fact: untargeted(fact) and not fact.source and fact.threat == threat,
    )
    assert table is not None
    title = f"Fooled at {threat}, of the images it had right"
    return Chart(title, dots(rows, x="fooled", y="variant", colour="attack", percent_x=True), table)


def _cut(context: Context, variant: str) -> str:
    one = context.variety(variant)
    return "as trained" if one.sparsity is None else f"{one.criterion or 'cut'} {100 * one.sparsity:g}%"


def _of(context: Context, fact: Fact) -> str:
    return context.variety(fact.variant).family


def _state(context: Context, variant: str) -> str:
    return "fine-tuned" if context.variety(variant).tuned else "as trained or cut"
