"""Static int8 beside float32: accuracy, agreement, the surrogate beside onnxruntime, what stayed float, attacks."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from _nets import judged, net, right
from _ships import claim, common, percent
from _table import columns, head, note, row

from bantamweight.data import Split
from bantamweight.recipes._images import drawn
from bantamweight.recipes._int8 import answers
from bantamweight.recipes.export import export
from bantamweight.recipes.prune import tune
from bantamweight.recipes.shipped import attack_shipped
from bantamweight.runtimes._fusion import fusion
from bantamweight.runtimes._surrogate import artifact_of, surrogate
from bantamweight.runtimes.onnxruntime import open_onnx
from bantamweight.variants import Variant, build

QAT = {"objective": "quantized", "epochs": 2, "optimizer": "adam", "rate": 1e-4, "schedule": "constant"}


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    common(parser, ("resnet_small", "simple_cnn", "resnet20", "mobilenet_v2"))
    add = parser.add_argument
    add("--qat", action="store_true", help="also after two epochs of quantization-aware fine-tuning")
    add("--eps", help="also attack the file and its parent, linf, such as 0.5/255 or 2/255")
    add("--protocol", default="fast")
    add("--checks", choices=["probe", "none"], default="none", help="what fails escalates to the whole ensemble: hours")
    add("--queries", type=int, default=500, help="of Square, on each side's own scores, for what still stands")


def main(chosen: argparse.Namespace) -> None:
    """A row per net."""
    head("Static int8 beside float32", f"n = {chosen.n} test images, {chosen.calibration} training images to calibrate")
    columns(
        *("net", " float32", " int8", " int8 - float32, points", " same answer", " surrogate agrees", " bytes"),
        *(
            "integer",
            "float",
            *((" robust float32", " robust int8", " difference", "what broke int8") if chosen.eps else ()),
        ),
    )
    for name in chosen.nets:
        variant, data = net(name, chosen.home)
        test = judged(data, chosen.n)
        seen = drawn(data.splits["train"], chosen.calibration, "calibration")
        _row(variant, test, seen, chosen)
        if chosen.qat:
            note(f"{name}: fine-tuning with quantization")
            tuned, _ = tune(variant, data, QAT)
            _row(tuned, test, seen, chosen)


def _row(variant: Variant, test: Split, seen: Split, chosen: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        export(variant, path, int8=True, calibrate=seen.floats(), threads=chosen.threads, batches=())
        with open_onnx(artifact_of(variant, path), shape=variant.input_shape, threads=chosen.threads) as session:
            found = answers(session, test.floats().numpy()).argmax(axis=1)
        proposer = surrogate(path)
        with torch.no_grad():
            near = torch.cat([proposer(rows) for rows in test.floats().split(64)]).argmax(dim=1).numpy()
        in_float, in_int8 = right(build(variant), test), found == test.labels.numpy()
        told = fusion(path)
        same = _first(variant, test) == found
        cells = [
            *(variant.name, percent(in_float), percent(in_int8), claim(in_float, in_int8, 0.01)),
            *(f"{same.sum()} of {len(same)}", f"{(near == found).sum()} of {len(found)}", f"{path.stat().st_size:,}"),
            ", ".join(f"{count} {kind}" for kind, count in sorted(told.integer.items())),
            ", ".join(f"{count} {kind}" for kind, count in Counter(one.operation for one in told.floats).items()),
        ]
        if chosen.eps:
            cells += _attacked(variant, path, test, chosen)
        row(*cells)


def _first(variant: Variant, test: Split) -> np.ndarray:
    from bantamweight.predict import logits_of

    return logits_of(build(variant), test.floats()).argmax(dim=1).numpy()


def _attacked(variant: Variant, path: Path, test: Split, chosen: argparse.Namespace) -> list[str]:
    note(f"{variant.name}: attacking float32 and int8")
    above, _, below = chosen.eps.partition("/")
    eps = float(above) / float(below or 1)
    found = attack_shipped(
        variant,
        path,
        test.floats(),
        test.labels,
        f"linf {eps}",
        protocol=chosen.protocol,
        by_score={"use": "square", "queries": chosen.queries},
        checks=chosen.checks,
        threads=chosen.threads,
    )
    failed = [check.name for check in found.through.checks if check.state == "fail"]
    parts = [*found.through.attacks, *(found.by_score.attacks if found.by_score else ())]
    return [
        percent(found.parent_standing),
        percent(found.standing),
        claim(found.parent_standing, found.standing, 0.02),
        "; ".join(f"{part.name} {part.broken}/{part.given}" for part in parts)
        + (f"; checks failed: {', '.join(failed)}" if failed else ""),
    ]
