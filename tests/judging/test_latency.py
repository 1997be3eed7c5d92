"""Times of which every statistic is known."""

from __future__ import annotations

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.facts import Fact, select
from bantamweight.judging.latency import latency_facts, over_facts
from bantamweight.judging.parity import parity_facts
from bantamweight.runtimes import Parity

RAMP = np.arange(1, 101) / 1e3


def facts_of(**extra: object) -> list[Fact]:
    seconds = {
        ("net", "torch"): {1: RAMP, 16: RAMP * 10},
        ("net/l1-0.5", "torch"): {1: RAMP / 4, 16: RAMP * 10},
        ("net/l1-0.5", "onnxruntime"): {1: RAMP},
    }
    return latency_facts(seconds, threads=2, **extra)


def test_spread_of_a_ramp() -> None:
    facts = facts_of(study="s")
    (middle,) = select(facts, "latency_ms", variant="net", batch=1)
    # Ranks 40 and 61 of 100 hold the median with at least 95% (binomial).
    assert (middle.value, middle.low, middle.high, middle.n) == pytest.approx((50.5, 40, 61, 100))
    (mean,) = select(facts, "latency_mean_ms", variant="net", batch=1)
    assert mean.value == pytest.approx(50.5)
    assert mean.low < 50.5 < mean.high
    (sd,) = select(facts, "latency_sd_ms", variant="net", batch=1)
    assert sd.value == pytest.approx(np.sqrt(100 * 101 / 12))
    (slow,) = select(facts, "latency_p95_ms", variant="net", batch=16)
    assert slow.value == pytest.approx(950.5)
    assert {fact.unit for fact in facts if fact.metric != "speedup"} == {"ms"}


def test_everything_needed_to_doubt_it() -> None:
    for fact in facts_of(study="s", machine="m"):
        assert (fact.origin, fact.study, fact.machine, fact.threads) == ("measured", "s", "m", 2)
        assert fact.runtime in ("torch", "onnxruntime")
        assert fact.batch in (1, 16)
        assert fact.protocol
        assert "torch" in fact.versions
    assert "core" in facts_of()[0].machine


def test_speedup_is_against_the_dense_one_in_the_same_rounds() -> None:
    facts = select(facts_of(), "speedup")
    assert [(fact.variant, fact.other, fact.runtime, fact.batch) for fact in facts] == [
        ("net/l1-0.5", "net", "torch", 1),
        ("net/l1-0.5", "net", "torch", 16),
    ]
    assert [(fact.value, fact.low, fact.high) for fact in facts] == [
        pytest.approx((4, 4, 4)),
        pytest.approx((1, 1, 1)),
    ]
    # Drift that hits both in the same round leaves the ratio alone.
    drift = np.linspace(1, 5, 100)
    drifted = {("a", "torch"): {1: drift}, ("b", "torch"): {1: drift / 2}}
    (fact,) = select(latency_facts(drifted, threads=1, dense={"b": "a"}), "speedup")
    assert (fact.value, fact.low, fact.high) == pytest.approx((2, 2, 2))


def test_intervals_are_over_rounds() -> None:
    # Ten rounds of ten equal calls are ten observations, not a hundred.
    table = np.repeat(np.arange(1, 11)[:, None], 10, axis=1) / 1e3
    facts = latency_facts({("a", "torch"): {1: table}, ("a/b", "torch"): {1: table[:, :5] / 3}}, threads=1)
    (middle,) = select(facts, "latency_ms", variant="a")
    assert (middle.value, middle.low, middle.high, middle.n) == pytest.approx((5.5, 2, 9, 100))
    (mean,) = select(facts, "latency_mean_ms", variant="a")
    half = 2.2622 * np.sqrt(110 / 12) / np.sqrt(10)
    assert (mean.low, mean.high) == pytest.approx((5.5 - half, 5.5 + half), rel=1e-4)
    (faster,) = select(facts, "speedup")
    assert (faster.value, faster.low, faster.high, faster.n) == pytest.approx((3, 3, 3, 10))
    assert middle.protocol.startswith("interleaved: 10 shuffled rounds of 10 calls")


def test_few_runs_have_no_interval() -> None:
    facts = latency_facts(
        {("net", "torch"): {1: np.array([0.001])}, ("net/a", "torch"): {1: np.array([0.004])}}, threads=1
    )
    (middle,) = select(facts, "latency_ms", variant="net")
    assert (middle.value, middle.low, middle.high) == (1.0, None, None)
    assert not select(facts, "latency_sd_ms")
    (slower,) = select(facts, "speedup")
    assert (slower.value, slower.low, slower.n) == (0.25, None, 1)


def test_what_can_not_be_judged() -> None:
    with pytest.raises(InputError, match="expected positive times"):
        latency_facts({("net", "torch"): {1: np.array([0.1, 0.0])}}, threads=1)
    with pytest.raises(InputError, match="same rounds"):
        latency_facts({("a", "torch"): {1: RAMP}, ("a/b", "torch"): {1: RAMP[1:]}}, threads=1)
    with pytest.raises(InputError, match="did you mean 'net'"):
        latency_facts({("net", "torch"): {1: RAMP}, ("b", "torch"): {1: RAMP}}, threads=1, dense={"b": "nt"})


def test_parity_as_facts() -> None:
    facts = parity_facts(Parity(n=50, max_abs=2e-6, same=49, scale=10.0), runtime="onnxruntime", variant="net")
    by_metric = {fact.metric: fact for fact in facts}
    assert by_metric["parity_max_abs"].value == 2e-6
    assert (by_metric["parity_top1"].k, by_metric["parity_top1"].n) == (49, 50)
    assert by_metric["parity_holds"].value == 1.0
    assert {fact.runtime for fact in facts} == {"onnxruntime"}


def test_over_another_runtime_by_hand() -> None:
    slow = np.full((10, 1), 12e-3)
    seconds = {
        ("net", "torch"): {1: slow},
        ("net/cut", "torch"): {1: slow / 3},
        ("net/cut", "onnxruntime_int8"): {1: slow / 12},
    }
    facts = over_facts(seconds, ("net", "torch"), threads=1)
    assert [(fact.variant, fact.runtime, fact.batch) for fact in facts] == [
        ("net/cut", "torch", 1),
        ("net/cut", "onnxruntime_int8", 1),
    ]
    assert [fact.value for fact in facts] == pytest.approx([3.0, 12.0])
    assert {(fact.other, fact.against, fact.metric) for fact in facts} == {("net", "torch", "speedup_over")}
    with pytest.raises(InputError, match="was not timed"):
        over_facts(seconds, ("net", "openvino"), threads=1)
