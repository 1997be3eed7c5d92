"""The exported file in int8 on onnxruntime: what ships where bytes multiply faster than floats."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from torch import nn

from bantamweight.errors import InputError
from bantamweight.machine import integer_units
from bantamweight.runtimes._core import Session, compare, probe
from bantamweight.runtimes._fusion import fusion
from bantamweight.runtimes._onnx import OPSET, export_onnx
from bantamweight.runtimes._quantize import calibration, quantize_onnx
from bantamweight.runtimes.onnxruntime import PROBES, open_onnx, refuse_unlike
from bantamweight.runtimes.torch import torch as eager
from bantamweight.variants import Artifact, Variant

__all__ = ["onnxruntime_int8", "quantized"]


def onnxruntime_int8(
    variant: Variant,
    module: nn.Module,
    folder: Path,
    threads: int,
    images: np.ndarray | None = None,
    *,
    weight_bits: Literal[7, 8] = 8,
    opset: int = OPSET,
    spinning: bool = True,
) -> Session:
    """ONNX in static int8 on onnxruntime; choose it to ship on a CPU that has VNNI, AMX or I8MM.

    Writes `folder/model.int8.onnx`, calibrated on `images` (32 or more). Its answers are not float32's: whether they
    are good enough is for `recipes.export` and the accuracy facts to say. `weight_bits`, `opset` and `spinning` as in
    `quantize_onnx` and `onnxruntime`. Raises InputError without images, and when ONNX can't express the variant or the
    float32 file, from which it is made, does not answer as torch does.
    """
    artifact = quantized(variant, module, folder, images, weight_bits=weight_bits, opset=opset)
    session = open_onnx(artifact, shape=variant.input_shape, threads=threads, spinning=spinning)
    session.runtime = "onnxruntime_int8"
    session.note = (
        f"int8, {artifact.meta['calibration']['images']} images, {weight_bits}-bit weights, "
        f"{', '.join(integer_units()) or 'no integer unit'}, spinning {'on' if spinning else 'off'}; "
        f"{fusion(artifact.path)}"
    )
    return session


def quantized(
    variant: Variant,
    module: nn.Module,
    folder: Path,
    images: np.ndarray | None,
    *,
    weight_bits: Literal[7, 8] = 8,
    opset: int = OPSET,
) -> Artifact:
    """The int8 file alone, its float32 form checked beside torch and taken away again."""
    if images is None:
        raise InputError("int8 needs images to take its ranges from; calibrate it on some hundreds of the training set")
    images = calibration(images)
    whole = export_onnx(variant, module, folder / ".model.float32.onnx", opset=opset)
    try:
        with (
            open_onnx(whole, shape=variant.input_shape, threads=1) as session,
            eager(variant, module, folder, 1) as reference,
        ):
            refuse_unlike(variant, compare(session, reference, probe(variant.input_shape, PROBES)))
        return quantize_onnx(whole, images, folder / "model.int8.onnx", weight_bits=weight_bits)
    finally:
        whole.path.unlink(missing_ok=True)
