"""Targets, shares, fronts and steps of cuts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion
from bantamweight.judging.compression import histogram_facts, share_facts, target_facts
from bantamweight.judging.front import front_facts
from bantamweight.judging.steps import Cut, accuracy_steps, distance_steps, verdict_fact

LINE = [Cut("a", 0.0, 1.0), Cut("c", 0.8, 0.1), Cut("b", 0.4, 0.5)]  # in any order


def test_asked_and_reached_side_by_side() -> None:
    asked, reached, uncut = target_facts("macs", 0.5, 0.49, below=0.48, above=0.51, uncut={"stem": "it is mixed"})
    assert (asked.metric, asked.value, asked.item) == ("target_asked", 0.5, "macs")
    assert (reached.metric, reached.value, reached.note) == (
        "target_reached",
        0.49,
        "the nearest other points: 0.48, 0.51",
    )
    assert (uncut.metric, uncut.item, uncut.note) == ("uncut", "stem", "it is mixed")
    assert target_facts("latency_ms", 1.0, 0.9)[1].origin == "measured"


def test_shares_are_of_the_dense_net() -> None:
    (share,) = share_facts({"macs": 25}, {"macs": 100})
    assert (share.metric, share.value, share.k, share.n) == ("macs_share", 0.25, 25, 100)
    with pytest.raises(InputError, match="positive count of macs"):
        share_facts({"macs": 25}, {})


def test_a_histogram_keeps_its_total() -> None:
    facts = histogram_facts(np.array([-1.0, 0.0, 1.0]), np.array([1, 5, 2]))
    assert [(fact.step, fact.value, fact.n) for fact in facts] == [(-1.0, 1.0, 8), (0.0, 5.0, 8), (1.0, 2.0, 8)]


def figures(name: str, right: int, size: int, milliseconds: float | None = None) -> list[Fact]:
    found = [
        proportion("accuracy", right, 1000, variant=name, split="test"),
        Fact(metric="size_bytes", kind="count", value=float(size), item="bitmap", variant=name),
    ]
    if milliseconds is not None:
        ends = {"low": 0.9 * milliseconds, "high": 1.1 * milliseconds}
        found.append(
            Fact(
                metric="latency_ms",
                kind="median",
                value=milliseconds,
                batch=1,
                variant=name,
                runtime="torch",
                origin="measured",
                **ends,
            )
        )
    return found


def test_the_front_by_hand() -> None:
    """b is smaller and as right as a; c is less right and smaller than both; d is worse than c in both."""
    facts = figures("a", 900, 400) + figures("b", 900, 300) + figures("c", 500, 100) + figures("d", 400, 200)
    flags = {fact.variant: fact for fact in front_facts(facts)}
    assert {name: (fact.value, fact.other) for name, fact in flags.items()} == {
        "a": (0.0, "b"),
        "b": (1.0, ""),
        "c": (1.0, ""),
        "d": (0.0, "c"),
    }
    assert "beyond its interval in bytes" in flags["a"].note
    assert "beyond its interval in accuracy, bytes" in flags["d"].note
    assert "accuracy 90.0% (88.0% to 91.7%)" in flags["b"].note


def test_a_faster_variant_is_not_dominated_and_clocks_make_flags_measured() -> None:
    facts = figures("a", 900, 400, 1.0) + figures("b", 900, 300, 2.0)
    assert [fact.value for fact in front_facts(facts)] == [1.0, 1.0]
    assert {fact.origin for fact in front_facts(facts)} == {"measured"}
    assert [fact.variant for fact in front_facts(facts, variants=["b"])] == ["b"]


def test_overlapping_intervals_are_said() -> None:
    (_, beaten) = front_facts(figures("a", 901, 100) + figures("b", 900, 100))
    assert beaten.other == "a"
    assert "in no figure beyond its interval" in beaten.note


def test_steps_compare_neighbours_in_the_order_asked() -> None:
    right = {
        "a": np.array([True] * 90 + [False] * 10),
        "b": np.array([True] * 60 + [False] * 40),
        "c": np.array([True] * 80 + [False] * 20),
    }
    steps = accuracy_steps(LINE, right)
    assert [(step.variant, step.other, step.value) for step in steps] == [("b", "a", -0.3), ("c", "b", 0.2)]
    verdict = verdict_fact(LINE, steps, "accuracy")
    assert verdict.value == 1.0
    assert verdict.note.startswith("accuracy rose at c although MACs fell")
    zeros = [cut._replace(macs=1.0) for cut in LINE]
    assert "at c although more was cut, MACs the same" in verdict_fact(zeros, steps, "accuracy").note


def test_a_line_that_only_falls_shows_no_over_pruning() -> None:
    right = {name: np.arange(100) < kept for name, kept in (("a", 90), ("b", 70), ("c", 71))}
    verdict = verdict_fact(LINE, accuracy_steps(LINE, right), "accuracy")
    assert verdict.value == 0.0
    assert "the largest rise is 1.0 points, p = 1 after Holm" in verdict.note


def test_macs_that_rise_with_what_is_asked_are_named() -> None:
    line = [Cut("a", 0.0, 1.0), Cut("b", 0.4, 0.2), Cut("c", 0.8, 0.3)]
    right = {name: np.ones(10, dtype=bool) for name in "abc"}
    verdict = verdict_fact(line, accuracy_steps(line, right), "accuracy")
    assert (verdict.value, verdict.note) == (1.0, "MACs rose at c although more was asked")


def test_distances_are_compared_image_by_image() -> None:
    """Of 12 images 10 need more and none less: 2 / 2^10 for the sign test, twice that after Holm."""
    needed = {"a": np.ones(12), "b": np.r_[np.full(9, 2.0), np.inf, 1.0, 1.0], "c": np.zeros(12)}
    first, second = distance_steps(LINE, needed)
    assert (first.gained, first.lost, first.value) == (10, 0, 10 / 12)
    assert first.p == pytest.approx(2 / 2**10)
    assert (second.gained, second.lost) == (0, 12)
    assert verdict_fact(LINE, [first, second], "the distance needed").value == 1.0
    with pytest.raises(InputError, match="same images"):
        distance_steps(LINE, {**needed, "c": np.zeros(3)})
