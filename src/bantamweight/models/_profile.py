"""How large a model is and how much it computes: parameters, multiply-accumulates, bytes, layer by layer."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bantamweight.errors import InputError

__all__ = ["Layer", "Profile", "macs_of", "profile", "size_bytes"]

DTYPES = {torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8"}
DTYPES |= {torch.bool: "BOOL"}
"""Safetensors' names of the types that a state may have beside floating ones."""


@dataclass(frozen=True)
class Layer:
    """One layer for one image; `name` is "" for what no layer of the model accounts for (functional calls)."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Profile:
    """The size and cost of a model: MACs are for one image (FLOPs are twice that); `size_bytes` is dense float32."""

    parameters: int
    macs: int
    size_bytes: int
    layers: tuple[Layer, ...]


def profile(module: nn.Module, input_shape: tuple[int, int, int]) -> Profile:
    """Parameters, MACs of convolutions and matrix products for one image, and bytes of the float32 state on disk.

    `input_shape` is channels, height, width. Padding counts, as in `torch.utils.flop_counter`. Raises InputError when
    the module does not take such images. The module is left as it is.

    >>> from bantamweight.models.mlp import mlp
    >>> profile(mlp(), (3, 32, 32)).macs
    1720960
    """
    copied = copy.deepcopy(module).eval()
    at = next(copied.parameters(), torch.empty(0))
    images = torch.zeros((1, *input_shape), device=at.device, dtype=at.dtype)
    rows: list[tuple[str, nn.Module, Tensor]] = []
    hooks = [
        layer.register_forward_hook(_note(rows, name))
        for name, layer in copied.named_modules()
        if not any(True for _ in layer.children())
    ]
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            copied(images)
    except Exception as error:
        why = str(error).strip().partition("\n")[0][:160]
        raise InputError(f"expected the model to take images of {input_shape}, and it raised: {why}") from error
    finally:
        for hook in hooks:
            hook.remove()
    layers = [
        Layer(name, type(layer).__name__, tuple(output.shape[1:]), _own(layer), macs_of(layer, output))
        for name, layer, output in rows
    ]
    macs = counter.get_total_flops() // 2
    if rest := macs - sum(layer.macs for layer in layers):
        layers.append(Layer("", "functional", (), 0, rest))
    parameters = sum(parameter.numel() for parameter in copied.parameters())
    return Profile(parameters, macs, size_bytes(copied), tuple(layers))


def _note(rows: list[tuple[str, nn.Module, Tensor]], name: str) -> Callable[[nn.Module, Any, Any], None]:
    def hook(layer: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            rows.append((name, layer, output))

    return hook


def _own(layer: nn.Module) -> int:
    return sum(parameter.numel() for parameter in layer.parameters())


def macs_of(layer: nn.Module, output: Tensor) -> int:
    """MACs of one call by closed forms: every output number costs one multiplication per weight that it reads."""
    if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return output.numel() * layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    return output.numel() * layer.in_features if isinstance(layer, nn.Linear) else 0


def size_bytes(module: nn.Module) -> int:
    """Bytes of the state as a safetensors file, every floating tensor as float32; nothing is written or copied.

    The file is eight bytes, a header padded to a multiple of eight, and the numbers; wider types come first.
    """
    sizes = {
        name: (value.shape, 4, "F32")
        if value.is_floating_point()
        else (value.shape, value.itemsize, DTYPES[value.dtype])
        for name, value in module.state_dict().items()
    }
    header, end = {}, 0
    for name in sorted(sizes, key=lambda name: (-sizes[name][1], name)):
        shape, width, dtype = sizes[name]
        start, end = end, end + width * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    return 8 + -(-len(text) // 8) * 8 + end
