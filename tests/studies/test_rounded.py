"""A study that times a runtime of integers also says what its files are right about."""

from __future__ import annotations

from pathlib import Path

from bantamweight.facts import select
from bantamweight.studies import run

STUDY = """
study: rounded
data: digits
train: {name: net, model: small_cnn, epochs: 2}
measure: {use: latency, runtimes: [torch, onnxruntime, onnxruntime_int8], batches: 1, runs: 20, warmups: 1}
"""


def test_integers_are_judged_on_the_images_and_the_others_not(tmp_path: Path) -> None:
    (tmp_path / "rounded.yaml").write_text(STUDY)
    facts = run(tmp_path / "rounded.yaml", store=tmp_path / "store", threads=1).facts
    (right,) = select(facts, "runtime_accuracy")
    (beside,) = select(facts, "runtime_accuracy_difference")
    (kept,) = select(facts, "runtime_keeps")
    (net,) = select(facts, "accuracy", variant="net", split="test", item="")
    assert {fact.runtime for fact in (right, beside, kept)} == {"onnxruntime_int8"}
    assert (right.n, right.variant, right.split) == (450, "net", "test")
    assert right.k - net.k == beside.gained - beside.lost
    assert kept.value == float(beside.lost - beside.gained <= 4.5)
    assert {fact.runtime for fact in select(facts, "size_bytes") if fact.runtime} == {"onnxruntime", "onnxruntime_int8"}
