"""Other facts, another recommendation; too few facts, none."""

from __future__ import annotations

import random

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.facts import Fact
from bantamweight.judging.parity import kept_facts
from bantamweight.judging.recommend import Needs, Point, pareto, recommend, recommended_facts
from tests.judging.worlds import World, sports


def chosen(world: World, **options) -> dict[str, str]:
    return {one.scenario: one.variant for one in recommend(world.facts(), **options)}


def why(world: World, scenario: str, **options) -> str:
    (one,) = recommend(world.facts(), scenarios=[scenario], **options)
    return one.reason


def test_each_scenario_reads_its_own_figure():
    assert chosen(sports()) == {
        "mobile": "large",  # within the frame, and the cut is not shown faster
        "edge": "large/m-0.8/tuned",  # a quarter of the bytes, not shown less accurate
        "cloud": "large",
        "high-security": "large",
    }


@pytest.mark.parametrize(
    ("scenario", "change", "expected"),
    [
        # a frame that the large nets miss leaves the small ones
        ("mobile", {"latency": {"large": 50.0, "small": 1.0, "small/m-0.8/tuned": 1.01}}, "small"),
        # a cut that is shown faster and not shown worse is taken
        ("mobile", {"latency": {"large": 9.0, "small": 1.0, "large/m-0.8/tuned": 4.0}}, "large/m-0.8/tuned"),
        # the cut loses ten points: shown worse, so bytes do not buy it
        ("edge", {"accuracy": {"large": 0.72, "small": 0.6, "large/m-0.8/tuned": 0.62}}, "large"),
        # the small net catches up, and is smaller still
        ("edge", {"accuracy": {"large": 0.72, "small": 0.72, "large/m-0.8/tuned": 0.71}}, "small"),
        ("cloud", {"accuracy": {"large": 0.6, "small": 0.75}}, "small"),
        ("high-security", {"robust": {"large": 0.2, "small": 0.4}}, "small"),
    ],
)
def test_changing_facts_changes_the_recommended_point(scenario, change, expected):
    assert chosen(sports())[scenario] != expected
    assert chosen(sports(**change))[scenario] == expected


def test_changing_needs_changes_it_too():
    assert chosen(sports(), needs=Needs(frame_ms=2))["mobile"] == "small"
    assert chosen(sports(), needs=Needs(most_bytes=1e6))["edge"] == "small/m-0.8/tuned"
    assert chosen(sports(), variants=["small"])["cloud"] == "small"


def test_a_rounded_file_is_a_choice_only_once_it_was_shown_to_be_right():
    """Ten times as fast and small as everything, and its answers are not the net's."""
    where = {"variant": "small", "runtime": "onnxruntime_int8"}
    rounded = [
        Fact(metric="latency_ms", kind="time", value=0.01, batch=1, origin="measured", **where),
        Fact(metric="size_bytes", kind="count", value=1000.0, item="onnx_int8", **where),
        Fact(metric="parity_holds", kind="flag", value=0.0, n=64, **where),
    ]
    world = sports(accuracy={"large": 0.72, "small": 0.72})

    def edge(*more: Fact) -> str:
        (one,) = recommend([*world.facts(), *rounded, *more], scenarios=["edge"])
        return one.reason

    right = np.arange(1000) < 720
    for kept, said in ((right, True), (np.arange(1000) < 400, False)):
        assert ("onnx_int8" in edge(*kept_facts(right, kept, **where))) is said
    assert "onnx_int8" not in edge()
    assert kept_facts(right, np.arange(1000) < 711)[2].value == 1.0
    assert kept_facts(right, np.arange(1000) < 709)[2].value == 0.0


def test_fifty_images_carry_no_choice():
    # 62% against 58% of 50 images was called the better architecture.
    world = sports(accuracy={"large": 0.62, "small": 0.58}, robust={}, n=50)
    (cloud,) = recommend(world.facts(), scenarios=["cloud"])
    assert (cloud.verdict, cloud.variant) == ("not supported", "")
    assert "these 50 images leave room for small to be better" in cloud.reason
    assert chosen(sports(accuracy={"large": 0.62, "small": 0.58}, robust={}, n=5000))["cloud"] == "large"


def test_without_a_paired_comparison_only_what_lies_far_apart_is_told_apart():
    apart = sports(paired=False, accuracy={"large": 0.72, "small": 0.6})
    assert chosen(apart)["cloud"] == "large"
    near = sports(paired=False, accuracy={"large": 0.72, "small": 0.71}, n=300)
    assert "not compared paired" in why(near, "cloud")
    assert chosen(near)["cloud"] == ""


