"""Export: a variant becomes the file that ships, and is held against torch on the images given."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from bantamweight.errors import InputError
from bantamweight.recipes._int8 import Int8, judged, speed
from bantamweight.runtimes._core import Parity, compare, probe
from bantamweight.runtimes._fusion import fusion
from bantamweight.runtimes._onnx import OPSET, export_onnx
from bantamweight.runtimes._quantize import calibration, quantize_onnx
from bantamweight.runtimes.onnxruntime import open_onnx, refuse_unlike
from bantamweight.runtimes.torch import torch as eager
from bantamweight.types import Images, Labels
from bantamweight.variants import Artifact, Variant, build

__all__ = ["Exported", "Int8", "export"]

RUNS = 50
"""Timed calls per file and batch size: what a choice between two files needs, not a benchmark."""


@dataclass(frozen=True)
class Exported:
    """The file, how its float32 form answers beside torch, and what int8 made of it."""

    artifact: Artifact
    parity: Parity
    int8: Int8 | None = None


def export(
    variant: Variant,
    path: Path | str,
    *,
    int8: bool = False,
    calibrate: Images | None = None,
    images: Images | None = None,
    labels: Labels | None = None,
    most_lost: float = 0.01,
    weight_bits: Literal[7, 8] = 8,
    batches: Sequence[int] = (1, 16),
    opset: int = OPSET,
    threads: int = 1,
    trust: bool = False,
) -> Exported:
    """Write the variant as one ONNX file that runs without this package, checked on `images` (64 random ones if None).

    With `int8` the file computes on integers, with ranges taken from the images `calibrate` (32 or more); it is judged
    on `images` and `labels` (on `calibrate`, when there are none) beside the float32 file, and `Exported.int8` says
    whether it is recommended: it may lose no more than `most_lost` of the images and be slower at none of `batches`
    (timed here; none: not timed). Raises InputError when ONNX can't express it or its logits are not torch's (no file
    is left then); StoreError when the file can't be written. Batch size is free.
    """
    path = Path(path)
    if path.is_dir() or path.suffix != ".onnx":
        raise InputError(f"expected a file name that ends in .onnx, got {str(path)!r}")
    if int8 and calibrate is None:
        raise InputError("int8 needs images to take its ranges from; pass calibrate, some hundreds of them")
    if calibrate is not None and not int8:
        raise InputError("images to calibrate on are for int8; pass int8 as well, or leave them out")
    if not 0 < most_lost < 1:
        raise InputError(f"expected the accuracy that int8 may lose as a share in (0, 1), got {most_lost}")
    if labels is not None and (images is None or len(labels) != len(images)):
        raise InputError(f"expected images with a label for each, got {len(labels)} labels; pass both")
    seen = None if calibrate is None else calibration(_rows(calibrate))
    rows = probe(variant.input_shape, 64, "export") if images is None else _rows(images)
    aside = path.with_name(f".{path.name}.unchecked")
    whole = path.with_name(f".{path.name}.float32")
    try:
        module = build(variant, trust=trust)
        written = export_onnx(variant, module, aside, opset=opset)
        with (
            open_onnx(written, shape=variant.input_shape, threads=threads) as session,
            eager(variant, module, path.parent, threads) as reference,
        ):
            parity = compare(session, reference, rows)
        refuse_unlike(variant, parity)
        verdict = None
        if seen is not None:
            aside.replace(whole)
            float32 = replace(written, path=whole)
            written = quantize_onnx(float32, seen, aside, weight_bits=weight_bits)
            shown = seen if images is None else rows
            truth = None if labels is None else labels.cpu().numpy()
            verdict = _verdict((float32, written), variant, shown, truth, most_lost, batches, threads)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
        whole.unlink(missing_ok=True)
    return Exported(replace(written, path=path), parity, verdict)


def _verdict(
    files: tuple[Artifact, Artifact],
    variant: Variant,
    images: np.ndarray,
    labels: np.ndarray | None,
    most_lost: float,
    batches: Sequence[int],
    threads: int,
) -> Int8:
    """Both files on the same images and, interleaved, on the same clock."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(open_onnx(file, shape=variant.input_shape, threads=threads)) for file in files
        )
        faster = speed((first, second), threads=threads, batches=batches, runs=RUNS)
        told = fusion(files[1].path)
        return judged((first, second), images, labels, fusion=told, most_lost=most_lost, faster=faster)


def _rows(images: Images) -> np.ndarray:
    return images.detach().cpu().float().contiguous().numpy()
