"""Every claim names its facts, and what the facts don't carry is not claimed."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bantamweight.facts import Fact, proportion
from bantamweight.judging.accuracy import accuracy_facts, paired_facts, trend_fact
from bantamweight.judging.claims import Claim, claims
from bantamweight.judging.recommend import recommend, recommended_facts
from bantamweight.judging.robustness import half_fact
from tests.judging.worlds import World, sports


def found(facts: list[Fact], topic: str, words: str = "") -> Claim:
    (claim,) = (one for one in claims(facts) if one.topic == topic and words in one.text)
    return claim


def cell(k: int, n: int, metric: str = "attack_success", **columns: object) -> Fact:
    known = {"variant": "net", "attack": "pgd", "threat": "linf 8/255"}
    return proportion(metric, k, n, **{**known, **columns})  # type: ignore[arg-type]


def compared(gained: int, lost: int, n: int, **columns: str) -> list[Fact]:
    right = np.zeros((2, n), bool)
    right[0, :gained], right[1, gained : gained + lost] = True, True
    pair = columns.pop("variant", "net/m-0.5"), columns.pop("other", "net")
    return paired_facts(dict(zip(pair, right, strict=True)), [pair], split="test")


@cache
def everything() -> list[Fact]:
    """A study with every metric that a claim reads."""
    world = sports(n=400, noise=0.3)
    facts = world.facts()
    facts += recommended_facts(facts, recommend(facts))
    facts.append(trend_fact(dict(enumerate(world.right({"a": 0.8, "b": 0.6, "c": 0.3}, 0).values())), variant="large"))
    for eps, k in (("0.01", 120), ("8/255", 200), ("0.1", 250)):
        for attack in ("fgsm", "pgd"):
            facts.append(cell(k, 288, variant="large", attack=attack, threat=f"linf {eps}"))
            facts.append(
                cell(
                    k // 4, 250, "targeted_success", variant="large", attack=attack, threat=f"linf {eps}", target="ball"
                )
            )
    for judged in ("small", "large/m-0.8/tuned", "small/m-0.8/tuned"):
        facts.append(cell(90, 264, "transfer_success", source="large", variant=judged))
        facts.append(cell(80, 200, "transfer_given_source", source="large", variant=judged))
    facts.append(half_fact("eps_for_half", np.linspace(0.001, 0.1, 60), variant="large", threat="linf", attack="pgd"))
    facts.append(half_fact("eps_for_half", np.full(60, np.inf), variant="small", threat="linf", attack="pgd"))
    for variant in ("large", "large/m-0.8/tuned"):
        for against in ("attacked", "dense"):
            facts.append(Fact(metric="map_correlation", kind="mean", value=0.4, low=0.3, high=0.5, n=64, item="cam",
                              variant=variant, against=against, attack="pgd", threat="linf 8/255"))  # fmt: skip
    facts.append(
        Fact(
            metric="explainer_undefined", kind="flag", value=1, item="grad_cam", variant="small", note="no convolution"
        )
    )
    for low, high in ((1.2, 1.4), (0.9, 1.1), (0.6, 0.8)):
        facts.append(Fact(metric="speedup", kind="ratio", value=(low + high) / 2, low=low, high=high, n=100, batch=1,
                          variant="large/m-0.8/tuned", other="large", runtime="torch"))  # fmt: skip
    facts += [
        proportion("parity_top1", 64, 64, variant="large", runtime="onnxruntime"),
        proportion("parity_top1", 63, 64, variant="small", runtime="onnxruntime"),
        Fact(metric="parity_max_abs", kind="score", value=1e-6, variant="large", runtime="onnxruntime"),
        Fact(metric="data_leaks", kind="count", value=0),
    ]
    return facts


def test_every_claim_stands_on_facts_and_no_topic_is_missing():
    facts = everything()
    made = claims(facts)
    assert all(claim.evidence and all(0 <= row < len(facts) for row in claim.evidence) for claim in made)
    assert all(bool(claim.reason) == (claim.verdict == "not supported") for claim in made)
    topics = {"accuracy", "method", "pruning", "robustness", "attack", "transfer", "size", "speed", "export", "gaze"}
    assert {claim.topic for claim in made} >= topics | {"data", "recommended"}
    assert len(made) < 60
    assert all("None" not in claim.text + claim.reason and "nan" not in claim.text + claim.reason for claim in made)


def test_every_number_in_an_accuracy_claim_is_a_fact():
    facts = sports().facts()
    for claim in claims(facts):
        if claim.topic == "accuracy" and len(claim.evidence) == 1 and "is right on" in claim.text:
            fact = facts[claim.evidence[0]]
            numbers = re.findall(r"\d+\.\d(?=%)", claim.text)
            assert numbers == [f"{100 * x:.1f}" for x in (fact.value, fact.low, fact.high)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(80, 2000))
def test_no_claim_says_equal(gained, lost, n):
    """Whatever the counts, variants not told apart are never called the same."""
    said = " ".join(claim.text + claim.reason for claim in claims(compared(gained, lost, n) + everything()[:3]))
    assert not re.search(r"\b(equal\w*|same as|identical|no difference\b(?! shown))", said)


def test_equal_is_never_said_of_a_whole_study():
    said = " ".join(claim.text + " " + claim.reason for claim in claims(everything()))
    assert "equal" not in said
    assert "identical" not in said


def test_a_difference_is_claimed_only_when_shown():
    shown = found(compared(5, 40, 1000), "pruning")
    assert shown.verdict == "supported"
    assert "net/m-0.5 is less accurate than net" in shown.text
    assert "-3.5 points" in shown.text
    unshown = found(compared(18, 22, 1000), "pruning")
    assert unshown.verdict == "not supported"
    assert "no difference shown" in unshown.reason
    assert re.search(
        r"with these 1,000 images a difference under \d\.\d points would usually be missed", unshown.reason
    )
    nothing = found(compared(4, 4, 1000), "pruning")
    assert nothing.verdict == "not supported"
    assert "differs in accuracy from" in nothing.text


def test_fifty_images_show_no_lottery_ticket():
    # A cut and tuned net at 62% against 58% for a lesser cut, 50 images.
    claim = found(compared(6, 4, 50), "pruning")
    assert claim.verdict == "not supported"
    missed = re.search(r"under ([\d.]+) points", claim.reason)
    assert missed is not None
    assert float(missed[1]) > 15


def test_holm_decides_and_not_the_raw_p():
    (fact,) = compared(3, 14, 500)
    assert fact.p < 0.05
    assert found([fact], "pruning").verdict == "supported"
    assert found([fact.model_copy(update={"p_adjusted": 0.2})], "pruning").verdict == "not supported"


def test_fine_tuning_is_against_the_cut():
    claim = found(compared(60, 10, 1000, variant="net/m-0.5/tuned", other="net/m-0.5"), "fine-tuning")
    assert claim.text.startswith("net/m-0.5/tuned gains accuracy over net/m-0.5")


def test_an_iterative_attack_weaker_than_one_step_has_failed():
    facts = [cell(40, 100), cell(80, 100, attack="fgsm")]
    claim = found(facts, "attack", "measures how robust")
    assert claim.verdict == "not supported"
    assert "the attack failed" in claim.reason
    assert not [one for one in claims([cell(70, 100), cell(80, 100, attack="fgsm")]) if "measures" in one.text]


def test_success_must_not_fall_with_eps():
    facts = [cell(80, 100, threat="linf 0.03"), cell(30, 100, threat="linf 0.1")]
    claim = found(facts, "attack")
    assert claim.verdict == "not supported"
    assert "80.0% of the images net had right at linf 0.03" in claim.text
    one_step = found([fact.model_copy(update={"attack": "fgsm"}) for fact in facts], "attack")
    assert one_step.verdict == "supported"  # a single step may overshoot


def test_a_net_without_half_success_says_so():
    fact = half_fact("eps_for_half", np.array([0.01] * 4 + [np.inf] * 8), variant="net", threat="linf", attack="pgd")
    claim = found([fact], "attack")
    assert claim.verdict == "not supported"
    assert "4 of 12" in claim.reason
    fallen = half_fact("eps_for_half", np.array([0.0] * 5 + [0.01] * 5), variant="net", threat="linf", attack="pgd")
    whole = found([fallen], "attack")
    assert "net is wrong on half of all images under pgd within linf 0 " in whole.text


@pytest.mark.parametrize(
    ("low", "high", "verdict", "said"),
    [(1.2, 1.5, "supported", "1.35 times as fast"), (0.9, 1.2, "not supported", "no speed-up shown"),
     (0.5, 0.9, "not supported", "shown slower")],
)  # fmt: skip
def test_a_speed_up_needs_its_whole_interval(low, high, verdict, said):
    fact = Fact(metric="speedup", kind="ratio", value=(low + high) / 2, low=low, high=high, n=100,
                variant="net/m-0.8", other="net", runtime="torch", batch=16)  # fmt: skip
    claim = found([fact], "speed")
    assert claim.verdict == verdict
    assert said in claim.text + claim.reason


def test_size_is_claimed_of_the_sparsest_form():
    sizes = {"net": 1e6, "net/m-0.5": 6e5, "net/m-0.8": 2.5e5}
    facts = World(accuracy={"net": 0.7}, size=sizes).facts()
    facts += [Fact(metric="sparsity", kind="score", value=v, variant=f"net/m-{v}") for v in (0.5, 0.8)]
    claim = found(facts, "size")
    assert claim.text.endswith("4.0 times smaller.")
    assert "net/m-0.8 (80.0% zeros)" in claim.text


def test_one_seed_supports_no_method_and_three_do():
    one = found(sports().facts(), "method")
    assert one.verdict == "not supported"
    assert "one training seed each" in one.reason
    several = [
        proportion("accuracy", k, 100, variant=f"net@{seed}", split="test") for seed, k in enumerate((66, 68, 70))
    ]
    claim = found(several, "method")
    assert claim.verdict == "supported"
    assert "Over 3 training seeds net is right 68.0%" in claim.text


def test_leaks_take_the_claim_away():
    leaked = Fact(metric="data_leaks", kind="count", value=3, split="train", against="test")
    assert found([leaked], "data").verdict == "not supported"


def test_a_leak_between_two_other_splits_takes_nothing_away():
    elsewhere = Fact(metric="data_leaks", kind="count", value=2, split="train", against="val")
    claim = found([elsewhere], "data")
    assert claim.verdict == "supported"
    assert claim.text == "No test image is a near-duplicate of one in another split (2 pairs lie in train and val)."
    among = Fact(metric="data_leaks", kind="count", value=1, split="val", against="test")
    assert found([elsewhere, among], "data").reason.startswith("1 pairs")


def test_only_the_evaluation_split_is_claimed():
    labels = np.array([0, 1] * 20)
    facts = [fact for split in ("train", "test") for fact in accuracy_facts(labels, labels, ("a", "b"),
             variant="net", split=split)]  # fmt: skip
    assert "test images" in found(facts, "accuracy").text


def test_a_refused_recommendation_is_not_supported():
    facts = sports(robust={}).facts()
    facts += recommended_facts(facts, recommend(facts, scenarios=["high-security", "cloud"]))
    refused = found(facts, "recommended", "high-security")
    assert refused.verdict == "not supported"
    assert not refused.reason.startswith("not supported")
    assert found(facts, "recommended", "cloud").text.startswith("For cloud: large leads")


def test_no_facts_no_claims():
    assert claims([]) == []


def test_what_lines_of_cuts_show_is_said_in_one_sentence_per_reading():
    def line(p, against, item="accuracy", note="accuracy rose at net/m-0.8 although MACs fell"):
        return Fact(metric="over_pruning", kind="flag", value=float(p < 0.05), p=p, variant="net", against=against,
                    item=item, note=note)  # fmt: skip

    claim = found([line(1.0, "l1, seed 0"), line(1.0, "l1, seed 1")], "pruning")
    assert claim.verdict == "not supported"
    assert claim.text == "Cut deeper, net somewhere gets better again in accuracy."
    assert "0 of 2 lines of cuts" in claim.reason
    claim = found([line(1.0, "l1, seed 0"), line(0.02, "l1, seed 1")], "pruning")
    assert claim.verdict == "supported"
    assert "1 of 2 lines of cuts, after Holm over steps and lines; accuracy rose at net/m-0.8" in claim.text
    assert claim.evidence == (1,)
    # Of three lines one at p = .02 is what chance may do.
    claim = found([line(1.0, "0"), line(0.02, "1"), line(1.0, "2")], "pruning")
    assert claim.verdict == "not supported"
    assert len(claims([line(1.0, "l1"), line(1.0, "l1", "the distance needed")])) == 2


def test_macs_that_rose_are_not_called_better():
    fact = Fact(metric="over_pruning", kind="flag", value=1.0, p=1.0, variant="net", against="l1", item="accuracy",
                note="MACs rose at net/m-0.8 although more was asked")  # fmt: skip
    first, second = claims([fact])
    assert first.verdict == "not supported"
    assert (second.verdict, second.text) == (
        "supported", "More was asked and more was left: MACs rose at net/m-0.8 although more was asked."
    )  # fmt: skip
