"""A module as one ONNX file, through torch.export; the same module gives the same bytes.

The exporter folds batch norm into convolutions. It also writes stack traces with the paths of the exporting machine
into every node; these are taken out, so the file holds the model and nothing else.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.variants import Artifact, Variant
from bantamweight.whole import put

__all__ = ["INPUT", "OPSET", "OUTPUT", "clean", "export_onnx", "quiet", "sealed"]

OPSET = 20
"""The newest that onnxruntime 1.18 and all later ones run."""

INPUT, OUTPUT = "images", "logits"


def export_onnx(variant: Variant, module: nn.Module, path: Path, *, opset: int = OPSET) -> Artifact:
    """Write the variant's module to `path`: one file, input `images` (batch, c, h, w), output `logits` (batch, k).

    The class names, the preprocessing and the variant's hash are in the file's metadata as JSON. Raises InputError
    when ONNX can't say what the module does, StoreError when the file can't be written.
    """
    if not 18 <= opset <= OPSET:
        raise InputError(f"expected an ONNX opset from 18 to {OPSET}, got {opset}")
    proto = _traced(variant, module, opset)
    clean(proto)
    for key, value in _described(variant).items():
        proto.metadata_props.add(key=f"bantamweight.{key}", value=value)
    meta = {**sealed(proto, path), "exporter": f"torch {torch.__version__}"}
    return Artifact(path=path, kind="onnx", parent=variant.hash, runtime="onnxruntime", meta=meta)


def sealed(proto: Any, path: Path) -> dict[str, Any]:
    """Write a proto to `path`, whole or not at all, and say what there is to say of the file."""
    content = proto.SerializeToString(deterministic=True)
    put(path, content)
    return {
        "opset": next(entry.version for entry in proto.opset_import if entry.domain == ""),
        "ir_version": proto.ir_version,
        "hash": hashlib.blake2b(content, digest_size=16).hexdigest(),
        "operators": sorted({node.op_type for node in proto.graph.node}),
    }


def _traced(variant: Variant, module: nn.Module, opset: int) -> Any:
    """The ONNX proto; the caller's module is copied, its mode and its weights are not touched."""
    copied = copy.deepcopy(module)
    for part in copied.modules():
        part.training = False
    # Two rows: a batch of one may be specialised away.
    example = torch.zeros(2, *variant.input_shape)
    try:
        with quiet():
            program = torch.onnx.export(
                copied,
                (example,),
                dynamo=True,
                verbose=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
            if program is None:
                raise InputError(f"the exporter of this torch returned nothing for {variant.name!r}; use torch >= 2.6")
            proto = program.model_proto
    except (torch.onnx.OnnxExporterError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{variant.name!r} can't be exported to ONNX: {_reason(error)}") from error
    outputs = proto.graph.output
    if len(outputs) != 1 or len(outputs[0].type.tensor_type.shape.dim) != 2:
        raise InputError(
            f"expected {variant.name!r} to return logits (images, classes), got {len(outputs)} outputs or another "
            f"shape; wrap it so that it returns the logits alone"
        )
    return proto


def clean(proto: Any) -> None:
    """Take out stack traces, names of source files and everything else that says where the export was made."""
    graph = proto.graph
    del proto.metadata_props[:]
    proto.doc_string, graph.doc_string, graph.name = "", "", "bantamweight"
    del graph.metadata_props[:]
    for group in (graph.node, graph.initializer, graph.input, graph.output, graph.value_info):
        for entry in group:
            entry.doc_string = ""
            del entry.metadata_props[:]
    for function in proto.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]


def _described(variant: Variant) -> dict[str, str]:
    said = {"classes": list(variant.classes), "preprocessing": dict(variant.preprocessing), "parent": variant.hash}
    return {key: json.dumps(value, sort_keys=True) for key, value in said.items()}


@contextmanager
def quiet() -> Iterator[None]:
    """The exporter logs and warns about itself, and prints whole graphs when it fails; what counts is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _reason(error: BaseException) -> str:
    """Half a sentence from the exporter's pages of text."""
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for link in chain:
        lacking = re.search(r"No ONNX function found for <OpOverload\(op='([\w.]+)'", str(link))
        if lacking:
            return f"it uses the operation {lacking[1]}, which ONNX lacks; replace that layer"
    kinds = {type(link).__name__ for link in chain}
    if any("DataDependent" in kind for kind in kinds):
        return "its forward branches on the values of its input; make it compute the same steps for every image"
    first = next((line.strip() for line in str(chain[-1]).splitlines() if line.strip()), type(chain[-1]).__name__)
    return f"{first[:200].rstrip('.')}; run it on torch instead, or change the layer that this names"
