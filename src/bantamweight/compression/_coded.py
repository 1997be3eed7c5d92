"""The coded file: a whole Variant in few bytes, inside a safetensors file, back to the bit.

Every weight tensor is stored as floats, or as int8 levels with a scale per channel where it lies on such a grid (see
`rounded`); where that is shorter, its zeros are a bit per weight and only the others are stored. Like goes with like
into one row of bytes each, and each row is entropy-coded (see `_coding`): `positions` (bits, first weight highest),
`levels` (int8), `values0` to `values3` (the bytes of the floats, lowest first), `scales0` to `scales3` likewise,
`plain` (the bytes of every other tensor), `program`, and `index`: JSON that says which tensor is stored how and
describes the Variant. No pickle; a weight counts as zero when its bits are, so -0.0 and NaN come back as they were.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as dump
from torch import Tensor

from bantamweight.compression._coding import encoded, raw
from bantamweight.compression._rounded import gridded
from bantamweight.variants import Artifact, Variant
from bantamweight.whole import put

__all__ = ["pack_coded", "save_coded"]

FORMAT, VERSION = "bantamweight-coded", 1

WAYS = ("plain", "values", "levels", "sparse values", "sparse levels")
PLANES = tuple(f"{row}{byte}" for row in ("values", "scales") for byte in range(4))
ROWS = ("positions", "levels", *PLANES, "plain", "program")
DTYPES = {str(kind).removeprefix("torch."): kind for kind in (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8),
    *(torch.int8, torch.int16, torch.int32, torch.int64),
)}  # fmt: skip
EXPANDS = 2048
"""Bytes of weights that a byte of file may become, at the most; the writer keeps to it as well."""


def save_coded(variant: Variant, path: Path | str) -> Artifact:
    """Write the variant as one coded file, whole or not at all, and return it as an artifact.

    Use it to ship or keep a pruned variant, a rounded one, or both; `load_coded` gives it back, weights to the bit.
    Raises StoreError when the place can't be written.
    """
    path = Path(path)
    put(path, pack_coded(variant))
    return Artifact(path, "coded", variant.hash, "", {"version": VERSION})


def pack_coded(variant: Variant) -> bytes:
    """The content of the coded file; the same variant gives the same bytes."""
    parts: dict[str, list[bytes]] = {row: [] for row in ROWS}
    told = []
    for name in sorted(variant.weights):
        tensor = variant.weights[name].detach().cpu().clone(memory_format=torch.contiguous_format)
        told.append([name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape), *_taken(tensor, parts)])
    parts["program"].append(variant.program)
    described = {
        "name": variant.name,
        "factory": variant.factory,
        "arguments": dict(variant.arguments),
        "classes": list(variant.classes),
        "preprocessing": dict(variant.preprocessing),
        "edits": [dict(edit) for edit in variant.edits],
        "lineage": list(variant.lineage),
        "hash": variant.hash,
        "program": len(variant.program),
        "weights": told,
    }
    index = json.dumps(described, sort_keys=True).encode()
    rows = {row: encoded(pieces) for row, pieces in parts.items() if any(pieces)}
    if weight(told) > EXPANDS * sum(map(len, rows.values())):
        rows = {row: raw(pieces) for row, pieces in parts.items() if any(pieces)}
    said = {"format": FORMAT, "version": VERSION, "index": len(index)}
    stored = {row: torch.frombuffer(bytearray(code), dtype=torch.uint8) for row, code in rows.items()}
    stored["index"] = torch.frombuffer(bytearray(encoded([index])), dtype=torch.uint8)
    return dump(stored, metadata={"bantamweight": json.dumps(said, sort_keys=True)})


def _taken(tensor: Tensor, parts: Mapping[str, list[bytes]]) -> tuple[str, int]:
    """Append the tensor to the rows in the way that is shortest before coding; which, and how many values it keeps."""
    flat = tensor.reshape(-1)
    if tensor.dtype != torch.float32 or len(flat) == 0:
        parts["plain"].append(flat.view(torch.uint8).numpy().tobytes())
        return "plain", len(flat)
    alive = flat.view(torch.int32) != 0
    grid = gridded(tensor)
    width = 4 if grid is None else 1
    sparse = (len(flat) + 7) // 8 + width * int(alive.sum()) < width * len(flat)
    if sparse:
        parts["positions"].append(np.packbits(alive.numpy()).tobytes())
    kept = alive if sparse else torch.ones_like(alive)
    if grid is None:
        _planes(flat[kept], "values", parts)
    else:
        parts["levels"].append(grid[0].reshape(-1)[kept].numpy().tobytes())
        _planes(grid[1], "scales", parts)
    return f"{'sparse ' if sparse else ''}{'values' if grid is None else 'levels'}", int(kept.sum())


def _planes(floats: Tensor, row: str, parts: Mapping[str, list[bytes]]) -> None:
    """The bytes of floats, each of the four by itself: exponents are few, low bits are noise."""
    table = np.frombuffer(floats.numpy().astype("<f4", copy=False).tobytes(), np.uint8).reshape(-1, 4)
    for byte in range(4):
        parts[f"{row}{byte}"].append(table[:, byte].tobytes())


def weight(told: Sequence[Sequence[Any]]) -> int:
    """Bytes of the dense tensors."""
    return sum(math.prod(shape) * DTYPES[dtype].itemsize for _, dtype, shape, _, _ in told)
