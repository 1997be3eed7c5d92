"""Export: a variant becomes the file that ships, and is held against torch on the images given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bantamweight.errors import InputError
from bantamweight.runtimes._core import Parity, compare, probe
from bantamweight.runtimes._onnx import OPSET, export_onnx
from bantamweight.runtimes.onnxruntime import open_onnx, refuse_unlike
from bantamweight.runtimes.torch import torch as eager
from bantamweight.types import Images
from bantamweight.variants import Artifact, Variant, build

__all__ = ["Exported", "export"]


@dataclass(frozen=True)
class Exported:
    """The file, and how it answers beside torch."""

    artifact: Artifact
    parity: Parity


def export(
    variant: Variant,
    path: Path | str,
    *,
    images: Images | None = None,
    opset: int = OPSET,
    threads: int = 1,
    trust: bool = False,
) -> Exported:
    """Write the variant as one ONNX file that runs without this package, checked on `images` (64 random ones if None).

    Raises InputError when ONNX can't express it or its logits are not torch's (no file is left then); StoreError
    when the file can't be written. Batch size is free.
    """
    path = Path(path)
    if path.is_dir() or path.suffix != ".onnx":
        raise InputError(f"expected a file name that ends in .onnx, got {str(path)!r}")
    rows = probe(variant.input_shape, 64, "export") if images is None else _rows(images)
    aside = path.with_name(f".{path.name}.unchecked")
    try:
        module = build(variant, trust=trust)
        written = export_onnx(variant, module, aside, opset=opset)
        with (
            open_onnx(written, shape=variant.input_shape, threads=threads) as session,
            eager(variant, module, path.parent, threads) as reference,
        ):
            parity = compare(session, reference, rows)
        refuse_unlike(variant, parity)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return Exported(Artifact(path, written.kind, written.parent, written.runtime, written.meta), parity)


def _rows(images: Images) -> np.ndarray:
    return images.detach().cpu().float().contiguous().numpy()
