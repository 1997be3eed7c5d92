"""A variant: an architecture, the edits made to it, its weights, and where it came from.

Everything that decides what the model answers is inside and inside the hash: factory and arguments, edits, the
canonical bytes of every tensor, the order of its classes, and how a file becomes a tensor. Safetensors and JSON only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bantamweight.errors import InputError, StoreError
from bantamweight.parts import configure, find
from bantamweight.whole import readable

__all__ = ["Artifact", "Variant", "build", "capture", "load", "masks", "save"]

PROGRAM = "program"
"""The factory of variants whose architecture is a `torch.export` program: its plan, as JSON, is in `program`."""


@dataclass(frozen=True, eq=False, repr=False)
class Variant:
    """One model as data. `edits` are JSON objects with a key `edit`, replayed in order by `build`."""

    name: str
    factory: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Tensor] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    edits: tuple[Mapping[str, Any], ...] = ()
    lineage: tuple[str, ...] = ()
    program: bytes = b""

    @cached_property
    def hash(self) -> str:
        """Content hash over canonical tensors (not file bytes: safetensors metadata order is not stable)."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(json.dumps(_described(self), sort_keys=True).encode())
        for key in sorted(self.weights):
            tensor = self.weights[key].detach().cpu().contiguous()
            digest.update(f"\x1e{key}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        digest.update(self.program)
        return digest.hexdigest()

    def __repr__(self) -> str:
        """One line: weights in print help nobody."""
        edits = ", ".join(str(edit.get("edit")) for edit in self.edits)
        numbers = sum(tensor.numel() for tensor in self.weights.values())
        said = f"{self.name!r}, {self.factory!r}, {len(self.weights)} tensors of {numbers:,} numbers"
        return f"Variant({said}{f', edits: {edits}' if edits else ''})"

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height, width that the preprocessing produces."""
        size = self.preprocessing.get("size", (32, 32))
        height, width = (size, size) if isinstance(size, int) else size
        return int(self.preprocessing.get("channels", 3)), int(height), int(width)


@dataclass(frozen=True)
class Artifact:
    """What ships: a file made from a variant for one runtime."""

    path: Path
    kind: str
    parent: str
    runtime: str
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size


def _described(variant: Variant) -> dict[str, Any]:
    return {
        "factory": variant.factory,
        "arguments": dict(variant.arguments),
        "classes": list(variant.classes),
        "preprocessing": dict(variant.preprocessing),
        "edits": [dict(edit) for edit in variant.edits],
    }


def build(variant: Variant, *, trust: bool = False) -> nn.Module:
    """The module: eval mode, no parameter gradients, a fresh copy each time.

    Raises InputError when the weights don't fit the architecture or the factory is not trusted.
    """
    # The weights an architecture draws are replaced at once; the caller's generator must not see that they were drawn.
    with torch.random.fork_rng(devices=[]):
        module = _architecture(variant, trust)
        for edit in variant.edits:
            _replay(module, edit)
    _fill(module, variant.weights, variant.name)
    return module.eval().requires_grad_(False)


def _architecture(variant: Variant, trust: bool) -> nn.Module:
    if variant.factory == PROGRAM:
        from bantamweight.models._program import load_program

        return load_program(variant.program)
    if ":" in variant.factory:
        return find("models", variant.factory, trust=trust)(**variant.arguments)
    return configure("models", {"use": variant.factory, **variant.arguments}).make()


def _replay(module: nn.Module, edit: Mapping[str, Any]) -> None:
    """Make an edit again on the architecture; the weights that it left come after."""
    if edit.get("edit") == "channels":
        from bantamweight.models._narrow import narrow

        removed = edit.get("removed")
        if not isinstance(removed, Mapping):
            raise InputError("an edit of channels does not say which it removes; save the variant again")
        narrow(module, removed)
    if edit.get("edit") == "low_rank":
        from bantamweight.models._factor import factor

        ranks = edit.get("ranks")
        if not isinstance(ranks, Mapping):
            raise InputError("an edit to low rank does not say which ranks; save the variant again")
        factor(module, ranks)


def _fill(module: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    wanted = module.state_dict()
    missing, extra = sorted(set(wanted) - set(weights)), sorted(set(weights) - set(wanted))
    # num_batches_tracked only counts; files from other tools often lack it.
    missing = [key for key in missing if not key.endswith("num_batches_tracked")]
    if missing or extra:
        said = f"lacks {', '.join(missing[:3])}" if missing else f"has the unknown {', '.join(extra[:3])}"
        raise InputError(f"the weights of {name!r} don't fit its architecture: the file {said}; pass the matching one")
    for key, tensor in weights.items():
        if tensor.shape != wanted[key].shape:
            raise InputError(
                f"the weights of {name!r} don't fit its architecture: {key} is {tuple(tensor.shape)} in the file "
                f"and {tuple(wanted[key].shape)} in the model; check classes, channels and size"
            )
    module.load_state_dict(dict(weights), strict=False)


def capture(parent: Variant, module: nn.Module, *, name: str, edits: tuple[Mapping[str, Any], ...] = ()) -> Variant:
    """A new variant with the module's present weights, descended from `parent`."""
    weights = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in module.state_dict().items()}
    return replace(
        parent,
        name=name,
        weights=weights,
        edits=(*parent.edits, *edits),
        lineage=(*parent.lineage, parent.hash),
    )


def masks(variant: Variant) -> dict[str, Tensor]:
    """For each weight that a cut has thinned, which entries are alive (bool, the weight's shape)."""
    cut = {layer for edit in variant.edits if edit["edit"] == "mask" for layer in edit["layers"]}
    return {layer: variant.weights[layer] != 0 for layer in sorted(cut)}


def save(variant: Variant, folder: Path) -> None:
    """Write `variant.json`, `weights.safetensors` (and a program) to a folder, whole or not at all."""
    folder = Path(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(
            f"expected to be able to write {folder}, got: {error.strerror}; choose another place"
        ) from error
    try:
        described = {"format": 1, "name": variant.name, **_described(variant), "lineage": list(variant.lineage)}
        (aside / "variant.json").write_text(json.dumps({**described, "hash": variant.hash}, indent=1))
        save_file({key: tensor.contiguous() for key, tensor in variant.weights.items()}, aside / "weights.safetensors")
        if variant.program:
            (aside / "program.json").write_bytes(variant.program)
        readable(aside)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(aside, folder)
    except OSError as error:
        raise StoreError(f"expected to be able to write {folder}, got: {error.strerror}; free some space") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def load(folder: Path) -> Variant:
    """Read a saved variant; the hash is checked, so a damaged or edited folder is refused."""
    folder = Path(folder)
    try:
        said = json.loads((folder / "variant.json").read_text())
        weights = load_file(folder / "weights.safetensors")
        program = (folder / "program.json").read_bytes() if said["factory"] == PROGRAM else b""
        variant = Variant(
            name=str(said["name"]),
            factory=str(said["factory"]),
            arguments=dict(said["arguments"]),
            weights=weights,
            classes=tuple(str(name) for name in said["classes"]),
            preprocessing=dict(said["preprocessing"]),
            edits=tuple(dict(edit) for edit in said["edits"]),
            lineage=tuple(str(parent) for parent in said["lineage"]),
            program=program,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise InputError(f"expected a saved variant in {folder}, and it can't be read: {error}") from error
    if said.get("hash") != variant.hash:
        raise InputError(f"the variant in {folder} is not what was saved there (its hash differs); copy it again")
    return variant
