"""What a protocol said, as facts counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from bantamweight.errors import InputError
from bantamweight.facts import Fact, select
from bantamweight.judging.claims import claims
from bantamweight.judging.protocol import protocol_facts, warm_facts


def part(name: str, given: int, broken: int, forwards: int, backwards: int) -> dict[str, Any]:
    return {
        "name": name,
        "given": given,
        "broken": broken,
        "forwards": forwards,
        "backwards": backwards,
        "seconds": 0.5,
    }


SAID: dict[str, Any] = {
    "attacks": [
        part("transferred", 50, 10, 50, 0),
        part("pgd", 40, 30, 110, 90),
        part("audit/square", 10, 0, 180, 0),
        part("idle", 0, 0, 0, 0),
    ],
    "checks": [
        {"name": "logits", "state": "fail", "figure": 0.25, "detail": "the outputs add up to one"},
        {"name": "slope", "state": "pass", "figure": 0.0, "detail": "the loss rises"},
        {"name": "doubling", "state": "did not run", "figure": None, "detail": "it runs at level full only"},
    ],
    "audit": {"n": 10, "broken": 0, "bound": 1 - 0.05 ** (1 / 10), "survivors": 1000},
    "escalated": "checks failed: logits",
}


def only(facts: list[Fact], metric: str, **columns: Any) -> Fact:
    (fact,) = select(facts, metric, **columns)
    return fact


def test_who_broke_what_at_which_price() -> None:
    facts = protocol_facts(SAID, variant="net", attack="fast")
    assert {(fact.variant, fact.attack) for fact in facts} == {("net", "fast")}
    assert [fact.item for fact in select(facts, "cascade_given")] == [one["name"] for one in SAID["attacks"]]
    assert [fact.step for fact in select(facts, "cascade_given")] == [0, 1, 2, 3]
    broken = only(facts, "cascade_broken", item="pgd")
    assert (broken.k, broken.n) == (30, 40)
    kills = only(facts, "cascade_kills", item="transferred")
    assert (kills.k, kills.n) == (10, 40)
    assert not select(facts, "cascade_broken", item="idle")
    # F + 2B: 50, 110 + 180, 180 of 520.
    assert only(facts, "cascade_share", item="pgd").value == pytest.approx(290 / 520)
    assert sum(fact.value or 0.0 for fact in select(facts, "cascade_share")) == pytest.approx(1.0)
    assert only(facts, "cascade_backwards", item="pgd").value == 90
    assert {fact.origin for fact in select(facts, "cascade_seconds")} == {"measured"}


def test_checks_and_audit() -> None:
    facts = protocol_facts(SAID)
    assert [(fact.item, fact.value) for fact in select(facts, "check")] == [
        ("logits", 0.0),
        ("slope", 1.0),
        ("doubling", None),
    ]
    assert only(facts, "check_figure", item="logits").value == 0.25
    assert only(facts, "check", item="logits").note == "the outputs add up to one"
    assert not select(facts, "check_figure", item="doubling")
    assert (only(facts, "audit_broken").k, only(facts, "audit_broken").n) == (0, 10)
    assert only(facts, "audit_bound").value == pytest.approx(0.2589, abs=1e-4)
    assert (only(facts, "escalated").value, only(facts, "escalated").note) == (1.0, "checks failed: logits")


def test_nothing_to_audit_and_no_audit() -> None:
    empty = protocol_facts({**SAID, "audit": {"n": 0, "broken": 0, "bound": 0.0, "survivors": 0}, "escalated": ""})
    assert only(empty, "audited").value == 0
    assert not select(empty, "audit_broken")
    assert not select(empty, "audit_bound")
    assert only(empty, "escalated").value == 0.0
    assert not select(protocol_facts({**SAID, "audit": None}), "audited")


def test_an_audit_of_all_survivors_leaves_nothing_to_infer() -> None:
    facts = protocol_facts({**SAID, "audit": {"n": 10, "broken": 2, "bound": 0.2, "survivors": 10}}, variant="net")
    assert only(facts, "audit_bound").note == "all survivors were asked"
    said = next(claim.text for claim in claims(facts) if claim.topic == "robustness")
    assert "2 of 10 fall" in said
    assert "confidence" not in said


def test_kills_by_transfer_are_counted_over_all_that_were_attacked() -> None:
    said = {**SAID, "clean": {"correct": 50}}
    (fact,) = warm_facts(said, source="parent")
    assert (fact.metric, fact.k, fact.n, fact.source) == ("warm_start_broken", 10, 50, "parent")
    assert not warm_facts({**said, "attacks": SAID["attacks"][1:]})
    towards = [{**one, "name": f"to {target}/{one['name']}"} for target in (0, 1) for one in SAID["attacks"]]
    assert warm_facts({**said, "attacks": towards})[0].n == 50


def test_what_is_no_summary_is_refused() -> None:
    with pytest.raises(InputError, match="checks, audit are missing"):
        protocol_facts({"attacks": [], "escalated": ""})


def test_the_first_page_says_what_the_audit_proves_and_which_check_forbids_trust() -> None:
    facts = protocol_facts(SAID, variant="net", attack="fast", threat="linf 0.1")
    proved, doubted = (claim for claim in claims(facts) if claim.topic == "robustness")
    assert proved.text.startswith("At most 25.9% of the images that net keeps under fast (linf 0.1)")
    assert "0 of 10 audited fell" in proved.text
    assert {facts[row].metric for row in proved.evidence} == {"audit_bound", "audit_broken"}
    assert (doubted.verdict, doubted.evidence) == ("not supported", (facts.index(only(facts, "check", item="logits")),))
    assert "logits: the outputs add up to one" in doubted.reason