def test_least_bad_is_not_secure():
    guessing = sports(robust={"large": 0.03, "small": 0.01})
    assert chosen(guessing)["high-security"] == ""
    assert "not shown above guessing (10.0%)" in why(guessing, "high-security")


@pytest.mark.parametrize(
    ("change", "needs", "scenario", "said"),
    [
        ({}, Needs(frame_ms=0.5), "mobile", "no variant answers within 0.5 ms"),
        ({"latency": {}}, Needs(), "mobile", "no variant has a latency"),
        ({}, Needs(most_bytes=1000), "edge", "no file is within 1.00 kB"),
        ({"size": {}}, Needs(), "edge", "no variant has a file size"),
        ({"robust": {}}, Needs(), "high-security", "no variant has an accuracy under"),
        ({"accuracy": {}}, Needs(), "cloud", "no variant has an accuracy"),
    ],
)
def test_missing_evidence_is_said(change, needs, scenario, said):
    (one,) = recommend(sports(**change).facts(), scenarios=[scenario], needs=needs)
    assert (one.verdict, one.variant) == ("not supported", "")
    assert said in one.reason


def test_the_reason_names_the_facts_it_stands_on():
    facts = sports().facts()
    for one in recommend(facts):
        assert one.evidence
        metrics = {facts[row].metric for row in one.evidence}
        assert metrics & {"accuracy", "robust_accuracy"}
        assert one.reason.startswith(one.variant)
        assert "\n" not in one.reason
    edge = recommend(facts, scenarios=["edge"])[0]
    assert {"accuracy", "accuracy_difference", "size_bytes"} <= {facts[row].metric for row in edge.evidence}
    assert "not shown less accurate than large" in edge.reason
    assert "2.60 MB as bitmap" in edge.reason


def test_the_order_of_facts_does_not_matter():
    facts = sports().facts()
    expected = [(one.variant, one.reason) for one in recommend(facts)]
    for seed in range(3):
        random.Random(seed).shuffle(facts)
        assert [(one.variant, one.reason) for one in recommend(facts)] == expected


def test_only_the_evaluation_split_and_untargeted_cells_count():
    facts = sports().facts()
    train = [fact.model_copy(update={"split": "train", "k": 1, "value": 1 / fact.n}) for fact in facts
             if fact.metric == "accuracy"]  # fmt: skip
    aimed = [fact.model_copy(update={"target": "basketball", "value": 0.0, "k": 0}) for fact in facts
             if fact.metric == "robust_accuracy"]  # fmt: skip
    lost = [fact.model_copy(update={"split": "train", "value": 0.0, "low": -1.0, "high": 1.0}) for fact in facts
            if fact.metric == "accuracy_difference"]  # fmt: skip
    assert [one.reason for one in recommend([*train, *aimed, *lost, *facts])] == [
        one.reason for one in recommend(facts)
    ]


def test_an_unknown_scenario_is_refused():
    with pytest.raises(InputError, match="did you mean 'mobile'"):
        recommend([], scenarios=["mobil"])


def test_recommendations_become_facts():
    facts = sports().facts()
    flags = recommended_facts(facts, recommend(facts), study="sports")
    assert [(f.item, f.value, f.variant) for f in flags][1] == ("edge", 1.0, "large/m-0.8/tuned")
    assert {f.item: f.origin for f in flags} == {
        "mobile": "measured", "edge": "computed", "cloud": "computed", "high-security": "computed"
    }  # fmt: skip
    assert all(f.study == "sports" and f.note for f in flags)
    refused = recommended_facts([], recommend([]))
    assert all(f.value == 0 and f.note.startswith("not supported") for f in refused)


def test_pareto_keeps_what_nothing_beats():
    def point(name, accuracy, size):
        def fact(value):
            return Fact(metric="x", kind="score", value=value)

        from bantamweight.judging._evidence import Cell

        cells = [None if v is None else Cell(0, fact(v), v, v, v) for v in (accuracy, size)]
        return Point(name, accuracy=cells[0], size=cells[1])

    points = [point("best", 0.9, 10), point("small", 0.7, 1), point("beaten", 0.7, 2), point("unsized", 0.8, None)]
    assert [p.variant for p in pareto(points)] == ["best", "small"]
    twins = [point("a", 0.5, 1), point("b", 0.5, 1)]
    assert len(pareto(twins)) == 2
