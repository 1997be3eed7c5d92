"""Counts done by hand, and every paired number against the images it came from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_score, recall_score

from bantamweight import stats
from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.judging.accuracy import (
    accuracy_facts,
    paired_facts,
    pairs_to_compare,
    predictions,
    recovery_fact,
    trend_fact,
)

LABELS = np.array([0, 0, 0, 1, 1, 2])
ANSWERS = np.array([0, 0, 1, 1, 1, 0])
CLASSES = ("ball", "net", "ring", "unseen")


def test_a_small_table_by_hand():
    facts = accuracy_facts(LABELS, ANSWERS, CLASSES, variant="net", split="test")
    (accuracy,) = select(facts, "accuracy")
    assert (accuracy.k, accuracy.n, accuracy.split) == (4, 6, "test")
    assert (accuracy.low, accuracy.high) == stats.wilson(4, 6)
    assert {f.item: (f.k, f.n) for f in select(facts, "recall")} == {"ball": (2, 3), "net": (2, 2), "ring": (0, 1)}
    assert {f.item: (f.k, f.n) for f in select(facts, "precision")} == {"ball": (2, 3), "net": (2, 3)}
    cells = {(f.item, f.against): f.value for f in select(facts, "confusion")}
    assert cells == {("ball", "ball"): 2, ("ball", "net"): 1, ("net", "net"): 2, ("ring", "ball"): 1}
    assert {f.item: f.value for f in select(facts, "f1")} == pytest.approx({"ball": 2 / 3, "net": 0.8, "ring": 0})


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_agrees_with_scikit_learn(pairs):
    labels, answers = (np.array(column) for column in zip(*pairs, strict=True))
    facts = accuracy_facts(labels, answers, CLASSES)
    peers = {"recall": recall_score, "precision": precision_score, "f1": f1_score}
    for metric, peer in peers.items():
        theirs = peer(labels, answers, labels=range(4), average=None, zero_division=0)
        for fact in select(facts, metric):
            assert fact.value == pytest.approx(theirs[CLASSES.index(fact.item)])
            assert fact.low - 1e-12 <= fact.value <= fact.high + 1e-12
    assert sum(f.value for f in select(facts, "confusion")) == len(pairs)
    present = sorted(set(labels) | set(answers))
    macro = f1_score(labels, answers, labels=present, average="macro", zero_division=0)
    assert select(facts, "f1_macro")[0].value == pytest.approx(macro)


def test_logits_answer_by_their_largest_and_nan_answers_nothing():
    logits = np.array([[0.1, 2.0], [np.nan, 1.0], [3.0, -1.0]])
    assert predictions(logits).tolist() == [1, -1, 0]
    facts = accuracy_facts(np.array([1, 1, 0]), logits, ("a", "b"))
    assert select(facts, "accuracy")[0].k == 2
    assert select(facts, "confusion", item="b", against="")[0].value == 1
    assert {f.item: f.n for f in select(facts, "precision")} == {"a": 1, "b": 1}


@pytest.mark.parametrize(
    ("labels", "answers", "said"),
    [
        ([0, 1], [0], "one label per answer"),
        ([], [], "logits|one label"),
        ([0, 4], [0, 0], "labels within 4 classes"),
        ([0, 1], [0, 9], "answers within 4 classes"),
        ([0, 1], [0.5, 1.0], "expected logits"),
    ],
)
def test_what_cannot_be_judged_is_refused(labels, answers, said):
    with pytest.raises(InputError, match=said):
        accuracy_facts(np.array(labels), np.array(answers), CLASSES)


def right_of(share: float, n: int = 1000) -> np.ndarray:
    return np.arange(n) < share * n


def test_paired_counts_are_those_of_the_images():
    right = {"a": np.array([1, 1, 0, 0, 1], bool), "b": np.array([1, 0, 1, 1, 1], bool)}
    (fact,) = paired_facts(right, [("a", "b")], split="test")
    assert (fact.gained, fact.lost, fact.n, fact.split) == (1, 2, 5, "test")
    assert fact.value == pytest.approx(-0.2)
    assert (fact.low, fact.high) == stats.paired_interval(1, 2, 5)
    assert fact.p == fact.p_adjusted == stats.mcnemar(1, 2)
    assert fact.detectable is None  # five images find nothing


def test_a_family_is_adjusted_together_and_asks_for_more():
    rng = np.random.default_rng(0)
    right = {name: rng.uniform(size=400) < share for name, share in (("a", 0.8), ("b", 0.7), ("c", 0.79))}
    alone = paired_facts(right, [("b", "a")])[0]
    family = paired_facts(right, [("b", "a"), ("c", "a"), ("b", "c")])
    assert [f.p_adjusted for f in family] == stats.holm([f.p for f in family])
    assert family[0].p == alone.p < family[0].p_adjusted
    assert family[0].detectable > alone.detectable


def test_within_a_margin_is_its_own_fact():
    right = {"a": right_of(0.8), "b": right_of(0.801), "c": right_of(0.7)}
    same, apart = (f for f in paired_facts(right, [("b", "a"), ("c", "a")], margin=0.02) if f.kind == "flag")
    assert same.metric == "accuracy_difference_within_margin"
    assert (same.value, apart.value, same.step) == (1, 0, 0.02)


def test_unknown_or_ragged_variants_are_refused():
    with pytest.raises(InputError, match="did you mean 'net'"):
        paired_facts({"net": np.ones(3)}, [("nett", "net")])
    with pytest.raises(InputError, match="same images"):
        paired_facts({"a": np.ones(3), "b": np.ones(4)}, [("a", "b")])


def test_pairs_are_those_a_report_needs():
    names = ["mlp", "cnn", "cnn/m-0.5", "cnn/m-0.5/tuned", "mlp/m-0.5"]
    right = {name: right_of(0.9 if name == "cnn" else 0.5) for name in names}
    pairs = {frozenset(pair) for pair in pairs_to_compare(right)}
    expected = [("mlp", "cnn"), ("cnn/m-0.5", "cnn"), ("cnn/m-0.5/tuned", "cnn/m-0.5"), ("cnn/m-0.5/tuned", "cnn")]
    expected += [("mlp/m-0.5", "mlp"), ("mlp/m-0.5", "cnn")]
    assert pairs == {frozenset(pair) for pair in expected}
    assert len(pairs) == len(pairs_to_compare(right))
    assert pairs_to_compare({}) == []


def test_recovery_is_a_ratio_with_its_interval():
    fact = recovery_fact({"net": right_of(0.8), "net/cut/tuned": right_of(0.76)}, "net/cut/tuned", "net")
    assert fact.value == pytest.approx(0.95)
    assert fact.low < 0.95 < fact.high < 1
    nothing = recovery_fact({"a": np.zeros(9, bool), "b": np.ones(9, bool)}, "b", "a")
    assert nothing.value is None


def test_trend_is_per_unit_of_sparsity():
    fact = trend_fact({0.0: right_of(0.8), 0.5: right_of(0.7), 1.0: right_of(0.6)}, variant="net")
    assert fact.value == pytest.approx(-0.2)
    assert fact.p < 1e-6
