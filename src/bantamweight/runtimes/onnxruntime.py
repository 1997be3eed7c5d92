"""The exported ONNX file in onnxruntime: what ships, and needs neither torch nor this package to run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from torch import nn

from bantamweight.errors import InputError
from bantamweight.runtimes._core import Parity, Session, Shape, compare, probe
from bantamweight.runtimes._onnx import INPUT, OPSET, OUTPUT, export_onnx
from bantamweight.runtimes.torch import torch as eager
from bantamweight.variants import Artifact, Variant

__all__ = ["onnxruntime", "open_onnx"]

PROBES = 7
"""Random images on which a fresh file must agree with torch; a batch the exporter did not see."""


def onnxruntime(
    variant: Variant,
    module: nn.Module,
    folder: Path,
    threads: int,
    images: np.ndarray | None = None,  # noqa: ARG001 (for runtimes of integers)
    *,
    opset: int = OPSET,
    spinning: bool = True,
) -> Session:
    """ONNX in float32 on onnxruntime's CPU provider, all graph optimisations on; choose it to ship on a CPU.

    Writes `folder/model.onnx`. With `spinning` (onnxruntime's own default) idle workers poll for work between
    operations and for a moment after a call: up to twice as fast alone, slower beside other busy programs. Raises
    InputError when ONNX can't express the variant, or when the file's logits are not torch's on random images.
    """
    artifact = export_onnx(variant, module, folder / "model.onnx", opset=opset)
    session = open_onnx(artifact, shape=variant.input_shape, threads=threads, spinning=spinning)
    with eager(variant, module, folder, threads) as reference:
        refuse_unlike(variant, compare(session, reference, probe(variant.input_shape, PROBES)))
    return session


def open_onnx(artifact: Artifact, *, shape: Shape, threads: int, spinning: bool = True) -> Session:
    """Load an exported file with pinned threads. Raises InputError when onnxruntime can't run it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    try:
        loaded = ort.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors share no base class but this one
        first = str(error).strip().partition("\n")[0]
        raise InputError(f"onnxruntime {ort.__version__} can't run {artifact.path.name}: {first[:200]}") from error

    def call(images: np.ndarray) -> np.ndarray:
        return loaded.run([OUTPUT], {INPUT: images})[0]

    note = f"float32, opset {artifact.meta.get('opset')}, spinning {'on' if spinning else 'off'}"
    return Session(call, runtime="onnxruntime", threads=threads, shape=shape, artifact=artifact, note=note)


def refuse_unlike(variant: Variant, parity: Parity) -> None:
    """Raise InputError when a file does not answer as torch does."""
    if not parity.holds:
        raise InputError(
            f"the ONNX file of {variant.name!r} does not answer as torch does: logits differ by up to "
            f"{parity.max_abs:.3g} on {parity.n} images ({parity.allowed:.2g} allowed); "
            f"replace layers that depend on chance, state or the number of images"
        )
