"""Facts -> the variant to ship in each scenario, or the reason why the facts can't carry that choice.

A pure function of facts: other facts, another recommendation. Each scenario leads with one figure (accuracy, or
accuracy under attack) and may prefer a smaller or faster variant where the paired test does not show it worse *and*
the paired interval bounds its loss by `margin`. The choice is supported only if no rival can be better by more than
`margin`: a handful of images, on which anything could be better than anything, supports none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bantamweight.errors import InputError, near
from bantamweight.facts import Fact
from bantamweight.judging._evidence import Cell, Evidence, Point, gather
from bantamweight.judging._words import compared, megabytes, percent, points, whole

__all__ = ["SCENARIOS", "Needs", "Point", "Recommendation", "pareto", "recommend", "recommended_facts"]

SCENARIOS = ("mobile", "edge", "cloud", "high-security")
BUDGET = {"mobile": ("latency", "p95"), "edge": ("size",)}
FIGURES = {"accuracy": "an accuracy", "robust": "an accuracy under an untargeted attack"}


class Needs(NamedTuple):
    """What the scenarios ask for: `frame_ms` of mobile, `most_bytes` of edge (None: as small as can be), and the
    loss of accuracy, as a share, that is still called none."""

    frame_ms: float = 1000 / 30
    most_bytes: float | None = None
    margin: float = 0.05


@dataclass(frozen=True)
class Recommendation:
    """One scenario's answer. `variant` is empty unless supported; `evidence` are rows of the facts given."""

    scenario: str
    variant: str
    verdict: Literal["supported", "not supported"]
    reason: str
    evidence: tuple[int, ...]


def recommend(
    facts: Sequence[Fact],
    *,
    variants: Iterable[str] | None = None,
    scenarios: Sequence[str] = SCENARIOS,
    needs: Needs = Needs(),
    threat: str = "",
    attack: str = "",
) -> list[Recommendation]:
    """The recommended operating point of each scenario; `threat` and `attack` choose the cell robustness is read at.

    mobile: the most accurate within the frame budget, or a faster one not shown worse. edge: the most accurate
    within the byte budget, or a smaller one not shown worse. cloud: the most accurate. high-security: the most
    accurate under attack, and above guessing. Raises InputError for an unknown scenario.
    """
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            raise InputError(f"there is no scenario {scenario!r}{near(scenario, SCENARIOS)}")
    evidence = gather(facts, None if variants is None else set(variants), threat, attack)
    return [_settle(scenario, evidence, needs) for scenario in scenarios]


def recommended_facts(facts: Sequence[Fact], recommendations: Iterable[Recommendation], **columns: str) -> list[Fact]:
    """`recommended` flags: item = scenario, note = reason, value 1 where the choice is supported.

    They are measured facts where any evidence is (latency differs from run to run), else computed.
    """
    return [
        Fact(
            metric="recommended",
            kind="flag",
            value=float(chosen.verdict == "supported"),
            variant=chosen.variant,
            item=chosen.scenario,
            note=chosen.reason,
            origin="measured" if any(facts[row].origin == "measured" for row in chosen.evidence) else "computed",
            **columns,  # type: ignore[arg-type]
        )
        for chosen in recommendations
    ]


def pareto(points: Iterable[Point]) -> list[Point]:
    """The points that no other beats: at least as good everywhere it is known, and better somewhere.

    Over accuracy and robust accuracy (higher is better), latency and bytes (lower is better). A figure that was
    not measured beats nothing and is beaten by any.
    """
    listed = list(points)
    return [point for point in listed if not any(_beats(other, point) for other in listed)]


def _beats(other: Point, point: Point) -> bool:
    pairs = list(zip(other.scores(), point.scores(), strict=True))
    return all(first >= second for first, second in pairs) and any(first > second for first, second in pairs)


def _settle(scenario: str, evidence: Evidence, needs: Needs) -> Recommendation:
    """One scenario: who is eligible, who leads, is the lead carried, and is a cheaper one not shown worse?"""
    field = "robust" if scenario == "high-security" else "accuracy"
    able, refusal = _eligible(scenario, evidence, needs, field)
    rows = [row for point in able or evidence.points for row in point.rows(field, *BUDGET.get(scenario, ()))]
    if not able:
        return _refused(scenario, refusal, rows)
    lead = max(able, key=lambda point: (getattr(point, field).value, *point.scores()))
    doubt, beside = _doubt(lead, able, evidence, field, needs.margin)
    if not doubt and field == "robust":
        doubt = _guessing(lead, evidence)
    if doubt:
        return _refused(scenario, doubt, rows + beside)
    chosen, why, paired = _cheaper(scenario, lead, able, evidence, needs.margin)
    front = "" if chosen not in pareto(evidence.points) else "; no other variant is as good in every figure"
    reason = f"{chosen.variant} {why}: {_figures(scenario, chosen, evidence)}{front}"
    evidence_rows = tuple(sorted({*rows, *beside, *paired}))
    return Recommendation(scenario, chosen.variant, "supported", reason, evidence_rows)


def _refused(scenario: str, reason: str, rows: Iterable[int]) -> Recommendation:
    return Recommendation(scenario, "", "not supported", f"not supported: {reason}", tuple(sorted(set(rows))))


