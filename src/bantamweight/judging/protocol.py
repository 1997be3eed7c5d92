"""What a protocol said -> facts: who broke what at which price, what the checks found, what the audit proves.

`said` is the plain JSON of `recipes.robustness` (`Robustness.summary()`, or `result.json` read back).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion

__all__ = ["protocol_facts", "warm_facts"]

NEEDED = ("attacks", "checks", "audit", "escalated")
STATES = {"pass": 1.0, "fail": 0.0, "did not run": None}
TRANSFERRED = "transferred"
"""What the part that tries another variant's images is called."""


def protocol_facts(said: Mapping[str, Any], **columns: Any) -> list[Fact]:
    """The facts of one protocol on one variant beyond those of its verdicts; `columns` go on every one of them.

    cascade_given, cascade_broken (of those given), cascade_kills (of all that were broken), cascade_forwards,
    cascade_backwards, cascade_share (of all F + 2B) and cascade_seconds, one each per part (`item`, at place `step`);
    check (1 passed, 0 failed, unknown: did not run) and check_figure, one each per check; audited, audit_broken
    and audit_bound where there was an audit; escalated. A rate over nothing is left out. Raises InputError where
    `said` lacks any of it.
    """
    missing = [key for key in NEEDED if key not in said]
    if missing:
        raise InputError(f"expected the summary of a protocol, and {', '.join(missing)} are missing")
    reason = str(said["escalated"])
    facts = [*_parts(said["attacks"], **columns), *_checks(said["checks"], **columns)]
    if said["audit"] is not None:
        facts += _audit(said["audit"], **columns)
    return [*facts, Fact(metric="escalated", kind="flag", value=float(bool(reason)), note=reason, **columns)]


def warm_facts(said: Mapping[str, Any], **columns: Any) -> list[Fact]:
    """warm_start_broken: what images made on `source` (a column) broke as they were, of all that were attacked."""
    parts = [part for part in said["attacks"] if part["name"].rpartition("/")[2] == TRANSFERRED and part["given"]]
    if not parts:
        return []
    broken = sum(part["broken"] for part in parts)  # aimed at one class after another, an image is given to each
    return [proportion("warm_start_broken", broken, said["clean"]["correct"], **columns)]


def _parts(parts: list[Mapping[str, Any]], **columns: Any) -> Iterator[Fact]:
    broken = sum(part["broken"] for part in parts)
    cost = sum(_cost(part) for part in parts)
    for place, part in enumerate(parts):
        where = {**columns, "item": part["name"], "step": float(place)}
        yield Fact(metric="cascade_given", kind="count", value=part["given"], **where)
        if part["given"]:
            yield proportion("cascade_broken", part["broken"], part["given"], **where)
        if broken:
            yield proportion("cascade_kills", part["broken"], broken, **where)
        for ledger in ("forwards", "backwards"):
            yield Fact(metric=f"cascade_{ledger}", kind="count", value=part[ledger], **where)
        if cost:
            yield Fact(metric="cascade_share", kind="ratio", value=_cost(part) / cost, unit="of F + 2B", **where)
        where |= {"unit": "s", "origin": "measured"}
        yield Fact(metric="cascade_seconds", kind="time", value=part["seconds"], **where)


def _cost(part: Mapping[str, Any]) -> int:
    """A backward is counted as two forwards."""
    return int(part["forwards"] + 2 * part["backwards"])


def _checks(checks: list[Mapping[str, Any]], **columns: Any) -> Iterator[Fact]:
    for check in checks:
        where = {**columns, "item": check["name"], "note": check["detail"]}
        yield Fact(metric="check", kind="flag", value=STATES[check["state"]], **where)
        if check["figure"] is not None:
            yield Fact(metric="check_figure", kind="score", value=check["figure"], **where)


def _audit(audit: Mapping[str, Any], **columns: Any) -> Iterator[Fact]:
    n = audit["n"]
    note = "a random sample of survivors, given to the reference ensemble" if n else "nothing was left to audit"
    yield Fact(metric="audited", kind="count", value=n, n=n, note=note, **columns)
    if n:
        yield proportion("audit_broken", audit["broken"], n, note=note, **columns)
        where = {**columns, "k": audit["broken"], "n": n}
        where["note"] = (
            "all survivors were asked"
            if n == audit["survivors"]
            else f"at 95% confidence at most this share of the {audit['survivors']} survivors would fall to it "
            "(hypergeometric)"
        )
        yield Fact(metric="audit_bound", kind="ratio", value=audit["bound"], **where)
