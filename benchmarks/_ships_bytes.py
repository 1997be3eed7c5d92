"""Bytes on disk of every format, dense, pruned, in int8, and both; each variant beside its dense parent's accuracy."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from _nets import judged, net, right
from _ships import claim, common, percent
from _table import columns, head, note, row

from bantamweight import variants
from bantamweight.compression import compress, load_coded, rounded, save_coded, sizes
from bantamweight.compression.magnitude import magnitude
from bantamweight.data import Data
from bantamweight.recipes._images import drawn
from bantamweight.recipes.export import export
from bantamweight.recipes.prune import tune
from bantamweight.variants import Variant, build

FORMS = ("dense_fp32", "bitmap", "coded", "onnx", "onnx_int8")
AUGMENT = ("flip", {"use": "crop", "padding": 4})

TUNING = {
    "simple_cnn": {"epochs": 10, "augment": AUGMENT},
    "resnet_small": {"epochs": 4, "augment": AUGMENT},
    "resnet20": {
        "epochs": 4,
        "rate": 1e-3,
        "schedule": "one_cycle",
        "augment": ("flip", {"use": "crop", "padding": 4}),
    },
}


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    common(parser, ("resnet_small", "simple_cnn", "resnet20"))
    parser.add_argument("--sparsity", type=float, default=0.8)
    parser.add_argument("--epochs", type=int, help="of fine-tuning (default: the sports study's, 4 for resnet20)")


def main(chosen: argparse.Namespace) -> None:
    """Four rows per net."""
    head("Bytes on disk", f"sparsity {chosen.sparsity:g} by global magnitude, fine-tuned; accuracy on n = {chosen.n}")
    columns(
        "variant", *(f" {form}" for form in FORMS), " coded, times smaller than dense fp32", " accuracy", " - dense"
    )
    for name in chosen.nets:
        dense, data = net(name, chosen.home)
        test = judged(data, chosen.n)
        tuned = _tuned(dense, data, name, chosen)
        base, whole = right(build(dense), test), sizes(dense)["dense_fp32"]
        for variant in (dense, rounded(dense), tuned, rounded(tuned)):
            found = right(build(variant), test)
            weighed = _weighed(variant, data, chosen)
            cells = [f"{weighed[form]:,}" for form in FORMS]
            beside = "" if variant is dense else claim(base, found, 0.01)
            row(variant.name, *cells, f"{whole / weighed['coded']:.2f}", percent(found), beside)


def _tuned(dense: Variant, data: Data, name: str, chosen: argparse.Namespace) -> Variant:
    place = chosen.home / f"{name}-magnitude-{chosen.sparsity:g}-{chosen.epochs or 'default'}"
    if not (place / "variant.json").is_file():
        note(f"{name}: pruning and fine-tuning")
        cut, _ = compress(dense, magnitude(), sparsity=chosen.sparsity)
        settings = TUNING.get(name, TUNING["resnet_small"])
        tuned, _ = tune(cut, data, {**settings, **({"epochs": chosen.epochs} if chosen.epochs else {})})
        variants.save(replace(tuned, name=f"{name}/magnitude-{chosen.sparsity:g}/tuned"), place)
    return variants.load(place)


def _weighed(variant: Variant, data: Data, chosen: argparse.Namespace) -> dict[str, int]:
    """Every file written and measured; the coded one read back to the bit."""
    with tempfile.TemporaryDirectory() as folder:
        coded = save_coded(variant, Path(folder) / "net.safetensors")
        assert load_coded(coded.path).hash == variant.hash
        seen = drawn(data.splits["train"], chosen.calibration, "calibration").floats()
        plain = export(variant, Path(folder) / "plain.onnx", threads=chosen.threads)
        whole = export(
            variant, Path(folder) / "int8.onnx", int8=True, calibrate=seen, batches=(), threads=chosen.threads
        )
        files = {"onnx": plain.artifact.size_bytes, "onnx_int8": whole.artifact.size_bytes}
        return {**sizes(variant), **files}
