"""Latency and size facts of a run, measured again by hand: plain loops, one model at a time, none of our code between.

    python benchmarks/latency.py RUN [--runs 200] [--only simple_cnn]

RUN is a run folder (with its store around it). Of this package only the architectures are imported. Eager torch is
timed in a bare loop; onnxruntime on the file as the run left it, with idle workers polling (its default, as in the run)
and sleeping. Sizes come from the file system and from `gzip`. Prints Markdown: the fact, what was found by hand, and
their ratio. Nothing else may use the machine meanwhile; the load at the start is printed.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file

BATCHES = (1, 16)
WARMUPS = 20
SIZES = ("dense_fp32", "gzip", "bitmap", "onnx")
FAMILIES = {"resnet32": "resnet20", "resnet44": "resnet20", "resnet56": "resnet20"}


def timed(call: Callable[[], Any], runs: int) -> np.ndarray:
    """Milliseconds of each of `runs` calls after warming up."""
    for _ in range(WARMUPS):
        call()
    taken = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        taken.append(1e3 * (time.perf_counter() - started))
    return np.array(taken)


def eager(folder: Path) -> tuple[torch.nn.Module, tuple[int, int, int]]:
    """A saved variant as a module, built from its JSON and its tensors."""
    said = json.loads((folder / "variant.json").read_text())
    home = importlib.import_module(f"bantamweight.models.{FAMILIES.get(said['factory'], said['factory'])}")
    module = getattr(home, said["factory"])(**said["arguments"])
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    height, width = said["preprocessing"]["size"]
    return module.eval().requires_grad_(False), (said["preprocessing"]["channels"], height, width)


def exported(run: Path, jobs: list[dict[str, Any]]) -> dict[str, Path]:
    """ONNX files of the run by the hash of the variant they were made from."""
    found = {}
    for job in jobs:
        for path in sorted((run / "../.." / job["folder"]).glob("exports/*/*.onnx")):
            props = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
            found[json.loads(props["bantamweight.parent"])] = path
    return found


def session(path: Path, threads: int, spinning: int) -> ort.InferenceSession:
    """The file in onnxruntime."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", str(spinning))
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def latencies(folder: Path, onnx_file: Path | None, threads: int, runs: int) -> Iterator[tuple[str, int, np.ndarray]]:
    """(how, batch, milliseconds) for one variant."""
    module, shape = eager(folder)
    for batch in BATCHES:
        images = np.random.default_rng(0).random((batch, *shape), dtype=np.float32)
        rows = torch.from_numpy(images)
        with torch.inference_mode():
            yield "torch", batch, timed(lambda rows=rows: module(rows), runs)  # type: ignore[misc]
        for how, spinning in (("onnxruntime", 1), ("onnxruntime, sleeping", 0)) if onnx_file else ():
            loaded = session(onnx_file, threads, spinning)  # type: ignore[arg-type]
            yield how, batch, timed(lambda loaded=loaded, fed=images: loaded.run(None, {"images": fed}), runs)  # type: ignore[misc]


def gzipped_bytes(path: Path) -> int:
    """What `gzip -6` makes of a file."""
    if shutil.which("gzip"):
        return len(subprocess.run(["gzip", "-6", "-n", "-c", str(path)], check=True, capture_output=True).stdout)
    return len(gzip.compress(path.read_bytes(), 6))


def sizes(folder: Path, bitmap: Path | None, onnx_file: Path | None) -> dict[str, int]:
    """Bytes on disk by format."""
    dense = folder / "weights.safetensors"
    found = {"dense_fp32": os.path.getsize(dense), "gzip": gzipped_bytes(dense)}
    for form, path in (("bitmap", bitmap), ("onnx", onnx_file)):
        if path is not None and path.exists():
            found[form] = os.path.getsize(path)
    return found


def fact(facts: list[dict[str, Any]], metric: str, **columns: Any) -> dict[str, Any] | None:
    """The one fact with these columns, if the run has it."""
    fits = [row for row in facts if row["metric"] == metric and all(row[key] == columns[key] for key in columns)]
    return fits[0] if fits else None


def latency_rows(facts: list[dict[str, Any]], name: str, timings: Iterator[tuple[str, int, np.ndarray]]) -> None:
    """Print one line per runtime and batch."""
    for how, batch, taken in timings:
        runtime = how.partition(",")[0]
        row = fact(facts, "latency_ms", variant=name, runtime=runtime, batch=batch)
        said = "-" if row is None else f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
        middle = float(np.median(taken))
        ratio = "-" if row is None else f"{row['value'] / middle:.2f}"
        hand = f"{middle:.3f} ({np.quantile(taken, 0.1):.3f} to {np.quantile(taken, 0.9):.3f})"
        print(f"| {name} | {how} | {batch} | {said} | {hand} | {ratio} |", flush=True)


def size_rows(facts: list[dict[str, Any]], name: str, found: dict[str, int]) -> None:
    """Print one line per format."""
    for form in SIZES:
        row = fact(facts, "size_bytes", variant=name, item=form)
        if form in found and row is not None:
            print(f"| {name} | {form} | {row['value']:,.0f} | {found[form]:,} | {row['value'] / found[form]:.4f} |")


def main() -> None:
    """Read the run, measure everything in it again, print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--only", default="", help="variants whose name starts with this")
    options = parser.parse_args()
    manifest = json.loads((options.run / "run.json").read_text())
    facts = pq.read_table(options.run / "facts.parquet").to_pylist()
    threads, jobs = int(manifest["threads"]), manifest["jobs"]
    torch.set_num_threads(threads)
    files = exported(options.run, jobs)
    bitmaps = {
        job["labels"]["variant"]: options.run / "../.." / job["folder"] / "weights.bitmap"
        for job in jobs
        if job["kind"] == "sizes"
    }
    variants = []
    for one in manifest["variants"]:
        folder = options.run / "../.." / "jobs" / one["key"] / "variant"
        if one["name"].startswith(options.only) and folder.is_dir():
            parent = json.loads((folder / "variant.json").read_text())["hash"]
            variants.append((one["name"], folder, files.get(parent)))

    known = [f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnxruntime", "numpy")]
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"{manifest['machine']}; {threads} threads{load}; {', '.join(known)}; n = {options.runs} calls each\n")
    print("| variant | runtime | batch | fact: median ms [95%] | by hand: median ms (10% to 90%) | fact / hand |")
    print("|---|---|---:|---:|---:|---:|")
    for name, folder, onnx_file in variants:
        latency_rows(facts, name, latencies(folder, onnx_file, threads, options.runs))
    print("\n| variant | format | fact: bytes | by hand: bytes | fact / hand |\n|---|---|---:|---:|---:|")
    for name, folder, onnx_file in variants:
        size_rows(facts, name, sizes(folder, bitmaps.get(name), onnx_file))


if __name__ == "__main__":
    main()
