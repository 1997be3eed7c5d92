"""Milliseconds of each net on each runtime, interleaved, and how many times as fast as the first net on the first."""

from __future__ import annotations

import argparse
from pathlib import Path

from _nets import net
from _ships import common
from _table import columns, head, note, row

from bantamweight import variants
from bantamweight.facts import Fact, select
from bantamweight.recipes._images import drawn
from bantamweight.recipes.bench import bench, keep


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    common(parser, ("resnet_small", "simple_cnn", "resnet20", "mobilenet_v2"))
    add = parser.add_argument
    add("--runtimes", nargs="+", default=["torch", "onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8"])
    add("--batches", nargs="+", type=int, default=[1, 16])
    add("--runs", type=int, default=200)
    add("--cut", nargs="*", type=Path, default=[], help="saved variants to time beside the first net")
    add("--facts", type=Path, help="a folder for the facts, to be merged with other machines'")


def main(chosen: argparse.Namespace) -> None:
    """A table per net, in one run each; cuts are timed with the first."""
    head("Latency", f"at least {chosen.runs} calls each, in ten shuffled rounds")
    facts: list[Fact] = []
    for number, name in enumerate(chosen.nets):
        dense, data = net(name, chosen.home)
        timed = [dense, *(variants.load(folder) for folder in (chosen.cut if number == 0 else ()))]
        note(f"{name}: exporting and timing")
        seen = drawn(data.splits["train"], chosen.calibration, "calibration").floats()
        facts += bench(
            timed,
            runtimes=chosen.runtimes,
            batches=chosen.batches,
            threads=chosen.threads,
            runs=chosen.runs,
            calibrate=seen,
        )
    columns("variant", "runtime", " batch", " ms (median)", " over its net's eager, times as fast")
    for fact in select(facts, "latency_ms"):
        over = select(facts, "speedup_over", variant=fact.variant, runtime=fact.runtime, batch=fact.batch)
        beside = _interval(over[0]) if over else "1"
        row(fact.variant, fact.runtime, fact.batch, _interval(fact), beside)
    if chosen.facts is not None:
        keep(facts, chosen.facts)


def _interval(fact: Fact) -> str:
    ends = "" if fact.low is None or fact.high is None else f" ({fact.low:.3g} to {fact.high:.3g})"
    return f"{fact.value:.3g}{ends}"
