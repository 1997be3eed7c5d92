"""An int8 file as two modules: one that has a gradient and answers nearly as the file does, and the file itself.

The first walks the graph of the file in torch: weights are the int8 ones times their scales, and where the file rounds
an activation to 256 levels so does the module, with the scale and zero point that calibration chose. Rounding has no
gradient; its straight-through estimate passes the gradient on unchanged inside the range and stops it outside, where
the kernel saturates (and where a ReLU was folded into it). Source: Bengio et al. 2013 (arXiv 1308.3432), section 5;
Jacob et al. 2018 (arXiv 1712.05877), section 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.runtimes._core import Session
from bantamweight.runtimes._onnx import INPUT, OUTPUT
from bantamweight.runtimes._operators import Operator, operator
from bantamweight.types import Images, Logits
from bantamweight.variants import Artifact, Variant

__all__ = ["Shipped", "Surrogate", "artifact_of", "surrogate"]


class _Rounded(torch.autograd.Function):
    """Counts of steps from zero, as the kernel rounds them: halves to even, clipped; clipped straight-through."""

    @staticmethod
    def forward(
        context: Any, real: Tensor, factor: Tensor, divide: bool, zero: Tensor, ends: tuple[int, int]
    ) -> Tensor:
        level = (torch.div(real, factor) if divide else real * factor).round_().add_(zero)
        context.save_for_backward((level >= ends[0]) & (level <= ends[1]), factor)
        context.divide = divide
        return level.clamp_(*ends).sub_(zero)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        inside, factor = context.saved_tensors
        passed = gradients[0] * inside
        return passed / factor if context.divide else passed * factor, None, None, None, None


class Surrogate(nn.Module):
    """An ONNX graph in torch, gradients and all. Images `b c h w` in [0, 1] to logits `b k`.

    Where the kernels count, the module counts: a rounded activation is whole steps from its zero point, a weight whole
    levels, and their product a whole number, exact in float32 up to 2^24, whatever order it is summed in. Each name of
    `_units` stands for such counts of that unit; who needs real numbers multiplies.
    """

    def __init__(self, graph: Any) -> None:
        super().__init__()
        self._constants = {one.name: _tensor(onnx.numpy_helper.to_array(one)) for one in graph.initializer}
        self._kinds = {one.name: one.data_type for one in graph.initializer}
        self._units: dict[str, Tensor] = {}
        self._steps: list[tuple[Operator, tuple[str, ...], str]] = []
        for node in graph.node:
            settings = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
            if node.op_type == "Constant":
                self._constants[node.output[0]] = _tensor(onnx.numpy_helper.to_array(settings["value"]))
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node, settings)
            elif node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif _counts(node, settings) and {*node.input[:2]} <= {*self._units}:
                self._count(node, settings)
            else:
                self._step(operator(node.op_type, settings), [self._real(name) for name in node.input], node.output[0])
        self._seal()

    def _step(self, compute: Operator, names: Sequence[str], output: str) -> None:
        self._steps.append((compute, tuple(names), output))

    def _constant(self, name: str, value: Tensor) -> str:
        self._constants[name] = value
        return name

    def _real(self, name: str) -> str:
        """The name of the real numbers that a name stands for."""
        if name not in self._units:
            return name
        real = f"{name} in reals"
        if real not in self._constants and all(real != output for *_, output in self._steps):
            if name in self._constants:
                return self._constant(real, self._constants[name] * self._units[name])
            self._step(torch.mul, (name, self._constant(f"unit of {name}", self._units[name])), real)
        return real

    def _dequantize(self, node: Any, settings: Mapping[str, Any]) -> None:
        """A name for counts; of a constant, the unit of each channel stands along its axis."""
        source, scale, output = node.input[0], self._constants[node.input[1]], node.output[0]
        if source not in self._constants:
            # The rounding before it counts from the zero point already.
            self._step(operator("Identity", {}), (source,), output)
            self._units[output] = scale
            return
        level = self._constants[source]
        zero = self._constants[node.input[2]] if len(node.input) > 2 else torch.zeros_like(scale)
        if scale.ndim:
            axis = settings.get("axis", 1) % level.ndim
            shape = [-1 if at == axis else 1 for at in range(level.ndim)]
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        self._constant(output, level - zero)
        self._units[output] = scale

    def _quantize(self, node: Any) -> None:
        source, scale, zero = node.input
        bits = np.iinfo(onnx.helper.tensor_dtype_to_np_dtype(self._kinds[zero]))
        ends, counted = (int(bits.min), int(bits.max)), source in self._units
        factor = self._units[source] / self._constants[scale] if counted else self._constants[scale]
        held = self._constant(f"step of {node.output[0]}", factor)

        def compute(real: Tensor, factor: Tensor, zero: Tensor) -> Tensor:
            found: Tensor = _Rounded.apply(real, factor, not counted, zero, ends)  # type: ignore[no-untyped-call]
            return found

        self._step(compute, (source, held, zero), node.output[0])

    def _count(self, node: Any, settings: Mapping[str, Any]) -> None:
        """A product of counts: its unit is the product of theirs, in which the bias is counted too."""
        images, weight = node.input[:2]
        unit = self._units[images] * self._units[weight].reshape(-1)
        names = [images, weight]
        if len(node.input) > 2 and node.input[2]:
            bias = node.input[2]
            counts = self._constants[self._real(bias)] / unit
            names.append(self._constant(f"bias of {node.output[0]}", counts.round() if bias in self._units else counts))
        shape = (1, -1, 1, 1) if node.op_type == "Conv" else (1, -1)
        self._step(operator(node.op_type, settings), names, node.output[0])
        self._units[node.output[0]] = unit.reshape(shape) if unit.numel() > 1 else unit

    def _seal(self) -> None:
        """Keep what the logits need, constants as buffers."""
        self._last = self._real(OUTPUT)
        needed, kept = {self._last}, []
        for step in reversed(self._steps):
            if step[2] in needed:
                needed.update(step[1])
                kept.append(step)
        self._steps = kept[::-1]
        self._places = {name: f"constant{at}" for at, name in enumerate(sorted(needed & set(self._constants)))}
        for name, place in self._places.items():
            self.register_buffer(place, self._constants[name])
        del self._constants, self._kinds, self._units

    def forward(self, images: Images) -> Logits:
        """The logits."""
        known: dict[str, Tensor | None] = {name: getattr(self, place) for name, place in self._places.items()}
        known |= {"": None, INPUT: images}
        for compute, names, output in self._steps:
            known[output] = compute(*(known[name] for name in names))
        logits = known[self._last]
        assert logits is not None
        return logits


def _counts(node: Any, settings: Mapping[str, Any]) -> bool:
    """Whether it is a product and nothing more."""
    plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0
    return node.op_type == "Conv" or (node.op_type == "Gemm" and plain)


def _tensor(array: np.ndarray) -> Tensor:
    """Numbers to compute with: levels and zero points as floats, shapes as they are."""
    copied = torch.from_numpy(np.array(array))
    return copied if array.dtype == np.int64 else copied.float()


def surrogate(path: Path) -> Surrogate:
    """The module with a gradient for an ONNX file, int8 or float.

    Raises InputError when the file can't be read or has an operator that is not known.
    """
    try:
        made = Surrogate(onnx.load(path).graph)
        made.eval()
    except InputError as error:
        raise InputError(f"{Path(path).name} can't be attacked through its gradient: {error}") from error
    except Exception as error:  # the file may be a stranger's, and hold anything
        raise InputError(f"expected an ONNX classifier in {path}, got one that can't be read: {error}") from error
    return made


class Shipped(nn.Module):
    """A session as a module without a gradient: the judge of an attack on what ships. Copies share the session."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def forward(self, images: Images) -> Logits:
        """What the file answers."""
        rows = images.detach().cpu().float().contiguous().numpy()
        return torch.from_numpy(self._session.run(rows)).to(images.device)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Itself: a session has no state but its memory."""
        return self


def artifact_of(variant: Variant, path: Path | str) -> Artifact:
    """An exported file of this very variant. Raises InputError when it is another's, or none."""
    path = Path(path)
    try:
        proto = onnx.load(path, load_external_data=False)
        told = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    except Exception as error:  # protobuf's errors share no base class but this one
        raise InputError(f"expected an ONNX file in {str(path)!r}, got one that can't be read") from error
    parent = told.get("bantamweight.parent")
    if parent is None:
        raise InputError(f"{path.name} does not say which variant it was made from; export it with bantam export")
    if parent != variant.hash:
        raise InputError(f"{path.name} was made from another variant than {variant.name!r}; export it again")
    kind = "onnx_int8" if "bantamweight.int8" in told else "onnx"
    opset = next(entry.version for entry in proto.opset_import if entry.domain == "")
    runtime = "onnxruntime_int8" if kind == "onnx_int8" else "onnxruntime"
    return Artifact(path, kind, parent, runtime, {"opset": opset})
