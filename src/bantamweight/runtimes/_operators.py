"""The ONNX operators that exported classifiers consist of, each as a function of tensors that has a gradient.

Source: the ONNX operator specification, opset 20. A node's settings are read once; what they ask and this file does not
do is an error, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bantamweight.errors import InputError

__all__ = ["Operator", "operator"]

Operator = Callable[..., Tensor]


def operator(kind: str, settings: Mapping[str, Any]) -> Operator:
    """The function of an ONNX node; raises InputError for an operator, or a setting of it, that is not known."""
    if kind not in _MADE:
        raise InputError(f"its graph has {kind}, which has no gradient here; attack it by scores alone")
    return _MADE[kind](settings)


def _unlike(kind: str, settings: Mapping[str, Any], **wanted: Any) -> None:
    for key, value in wanted.items():
        if settings.get(key, value) != value:
            raise InputError(f"its graph has {kind} with {key}={settings[key]!r}, which is not known here")


def _pads(settings: Mapping[str, Any], value: float) -> Callable[[Tensor], Tensor]:
    """Padding of height and width by ONNX's begins and ends."""
    top, left, bottom, right = settings.get("pads", (0, 0, 0, 0))
    if not any((top, left, bottom, right)):
        return lambda images: images
    return lambda images: functional.pad(images, (left, right, top, bottom), value=value)


def _conv(settings: Mapping[str, Any]) -> Operator:
    _unlike("Conv", settings, auto_pad=b"NOTSET")
    padded = _pads(settings, 0.0)
    stride, dilation = tuple(settings.get("strides", (1, 1))), tuple(settings.get("dilations", (1, 1)))
    groups = settings.get("group", 1)
    return lambda images, weight, bias=None: functional.conv2d(
        padded(images), weight, bias, stride, 0, dilation, groups
    )


def _gemm(settings: Mapping[str, Any]) -> Operator:
    alpha, beta = settings.get("alpha", 1.0), settings.get("beta", 1.0)

    def compute(first: Tensor, second: Tensor, third: Tensor | None = None) -> Tensor:
        left = first.T if settings.get("transA", 0) else first
        right = second.T if settings.get("transB", 0) else second
        product = alpha * (left @ right) if alpha != 1.0 else left @ right
        return product if third is None else product + (beta * third if beta != 1.0 else third)

    return compute


def _max_pool(settings: Mapping[str, Any]) -> Operator:
    _unlike("MaxPool", settings, auto_pad=b"NOTSET", dilations=[1, 1], storage_order=0)
    padded, ceil = _pads(settings, -torch.inf), bool(settings.get("ceil_mode", 0))
    kernel, stride = tuple(settings["kernel_shape"]), tuple(settings.get("strides", (1, 1)))
    return lambda images: functional.max_pool2d(padded(images), kernel, stride, ceil_mode=ceil)


def _average_pool(settings: Mapping[str, Any]) -> Operator:
    _unlike("AveragePool", settings, auto_pad=b"NOTSET", dilations=[1, 1], ceil_mode=0)
    if any(settings.get("pads", ())):
        _unlike("AveragePool", {"count_include_pad": 0, **settings}, count_include_pad=1)
    padded = _pads(settings, 0.0)
    kernel, stride = tuple(settings["kernel_shape"]), tuple(settings.get("strides", (1, 1)))
    return lambda images: functional.avg_pool2d(padded(images), kernel, stride)


def _mean(settings: Mapping[str, Any]) -> Operator:
    keep = bool(settings.get("keepdims", 1))
    return lambda images, axes: images.mean(dim=axes.tolist(), keepdim=keep)


def _reshape(settings: Mapping[str, Any]) -> Operator:
    def compute(images: Tensor, shape: Tensor) -> Tensor:
        sides = shape.tolist()
        if not settings.get("allowzero", 0):
            sides = [images.shape[at] if side == 0 else side for at, side in enumerate(sides)]
        return images.reshape(sides)

    return compute


def _slice(_: Mapping[str, Any]) -> Operator:
    def compute(
        images: Tensor, starts: Tensor, ends: Tensor, axes: Tensor | None = None, steps: Tensor | None = None
    ) -> Tensor:
        chosen = range(len(starts)) if axes is None else axes.tolist()
        strides = [1] * len(starts) if steps is None else steps.tolist()
        index = [slice(None)] * images.ndim
        for axis, start, end, step in zip(chosen, starts.tolist(), ends.tolist(), strides, strict=True):
            if step < 1:
                raise InputError("its graph has Slice backwards, which is not known here")
            index[axis] = slice(start, None if end >= 2**31 else end, step)
        return images[tuple(index)]

    return compute


def _pad(settings: Mapping[str, Any]) -> Operator:
    _unlike("Pad", settings, mode=b"constant")

    def compute(images: Tensor, pads: Tensor, value: Tensor | None = None, axes: Tensor | None = None) -> Tensor:
        if axes is not None:
            raise InputError("its graph has Pad of some axes, which is not known here")
        sides = pads.tolist()
        around = [side for axis in reversed(range(images.ndim)) for side in (sides[axis], sides[axis + images.ndim])]
        return functional.pad(images, around, value=0.0 if value is None else float(value))

    return compute


def _clip(_: Mapping[str, Any]) -> Operator:
    return lambda images, low=None, high=None: images.clamp(
        None if low is None else float(low), None if high is None else float(high)
    )


def _batch_norm(settings: Mapping[str, Any]) -> Operator:
    small = settings.get("epsilon", 1e-5)
    return lambda images, gain, shift, mean, variance: functional.batch_norm(
        images, mean, variance, gain, shift, False, 0.0, small
    )


def _transpose(settings: Mapping[str, Any]) -> Operator:
    order = settings.get("perm")
    return lambda images: images.permute(*(order or reversed(range(images.ndim))))


def _squeezed(axes: Tensor, images: Tensor) -> Tensor:
    for axis in sorted((one % images.ndim for one in axes.tolist()), reverse=True):
        images = images.squeeze(axis)
    return images


def _plainly(function: Operator) -> Callable[[Mapping[str, Any]], Operator]:
    return lambda _: function


def _all(pieces: Sequence[Tensor], axis: int) -> Tensor:
    return torch.cat(list(pieces), dim=axis)


_MADE: dict[str, Callable[[Mapping[str, Any]], Operator]] = {
    "Add": _plainly(torch.add),
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": lambda settings: lambda *pieces: _all(pieces, settings["axis"]),
    "Conv": _conv,
    "Div": _plainly(torch.div),
    "Erf": _plainly(torch.erf),
    "Flatten": lambda settings: lambda images: images.flatten(settings.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": _plainly(lambda images: images.mean(dim=(2, 3), keepdim=True)),
    "HardSigmoid": lambda settings: (
        lambda images: (images * settings.get("alpha", 0.2) + settings.get("beta", 0.5)).clamp(0.0, 1.0)
    ),
    "HardSwish": _plainly(functional.hardswish),
    "Identity": _plainly(lambda images: images),
    "LeakyRelu": lambda settings: lambda images: functional.leaky_relu(images, settings.get("alpha", 0.01)),
    "MatMul": _plainly(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plainly(torch.mul),
    "Pad": _pad,
    "ReduceMean": _mean,
    "Relu": _plainly(torch.relu),
    "Reshape": _reshape,
    "Sigmoid": _plainly(torch.sigmoid),
    "Slice": _slice,
    "Squeeze": _plainly(lambda images, axes: _squeezed(axes, images)),
    "Sub": _plainly(torch.sub),
    "Tanh": _plainly(torch.tanh),
    "Transpose": _transpose,
}
