"""A gate means exactly one number, or says how to mean one."""

from __future__ import annotations

import pytest

from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion
from bantamweight.judging.gates import evaluate, parse

FACTS = [
    proportion("robust_accuracy", 90, 200, variant="net", threat="linf 8/255", attack="pgd(steps=20, rate=0.01)"),
    proportion("robust_accuracy", 80, 200, variant="net", threat="linf 8/255", attack="fgsm"),
    proportion("robust_accuracy", 70, 200, variant="net", threat="linf 8/255", attack="fgsm", target="ball"),
    proportion("robust_accuracy", 60, 200, variant="mlp", threat="linf 0.03", attack="fgsm"),
    proportion("accuracy", 660, 1000, variant="net", split="test"),
    Fact(metric="latency_ms", kind="time", value=1.5, low=1.4, high=1.6, variant="net", batch=1, runtime="torch"),
    Fact(metric="latency_ms", kind="time", value=9.5, low=9.4, high=9.6, variant="net", batch=16, runtime="torch"),
    Fact(metric="eps_for_half", kind="median", value=None, variant="net"),
]


@pytest.mark.parametrize(
    ("line", "passed"),
    [
        ("robust_accuracy[net, linf 8/255, pgd].low >= 0.30", True),
        ("robust_accuracy[net, pgd(steps=20, rate=0.01)] >= 45%", True),
        ("robust_accuracy[net, fgsm, target=].value > 0.4", False),
        ("robust_accuracy[net,fgsm,ball] <= 70/200", True),
        ("robust_accuracy[mlp, linf 3/100] == 0.3", True),
        ("accuracy[net] != 0.5", True),
        ("accuracy.n >= 1000", True),
        ("accuracy.n >= 1e3", True),
        ("latency_ms[net, batch=16].high < 9.5", False),
        ("latency_ms[batch=1].high<2", True),
        ("eps_for_half[net] >= 0.01", False),
    ],
)
def test_gates_pass_or_fail(line, passed):
    (outcome,) = evaluate([line], FACTS)
    assert outcome.passed is passed
    assert outcome.gate.text == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("accuracy >= ", "expected a gate like"),
        ("accuracy[net >= 0.5", "expected a gate like"),
        ("import os; accuracy > 1", "expected a gate like"),
        ("accuracy.lo > 0.5", "did you mean 'low'"),
        ("accuracy > much", "expected a number"),
        ("accuracy > 1/0", "expected a number"),
        ("accuracy > nan", "expected a number"),
        ("acuracy > 0.5", "did you mean 'accuracy'"),
        ("accuracy[nett] > 0.5", "did you mean 'net'"),
        ("accuracy[varaint=net] > 0.5", "did you mean 'variant'"),
        ("latency_ms[batch=four].value > 1", "expected a number"),
        ("latency_ms[net] < 3", "2 facts match; say which with one of batch=1, batch=16"),
        ("robust_accuracy[net, fgsm] > 0.1", "one of target=, target=ball"),
        ("latency_ms[batch=1].p < 3", "has no p"),
    ],
)
def test_a_wrong_gate_says_what_to_write(line, said):
    with pytest.raises(InputError) as error:
        evaluate([line], FACTS)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_gate_is_only_data():
    gate = parse("  robust_accuracy[ net , linf 8/255 ].low   >=  8/255 ")
    assert gate.selectors == (("", "net"), ("", "linf 8/255"))
    assert gate.number == pytest.approx(8 / 255)
    assert parse("accuracy > 0.5").field == "value"


def test_twins_that_no_column_tells_apart_are_refused():
    with pytest.raises(InputError, match="differ in no column"):
        evaluate(["accuracy > 0.5"], [FACTS[4], FACTS[4]])
