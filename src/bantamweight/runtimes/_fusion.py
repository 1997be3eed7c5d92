"""What onnxruntime really runs: the graph after its optimisations, sorted into integer and float work.

A pair of QuantizeLinear and DequantizeLinear around a layer is only a wish. Whether it was fused into an integer kernel
is seen in the optimised graph alone, which onnxruntime writes out on request.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort

from bantamweight.errors import InputError

__all__ = ["Float", "Fusion", "fusion"]

HEAVY = ("Conv", "FusedConv", "ConvTranspose", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
"""Where nearly all multiplications are; a float one among them is what an audit looks for."""

_CONVERTS = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Float:
    """A node that stayed float: its name, its operation, and why."""

    name: str
    operation: str
    because: str


@dataclass(frozen=True)
class Fusion:
    """`integer` counts the nodes that compute on integers, by operation; `floats` are the others in their order.

    `conversions` counts the steps between the two worlds that are left.
    """

    integer: Mapping[str, int]
    floats: tuple[Float, ...]
    conversions: int

    @property
    def heavy(self) -> tuple[Float, ...]:
        """Convolutions and matrix products that stayed float; none when int8 can pay."""
        return tuple(node for node in self.floats if node.operation in HEAVY)

    def __str__(self) -> str:
        """`22 integer nodes (15 QLinearConv, ...); float: Sub, Div; all convolutions and products are integer`."""
        counted = ", ".join(f"{count} {name}" for name, count in sorted(self.integer.items()))
        stayed = ", ".join(f"{count} {name}" for name, count in Counter(one.operation for one in self.floats).items())
        heavy = f"{len(self.heavy)} convolutions or products stayed float" if self.heavy else "every product is integer"
        return f"integer: {counted or 'none'}; float: {stayed or 'none'}; {heavy}"


def fusion(path: Path) -> Fusion:
    """Open the graph that onnxruntime makes of a file on this machine. Raises InputError when it can't load it."""
    return _sorted(_optimised(path).graph)


def _optimised(path: Path) -> Any:
    with tempfile.TemporaryDirectory(prefix="bantamweight-") as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.optimized_model_filepath = str(Path(folder) / "optimised.onnx")
        options.log_severity_level = 4
        try:
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no base class but this one
            first = str(error).strip().partition("\n")[0]
            raise InputError(f"onnxruntime {ort.__version__} can't run {path.name}: {first[:200]}") from error
        return onnx.load(Path(folder) / "optimised.onnx")


def _sorted(graph: Any) -> Fusion:
    constants = {one.name for one in graph.initializer}
    made = {output: node for node in graph.node for output in node.output}
    read: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            read.setdefault(name, []).append(node)
    whole: set[str] = set()  # names of integer tensors
    integer: Counter[str] = Counter()
    floats: list[Float] = []
    for node in graph.node:
        data = [name for name in node.input if name and name not in constants]
        if node.op_type in _CONVERTS:
            whole.update(node.output if node.op_type == "QuantizeLinear" else ())
        elif data and data[0] in whole:
            integer[node.op_type] += 1
            whole.update(() if _ends_in_float(node) else node.output)
        else:
            floats.append(Float(node.name, node.op_type, _why(node, data, made, read)))
    return Fusion(dict(integer), tuple(floats), sum(node.op_type in _CONVERTS for node in graph.node))


def _ends_in_float(node: Any) -> bool:
    """An integer product may hand out its sums in float: QGemm without a scale for what it returns."""
    return node.op_type in ("QGemm", "MatMulIntegerToFloat") and len([name for name in node.input if name]) < 9


def _why(node: Any, data: list[str], made: Mapping[str, Any], read: Mapping[str, list[Any]]) -> str:
    """Read off the nodes around it."""
    before = [made[name].op_type for name in data if name in made]
    after = [one.op_type for name in node.output for one in read.get(name, ())]
    if not any(kind == "DequantizeLinear" for kind in before):
        return f"it works on floats: {before[0]} comes before it" if before else "it works on the images themselves"
    if any(kind != "DequantizeLinear" for kind in before):
        return "only some of what it reads is quantized"
    if not after:
        return "it gives the logits"
    if any(kind != "QuantizeLinear" for kind in after):
        return f"its answer goes on in float, to {next(kind for kind in after if kind != 'QuantizeLinear')}"
    return f"onnxruntime {ort.__version__} has no integer kernel for {node.op_type} as it stands here"
