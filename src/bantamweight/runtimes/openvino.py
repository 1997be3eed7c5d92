"""The exported ONNX file on Intel's OpenVINO, which is not installed unless asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import nn

from bantamweight.errors import InputError
from bantamweight.runtimes._core import Session, compare, probe
from bantamweight.runtimes._onnx import INPUT, OPSET, export_onnx
from bantamweight.runtimes.onnxruntime import PROBES, refuse_unlike
from bantamweight.runtimes.onnxruntime_int8 import quantized
from bantamweight.runtimes.torch import torch as eager
from bantamweight.variants import Artifact, Variant

__all__ = ["openvino", "openvino_int8"]


def openvino(
    variant: Variant,
    module: nn.Module,
    folder: Path,
    threads: int,
    images: np.ndarray | None = None,  # noqa: ARG001 (for runtimes of integers)
    *,
    opset: int = OPSET,
) -> Session:
    """The ONNX file on OpenVINO's CPU plugin in float32; choose it to ship on Intel processors.

    Float32 is pinned: left to itself OpenVINO computes in bfloat16 where the processor can, and its logits are no
    longer torch's. Writes `folder/model.onnx`. Raises InputError when OpenVINO is not installed, can't run the file,
    or answers otherwise than torch.
    """
    session = _opened(export_onnx(variant, module, folder / "model.onnx", opset=opset), variant, threads, "openvino")
    with eager(variant, module, folder, threads) as reference:
        refuse_unlike(variant, compare(session, reference, probe(variant.input_shape, PROBES)))
    return session


def openvino_int8(
    variant: Variant,
    module: nn.Module,
    folder: Path,
    threads: int,
    images: np.ndarray | None = None,
    *,
    opset: int = OPSET,
) -> Session:
    """The int8 file of `onnxruntime_int8` on OpenVINO; choose it where it is faster than onnxruntime.

    Writes `folder/model.int8.onnx`, calibrated on `images` (32 or more). Raises InputError as the others do.
    """
    return _opened(quantized(variant, module, folder, images, opset=opset), variant, threads, "openvino_int8")


def _opened(artifact: Artifact, variant: Variant, threads: int, runtime: str) -> Session:
    try:
        import openvino as ov
    except ImportError as error:
        raise InputError("OpenVINO is not installed; pip install bantamweight[openvino]") from error
    pinned = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    try:
        core = ov.Core()
        compiled = core.compile_model(core.read_model(str(artifact.path)), "CPU", {**pinned, "NUM_STREAMS": 1})
    except RuntimeError as error:
        first = str(error).strip().splitlines()[-1]
        raise InputError(f"OpenVINO can't run {artifact.path.name}: {first[:200]}") from error
    request = compiled.create_infer_request()

    def call(images: np.ndarray) -> np.ndarray:
        # A copy: the tensor is the request's own and is overwritten by its next call.
        return np.array(request.infer({INPUT: images})[0])

    note = f"OpenVINO {ov.__version__.partition('-')[0]}, inference precision pinned to f32"
    shape = variant.input_shape
    return Session(call, runtime=runtime, threads=threads, shape=shape, artifact=artifact, note=note)