def _eligible(scenario: str, evidence: Evidence, needs: Needs, field: str) -> tuple[list[Point], str]:
    """The points that meet the scenario's budget, or why there are none."""
    able = [point for point in evidence.points if getattr(point, field) is not None]
    if not able:
        return [], f"no variant has {FIGURES[field]} among the facts"
    if scenario == "mobile":
        timed = [point for point in able if point.latency is not None]
        if not timed:
            return [], "no variant has a latency at batch 1 among the facts"
        fastest = min(timed, key=Point.deadline)
        return [point for point in timed if point.deadline() <= needs.frame_ms], (
            f"no variant answers within {needs.frame_ms:.3g} ms 95 times in 100; the fastest, {fastest.variant}, "
            f"takes {fastest.deadline():.3g} ms"
        )
    if scenario == "edge":
        sized = [point for point in able if point.size is not None]
        if not sized:
            return [], "no variant has a file size among the facts"
        limit = float("inf") if needs.most_bytes is None else needs.most_bytes
        smallest = min(sized, key=Point.bytes)
        return [point for point in sized if point.bytes() <= limit], (
            f"no file is within {megabytes(limit)}; the smallest, of {smallest.variant}, is "
            f"{megabytes(smallest.bytes())}"
        )
    return able, ""


def _doubt(lead: Point, able: Sequence[Point], evidence: Evidence, field: str, margin: float) -> tuple[str, list[int]]:
    """Why the leader could be the wrong choice by more than the margin, or nothing; and the comparisons looked at."""
    worst, reason, rows = margin, "", []
    for rival in able:
        if rival is lead:
            continue
        paired = evidence.paired(rival.variant, lead.variant, field)
        if paired is not None and paired.fact.high is not None:
            rows.append(paired.row)
            ahead, said = paired.fact.high, compared(paired.fact)
        else:
            first, second = getattr(rival, field), getattr(lead, field)
            ahead, said = first.high - second.low, f"not compared paired: {_cell(first)} against {_cell(second)}"
        if ahead > worst:
            worst = ahead
            reason = (
                f"{lead.variant} leads, but these {whole(getattr(lead, field).n)} images leave room for "
                f"{rival.variant} to be better by up to {points(ahead)} ({said})"
            )
    return reason, rows


def _guessing(lead: Point, evidence: Evidence) -> str:
    """Being least bad under attack is no security: the leader must be shown above guessing."""
    robust = lead.robust
    if robust is None or robust.low > evidence.chance:
        return ""
    return (
        f"the most robust, {lead.variant}, keeps {_cell(robust)} under {evidence.under}, which is not shown above "
        f"guessing ({percent(evidence.chance)})"
    )


def _cheaper(
    scenario: str, lead: Point, able: Sequence[Point], evidence: Evidence, margin: float
) -> tuple[Point, str, list[int]]:
    """The leader, or the cheapest that is shown cheaper and not shown worse, with the reason and its rows."""
    if scenario == "cloud":
        return lead, f"leads in accuracy, and no other can be better by over {points(margin)}", []
    if scenario == "high-security":
        under = f"leads in accuracy under {evidence.under}"
        return lead, f"{under}, and no other can be better by over {points(margin)}", []
    held, rows = [], []
    for point in able:
        cheaper = _faster(point, lead) if scenario == "mobile" else point.bytes() < lead.bytes()
        paired = evidence.paired(point.variant, lead.variant, "accuracy") if cheaper else None
        if paired is not None:
            rows.append(paired.row)
            if not _shown_worse(paired.fact) and paired.fact.low is not None and paired.fact.low >= -margin:
                held.append((point, paired.fact))
    if not held:
        better = "faster" if scenario == "mobile" else "smaller"
        return lead, f"leads in accuracy, and no {better} one is shown to lose under {points(margin)}", rows
    word, cost = ("fastest", Point.milliseconds) if scenario == "mobile" else ("smallest file", Point.bytes)
    chosen, fact = min(held, key=lambda pair: (cost(pair[0]), *(-score for score in pair[0].scores())))
    return chosen, f"is the {word} not shown less accurate than {lead.variant} ({compared(fact)})", rows


def _faster(point: Point, lead: Point) -> bool:
    """Shown faster: the medians' intervals lie apart."""
    return point.latency_high() < lead.latency_low()


def _shown_worse(fact: Fact) -> bool:
    p = fact.p_adjusted if fact.p_adjusted is not None else fact.p
    return p is not None and p < 0.05 and (fact.value or 0.0) < 0


def _figures(scenario: str, point: Point, evidence: Evidence) -> str:
    """The figures a recommendation stands on, with what they were read from."""
    said = []
    if point.accuracy is not None:
        said.append(f"accuracy {_cell(point.accuracy)}")
    if point.robust is not None and scenario == "high-security":
        said.append(f"{_cell(point.robust)} under {evidence.under}")
    if point.latency is not None and scenario == "mobile":
        said.append(f"{point.milliseconds():.3g} ms on {point.latency.fact.runtime}")
    if point.size is not None and scenario in ("edge", "mobile"):
        said.append(f"{megabytes(point.bytes())} as {point.size.fact.item}")
    return ", ".join(said)


def _cell(cell: Cell) -> str:
    return f"{percent(cell.value)} ({percent(cell.low)} to {percent(cell.high)}, n = {whole(cell.n)})"
