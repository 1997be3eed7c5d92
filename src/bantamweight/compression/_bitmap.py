"""The sparse file: a bit per weight that says where a value is, then the values, inside a safetensors file.

No pickle anywhere, and any safetensors reader opens it. A float32 tensor whose bitmap and values are smaller than the
tensor is stored as `bits/NAME` (uint8, eight weights to a byte, first weight highest) and `values/NAME` (float32);
every other tensor is stored as it is under `dense/NAME`. Shapes are JSON in the header. A weight counts as zero when
its bits are: -0.0 and NaN come back as they were. At sparsity s a tensor takes 1/32 + (1 - s) of its dense bytes.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as dump
from torch import Tensor

from bantamweight.compression._coded import pack_coded
from bantamweight.errors import InputError
from bantamweight.variants import Artifact, Variant
from bantamweight.whole import put

__all__ = ["load_bitmap", "save_bitmap", "sizes"]

_FORMAT, _VERSION = "bantamweight-bitmap", 1
_HEADER_BYTES = 128  # what one more tensor costs in the header, so that small tensors stay dense


def save_bitmap(state: Variant | Mapping[str, Tensor], path: Path | str) -> Artifact:
    """Write the weights as one sparse file, whole or not at all, and return it as an artifact.

    Use it to ship a pruned variant; `load_bitmap` gives the weights back to the bit. Raises StoreError when the place
    can't be written.
    """
    path = Path(path)
    weights, parent = (state.weights, state.hash) if isinstance(state, Variant) else (state, "")
    put(path, _pack(weights, parent))
    return Artifact(path, "bitmap", parent, "", {"version": _VERSION})


def load_bitmap(path: Path | str) -> dict[str, Tensor]:
    """Read a sparse file back to dense tensors, bit-equal to what was saved.

    Nothing in the file is executed, and it can't claim more than 8 weights per byte it holds. Raises InputError for
    a file that is damaged, of another kind, or whose parts contradict each other.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:
            said = json.loads((file.metadata() or {}).get("bantamweight", "null"))
            tensors = {key: file.get_tensor(key) for key in sorted(file.keys())}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError, RuntimeError) as error:
        raise InputError(f"expected a bitmap file in {path}, and it can't be read: {error}") from error
    if not isinstance(said, dict) or said.get("format") != _FORMAT:
        raise InputError(f"expected a bitmap file in {path}, got plain safetensors; load it as weights")
    if said.get("version") != _VERSION:
        got = said.get("version")
        raise InputError(f"expected version {_VERSION} of the bitmap file {path}, got {got!r}; save it again")
    return _unpack(tensors, said.get("shapes"), path)


def sizes(state: Variant | Mapping[str, Tensor]) -> dict[str, int]:
    """Exact bytes on disk of the weights in each format: `dense_fp32`, `bitmap`, `gzip` (-6 of the dense file).

    Of a Variant also `coded`, the coded file with all that describes it. Each file is made in memory and its length
    taken; nothing is inferred from a sparsity.
    """
    weights, parent = (state.weights, state.hash) if isinstance(state, Variant) else (state, "")
    dense = dump({name: _plain(tensor, fp32=True) for name, tensor in weights.items()})
    found = {
        "dense_fp32": len(dense),
        "bitmap": len(_pack(weights, parent)),
        "gzip": len(gzip.compress(dense, compresslevel=6, mtime=0)),
    }
    return {**found, "coded": len(pack_coded(state))} if isinstance(state, Variant) else found


def _plain(tensor: Tensor, *, fp32: bool = False) -> Tensor:
    """On the host, contiguous, sharing memory with nothing, as safetensors wants it."""
    tensor = tensor.detach().cpu()
    if fp32 and tensor.is_floating_point():
        tensor = tensor.float()
    return tensor.clone(memory_format=torch.contiguous_format)


def _pack(weights: Mapping[str, Tensor], parent: str) -> bytes:
    stored: dict[str, Tensor] = {}
    shapes: dict[str, list[int]] = {}
    for name in sorted(weights):
        tensor = _plain(weights[name])
        sparse = _split(tensor) if tensor.dtype == torch.float32 else None
        if sparse is None:
            stored[f"dense/{name}"] = tensor
        else:
            stored[f"bits/{name}"], stored[f"values/{name}"] = sparse
            shapes[name] = list(tensor.shape)
    # One key holding JSON: the order of several metadata keys is not stable from run to run.
    said = {"format": _FORMAT, "version": _VERSION, "parent": parent, "shapes": shapes}
    return dump(stored, metadata={"bantamweight": json.dumps(said, sort_keys=True)})


def _split(tensor: Tensor) -> tuple[Tensor, Tensor] | None:
    """Packed bitmap and values, or None where that is not smaller than the tensor."""
    flat = tensor.reshape(-1)
    alive = flat.view(torch.int32) != 0
    bits = torch.from_numpy(np.packbits(alive.numpy()))
    values = flat[alive]
    if len(bits) + 4 * len(values) + _HEADER_BYTES >= 4 * len(flat):
        return None
    return bits, values


def _unpack(tensors: dict[str, Tensor], shapes: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(shapes, dict):
        raise _contradiction(path, "it does not say which tensors are sparse")
    weights: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        bits, values = tensors.pop(f"bits/{name}", None), tensors.pop(f"values/{name}", None)
        if bits is None or values is None:
            raise _contradiction(path, f"it lacks the bits or the values of {name!r}")
        weights[name] = _join(bits, values, shape, name, path)
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        if kind != "dense" or not name or name in weights:
            raise _contradiction(path, f"it holds {key!r}, which belongs to nothing")
        weights[name] = tensor
    return weights


def _join(bits: Tensor, values: Tensor, shape: Any, name: str, path: Path) -> Tensor:
    if not isinstance(shape, list) or not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise _contradiction(path, f"the shape of {name!r} is not a list of sides")
    if bits.dtype != torch.uint8 or values.dtype != torch.float32 or bits.dim() != 1 or values.dim() != 1:
        raise _contradiction(path, f"{name!r} is not a row of uint8 and a row of float32")
    count = math.prod(shape)
    if len(bits) != (count + 7) // 8:  # before anything of that size is made
        raise _contradiction(path, f"{name!r} has {count} weights and {len(bits)} bytes of bits")
    unpacked = np.unpackbits(bits.numpy())
    alive = torch.from_numpy(unpacked[:count]).bool()
    if int(alive.sum()) != len(values) or unpacked[count:].any():
        raise _contradiction(path, f"{name!r} has {int(unpacked.sum())} bits set and {len(values)} values")
    # Through integers: moving floats may change the payload of a NaN.
    whole = torch.zeros(count, dtype=torch.int32)
    whole[alive] = values.view(torch.int32)
    return whole.view(torch.float32).reshape(shape)


def _contradiction(path: Path, what: str) -> InputError:
    return InputError(f"the bitmap file {path} is damaged: {what}; copy or save it again")
