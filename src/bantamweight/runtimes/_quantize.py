"""Static int8: a float ONNX file becomes one whose convolutions and matrix products run on integers.

Weights are symmetric int8, one scale per output channel; activations are uint8, one scale per tensor, from the smallest
and largest value seen on the user's images. They are written as pairs of QuantizeLinear and DequantizeLinear that
onnxruntime fuses into integer kernels when it loads the file; `_fusion.py` says which it did fuse. The logits stay
float32: in eight bits they would tie. Source: Jacob et al. 2018 (arXiv 1712.05877), section 2; Krishnamoorthi 2018
(arXiv 1806.08342), sections 2.1 and 3.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx

from bantamweight.errors import InputError
from bantamweight.runtimes._onnx import INPUT, OUTPUT, clean, quiet, sealed
from bantamweight.variants import Artifact

__all__ = ["FEWEST", "calibration", "quantize_onnx"]

FEWEST = 32
"""Images below which the smallest and largest activation are a matter of luck."""

CHUNK = 32
"""Images that calibration looks at together; changes no byte."""


def quantize_onnx(artifact: Artifact, images: np.ndarray, path: Path, *, weight_bits: Literal[7, 8] = 8) -> Artifact:
    """Write the int8 form of a float ONNX file to `path`, calibrated on float32 images `(n, c, h, w)` in [0, 1].

    The same file and images give the same bytes. `weight_bits=7` is for x86 processors without VNNI, whose 16-bit
    sums of two products saturate at 8. Raises InputError for fewer than 32 images, images that don't fit, or a file
    that can't be quantized; StoreError when it can't be written.
    """
    images = calibration(images)
    with tempfile.TemporaryDirectory(prefix="bantamweight-") as folder:
        proto = _quantized(artifact.path, images, Path(folder), weight_bits)
    _float_logits(proto)
    told = {entry.key: entry.value for entry in onnx.load(artifact.path).metadata_props}
    clean(proto)
    settings = {"images": len(images), "ranges": "minmax", "weight_bits": weight_bits}
    for key, value in sorted({**told, "bantamweight.int8": json.dumps(settings, sort_keys=True)}.items()):
        proto.metadata_props.add(key=key, value=value)
    meta = {**sealed(proto, path), "exporter": artifact.meta.get("exporter", ""), "calibration": settings}
    return Artifact(path=path, kind="onnx_int8", parent=artifact.parent, runtime="onnxruntime_int8", meta=meta)


def calibration(images: np.ndarray) -> np.ndarray:
    """The images, when ranges can be taken from them; raises InputError."""
    if images.dtype != np.float32 or images.ndim != 4:
        raise InputError(f"expected float32 images (n, c, h, w) to calibrate on, got {images.dtype} {images.shape}")
    if len(images) < FEWEST:
        raise InputError(
            f"expected at least {FEWEST} images to calibrate int8 on, got {len(images)}; their extremes become the "
            f"ranges of every layer, so give some hundreds like those the model will see"
        )
    return images


def _quantized(source: Path, images: np.ndarray, folder: Path, weight_bits: int) -> Any:
    """The QDQ graph; the quantizer's own files stay in the folder."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Hands the images out in chunks."""

        def __init__(self) -> None:
            self.chunks: Iterator[int] = iter(range(0, len(images), CHUNK))

        def get_next(self) -> dict[str, np.ndarray] | None:
            start = next(self.chunks, None)
            return None if start is None else {INPUT: np.ascontiguousarray(images[start : start + CHUNK])}

    inside = folder / "float.onnx"
    inside.write_bytes(source.read_bytes())
    try:
        with quiet():
            quantize_static(
                inside,
                folder / "int8.onnx",
                Reader(),
                quant_format=QuantFormat.QDQ,
                # Named, and in order: left to itself it walks a set, and the bytes follow the hash seed.
                op_types_to_quantize=sorted({*QDQRegistry, *QLinearOpsRegistry}),
                per_channel=True,
                reduce_range=weight_bits == 7,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibration_providers=["CPUExecutionProvider"],
            )
    except Exception as error:  # the quantizer raises whatever its parts raise
        first = (str(error).strip() or type(error).__name__).partition("\n")[0]
        raise InputError(f"{source.name!r} can't be quantized: {first[:200]}; ship it in float32") from error
    return onnx.load(folder / "int8.onnx")


def _float_logits(proto: Any) -> None:
    """Take out the last pair of quantization, so that the logits are the last layer's own sums."""
    graph = proto.graph
    made = {output: node for node in graph.node for output in node.output}
    last = made[OUTPUT]
    if last.op_type != "DequantizeLinear" or made[last.input[0]].op_type != "QuantizeLinear":
        return
    rounding = made[last.input[0]]
    source = rounding.input[0]
    if source not in made or sum(source in node.input for node in graph.node) != 1:
        return
    producer = made[source]
    producer.output[list(producer.output).index(source)] = OUTPUT
    for node in (last, rounding):
        graph.node.remove(node)
    _forget(graph, {*rounding.input[1:], *last.input[1:]})


def _forget(graph: Any, names: set[str]) -> None:
    """Remove constants that nobody reads any more."""
    used = {name for node in graph.node for name in node.input}
    for constant in [one for one in graph.initializer if one.name in names - used]:
        graph.initializer.remove(constant)
