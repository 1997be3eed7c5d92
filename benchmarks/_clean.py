"""What was compressed here, loaded elsewhere: where only onnxruntime is, and where torch-pruning is not.

Both environments are made anew and filled by pip; nothing of this one is on their path.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from _nets import net
from _table import columns, head, note, row

from bantamweight import variants
from bantamweight.compression import compress_channels
from bantamweight.compression.l1_channels import l1_channels
from bantamweight.predict import logits_of
from bantamweight.recipes._images import drawn
from bantamweight.recipes.export import export
from bantamweight.runtimes._core import probe
from bantamweight.runtimes.onnxruntime import open_onnx

ROOT = Path(__file__).resolve().parent.parent
ALONE = """
import sys, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
np.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})[0])
"""
WITHOUT = """
import sys, numpy as np, torch
from pathlib import Path
from bantamweight import variants
from bantamweight.predict import logits_of
torch.set_num_threads(1)
variant = variants.load(Path(sys.argv[1]))
np.save(sys.argv[3], logits_of(variants.build(variant), torch.from_numpy(np.load(sys.argv[2]))).numpy())
"""


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--home", type=Path, default=Path(".bantam/benchmarks"), help="where trained nets are kept")
    parser.add_argument("--net", default="resnet20")


def main(chosen: argparse.Namespace) -> None:
    """A row per environment and file."""
    dense, data = net(chosen.net, chosen.home)
    cut, _ = compress_channels(dense, l1_channels(), target={"macs": 0.5})
    images = probe(cut.input_shape, 64, "elsewhere")
    head("Loaded elsewhere", f"{chosen.net} at half of its MACs by L1 channels, 64 random images")
    columns("environment", " packages", "file", " largest difference from here", " same answers")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.save(place / "images.npy", images)
        torch.set_num_threads(1)
        expected = logits_of(variants.build(cut), torch.from_numpy(images)).numpy()
        variants.save(cut, place / "cut")
        export(cut, place / "float32.onnx")
        seen = drawn(data.splits["train"], 256, "calibration").floats()
        rounded = export(cut, place / "int8.onnx", int8=True, calibrate=seen, batches=()).artifact
        with open_onnx(rounded, shape=cut.input_shape, threads=1) as session:
            here = {"float32.onnx": expected, "int8.onnx": session.run(images)}
        note("an environment with onnxruntime alone")
        alone = _made(place / "alone", ["onnxruntime"])
        for file, answers in here.items():
            _said(alone, "onnxruntime alone", ALONE, place, file, answers)
        note("an environment without torch-pruning")
        lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
        (place / "lock").write_text("\n".join(one for one in lines if not one.startswith("torch-pruning")))
        without = _made(place / "without", ["-r", str(place / "lock")])
        _pip(without, ["--no-deps", str(ROOT)])
        _said(without, "the lock without torch-pruning", WITHOUT, place, "cut", expected)


def _made(folder: Path, wanted: list[str]) -> Path:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    _pip(python, wanted)
    return python


def _pip(python: Path, wanted: list[str]) -> None:
    subprocess.run([python, "-m", "pip", "install", "-q", *wanted], check=True)


def _said(python: Path, name: str, code: str, place: Path, file: str, expected: np.ndarray) -> None:
    """Nothing of this environment's path goes along."""
    given = [python, "-I", "-c", code, place / file, place / "images.npy", place / "logits.npy"]
    subprocess.run(given, check=True, cwd=place)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    packages = [line for line in listed.stdout.splitlines() if not re.match(r"(pip|setuptools)==", line)]
    assert not any(line.startswith("torch-pruning") for line in packages)
    found = np.load(place / "logits.npy")
    same = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    row(name, len(packages), file, f"{np.abs(found - expected).max():.2g}", f"{same} of {len(found)}")
