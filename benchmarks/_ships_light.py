"""A lighter net that ships in int8, beside its dense parent: accuracy, bytes, and time on every runtime.

One recipe for every net: L1 over coupled channels down to a share of the MACs, in multiples that the runtime likes,
fine-tuned with the parent as teacher, exported to static int8. Accuracy is onnxruntime's on the file that ships.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _nets import judged, net, right
from _ships import claim, common, percent
from _table import columns, head, note, row

from bantamweight.compression import sizes
from bantamweight.data import Data, Split
from bantamweight.facts import Fact, select
from bantamweight.models import profile
from bantamweight.recipes._images import drawn
from bantamweight.recipes._int8 import answers
from bantamweight.recipes.bench import bench, keep
from bantamweight.recipes.compress import compress
from bantamweight.recipes.export import export
from bantamweight.runtimes._surrogate import artifact_of
from bantamweight.runtimes.onnxruntime import open_onnx
from bantamweight.variants import Variant, build

AUGMENT = ("flip", {"use": "crop", "padding": 4})
SPORTS: Mapping[str, Any] = {
    "objective": "distill",
    "epochs": 24,
    "optimizer": "adamw",
    "rate": 2e-3,
    "weight_decay": 0.05,
    "schedule": "one_cycle",
    "augment": AUGMENT,
}
CIFAR = {**SPORTS, "epochs": 4, "optimizer": {"use": "sgd", "momentum": 0.9}, "rate": 0.02, "weight_decay": 5e-4}
TUNING = {"resnet20": {**CIFAR, "batch": 128}, "resnet2b": {**CIFAR, "batch": 128}}
MULTIPLES = {"resnet20": 8, "resnet2b": 8}
"""Of channels; a net of 16 channels has nothing to cut in sixteens."""


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    common(parser, ("resnet_small", "simple_cnn", "resnet20", "mobilenet_v2"))
    add = parser.add_argument
    add("--macs", type=float, default=0.3, help="the share that is left")
    add("--allocate", default="global")
    add("--epochs", type=int, help="of fine-tuning (default: 24 on sports10, 4 on CIFAR-10)")
    add("--runtimes", nargs="+", default=["torch", "onnxruntime", "onnxruntime-int8", "openvino", "openvino-int8"])
    add("--batches", nargs="+", type=int, default=[1, 16])
    add("--runs", type=int, default=200)
    add("--facts", type=Path, help="a folder for the facts, to be merged with other machines'")


def main(chosen: argparse.Namespace) -> None:
    """Two tables: what the files answer and weigh, then what they take."""
    head(
        "A lighter net in int8",
        f"L1 channels to {chosen.macs:g} of the MACs, {chosen.allocate}, distilled; accuracy on n = {chosen.n}",
    )
    columns("net", "file", " MACs", " accuracy", " - dense float32, points", " bytes", " times smaller than dense fp32")
    facts: list[Fact] = []
    for name in chosen.nets:
        dense, data = net(name, chosen.home)
        light = _light(dense, data, name, chosen)
        _files(name, dense, light, data, chosen)
        note(f"{name}: timing")
        seen = drawn(data.splits["train"], chosen.calibration, "calibration").floats()
        facts += bench(
            [dense, light],
            runtimes=chosen.runtimes,
            batches=chosen.batches,
            threads=chosen.threads,
            runs=chosen.runs,
            calibrate=seen,
        )
    print(flush=True)
    columns("variant", "runtime", " batch", " ms (median)", " times as fast as its dense parent in eager torch")
    for fact in select(facts, "latency_ms"):
        over = select(facts, "speedup_over", variant=fact.variant, runtime=fact.runtime, batch=fact.batch)
        row(fact.variant, fact.runtime, fact.batch, _interval(fact), _interval(over[0]) if over else "1")
    if chosen.facts is not None:
        keep(facts, chosen.facts)


def _light(dense: Variant, data: Data, name: str, chosen: argparse.Namespace) -> Variant:
    note(f"{name}: cutting and fine-tuning")
    recipe = TUNING.get(name, SPORTS)
    return compress(
        dense,
        data,
        "l1_channels",
        target={"macs": chosen.macs},
        allocate=chosen.allocate,
        round_to=MULTIPLES.get(name, 16),
        finetune={**recipe, **({"epochs": chosen.epochs} if chosen.epochs else {})},
        out=chosen.home / f"{name}-light-{chosen.macs:g}-{chosen.allocate}-{chosen.epochs or 'default'}",
    ).variant


def _files(name: str, dense: Variant, light: Variant, data: Data, chosen: argparse.Namespace) -> None:
    """A row for the parent in float32, and one for each net in int8."""
    test, whole = judged(data, chosen.n), sizes(dense)["dense_fp32"]
    base = right(build(dense), test)
    row(name, "dense, safetensors", "1", percent(base), "", f"{whole:,}", "1")
    for said, variant in (("dense, ONNX int8", dense), ("light, ONNX int8", light)):
        path = chosen.home / f"{name}-{said[:5]}.onnx"
        seen = drawn(data.splits["train"], chosen.calibration, "calibration").floats()
        export(variant, path, int8=True, calibrate=seen, threads=chosen.threads, batches=())
        found = _answered(variant, path, test, chosen.threads) == test.labels.numpy()
        weighed, share = path.stat().st_size, _macs(variant) / _macs(dense)
        row(
            name,
            said,
            f"{share:.3f}",
            percent(found),
            claim(base, found, 0.01),
            f"{weighed:,}",
            f"{whole / weighed:.2f}",
        )
    tuned = right(build(light), test)
    row(
        name,
        "light, torch float32",
        f"{_macs(light) / _macs(dense):.3f}",
        percent(tuned),
        claim(base, tuned, 0.01),
        "",
        "",
    )


def _answered(variant: Variant, path: Path, test: Split, threads: int) -> Any:
    with open_onnx(artifact_of(variant, path), shape=variant.input_shape, threads=threads) as session:
        return answers(session, test.floats().numpy()).argmax(axis=1)


def _macs(variant: Variant) -> int:
    return profile(build(variant), variant.input_shape).macs


def _interval(fact: Fact) -> str:
    ends = "" if fact.low is None or fact.high is None else f" ({fact.low:.3g} to {fact.high:.3g})"
    return f"{fact.value:.3g}{ends}"
