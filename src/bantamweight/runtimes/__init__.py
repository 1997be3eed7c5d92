"""Where a model runs when it is not being attacked: an artifact in, a callable out, and how long it takes.

Every file without an underscore is a runtime that a study can name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.runtimes._core import Parity, Session, compare, pinned, prepare
    from bantamweight.runtimes._fusion import Fusion, fusion
    from bantamweight.runtimes._latency import measure
    from bantamweight.runtimes._onnx import export_onnx
    from bantamweight.runtimes._quantize import quantize_onnx

_HOMES = {
    "Fusion": "_fusion",
    "Parity": "_core",
    "Session": "_core",
    "compare": "_core",
    "export_onnx": "_onnx",
    "fusion": "_fusion",
    "measure": "_latency",
    "pinned": "_core",
    "prepare": "_core",
    "quantize_onnx": "_quantize",
}

__all__ = [
    "Fusion",
    "Parity",
    "Session",
    "compare",
    "export_onnx",
    "fusion",
    "measure",
    "pinned",
    "prepare",
    "quantize_onnx",
]

ALSO = {"openvino_int8": "openvino"}
"""Runtimes that share a file: name -> the file."""

__getattr__, __dir__ = lazy(__name__, _HOMES)
