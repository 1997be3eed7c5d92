"""The blocks that make variants, as chains of jobs: nets trained or loaded, cuts, fine-tuning."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bantamweight.errors import InputError, near
from bantamweight.parts import Part, configure, find, names, settings
from bantamweight.studies._blocks import (
    Finetune,
    Recipe,
    TrainBlock,
    recipe_of,
)
from bantamweight.studies.spec import title_of

if TYPE_CHECKING:
    from bantamweight.studies.plan import Planner, Variety

__all__ = ["compress", "make", "train"]


def train(planner: Planner) -> None:
    """Every net of the `train` blocks, once per seed."""
    for index, block in enumerate(planner.study.train):
        for seed in block.seeds:
            name = title_of(block) + (f"@{seed}" if len(block.seeds) > 1 else "")
            if block.load is not None:
                inputs = {"model": _content(block.load, planner, f"train.{index}.load")}
                key = planner.add("load", {}, inputs, {"path": block.load, "variant": name})
            else:
                spec, part = _model(planner, block, f"train.{index}")
                given = {"model": spec, "recipe": _recipe(planner, block), "seed": seed}
                key = planner.add("train", given, labels={"variant": name, "seed": seed}, parts=(part,))
            planner.grow(_variety(planner, name, key, seed=seed))


def make(where: str, part: Part, *injected: Any) -> None:
    """Make a part only to hear what it says against its settings, before anything is computed."""
    try:
        part.make(*injected)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _variety(planner: Planner, name: str, key: str, **columns: Any) -> Variety:
    from bantamweight.studies.plan import Variety

    parent = columns.pop("parent", "")
    family = planner.variants[parent].family if parent else name
    return Variety(name=name, family=family, parent=parent, key=key, **columns)


def _recipe(planner: Planner, block: Recipe) -> dict[str, Any]:
    """A block's training settings; `auto` is settled here, because the processor's precision decides the weights."""
    from bantamweight.training._device import precision_for

    recipe = recipe_of(block, trust=planner.trust)
    return {**recipe, "precision": precision_for("auto", recipe["precision"])}


def _content(load: str, planner: Planner, where: str) -> str:
    """Hash of a model file, or of every file of a folder; it is read once to see that it can be used."""
    from bantamweight.studies.jobs.load import read

    path, subject = Path(load), planner.subject
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    digest = hashlib.blake2b(digest_size=16)
    try:
        for file in files:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    except OSError as error:
        raise InputError(f"{where}: {path} can't be read: {error.strerror}; check the path") from error
    try:
        read(load, subject.name, subject.classes, (subject.channels, *subject.size), trust=planner.trust)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return digest.hexdigest()


def _model(planner: Planner, block: TrainBlock, where: str) -> tuple[dict[str, Any], Part]:
    """The architecture as the study says it, and as the data complete it (channels, classes, size)."""
    spec: dict[str, Any] = {"use": block.model} if isinstance(block.model, str) else dict(block.model or {})
    use, subject = spec.get("use"), planner.subject
    if not isinstance(use, str):
        raise InputError(f"{where}.model: expected a name or {{use: NAME, ...}}{near('', names('models'))}")
    try:
        known = settings(find("models", use, trust=planner.trust)).model_fields
        height, width = subject.size
        if "size" in known and height != width:
            raise InputError(f"{use!r} takes square images, the data are {height} x {width}; give the data one size")
        open_ = {
            "channels": subject.channels,
            "classes": len(subject.classes),
            "size": height,
        }
        filled = {key: value for key, value in open_.items() if key in known}
        for key, value in filled.items():
            if spec.get(key, value) != value:
                raise InputError(f"expected {key} {value}, as the data have, got {spec[key]}; leave it out")
        part = configure("models", {**filled, **spec}, trust=planner.trust)
        part.make()  # impossible sizes are the architecture's own knowledge
    except InputError as error:
        raise InputError(f"{where}.model: {error}") from error
    return spec, part


def compress(planner: Planner) -> None:
    """Every cut of the `compress` blocks, and each fine-tuned where the block says so."""
    for index, block in enumerate(planner.study.compress):
        for criterion in block.use:
            make(f"compress.{index}", criterion)
        for parent in planner.chosen(block.variants, f"compress.{index}"):
            for criterion in block.use:
                for sparsity in block.sparsity:
                    given = {"criterion": criterion, "sparsity": sparsity, "allocate": block.allocate}
                    title = f"{criterion}-per_layer" if block.allocate == "per_layer" else str(criterion)
                    name = f"{parent.name}/{title}-{sparsity:g}"
                    key = planner.add("compress", given, {"variant": parent.key}, {"variant": name}, data=False)
                    columns = {"criterion": title, "sparsity": sparsity, "seed": parent.seed}
                    planner.grow(_variety(planner, name, key, parent=parent.name, **columns))
                    if block.finetune is not None:
                        _tune(planner, name, block.finetune, columns)


def _tune(planner: Planner, name: str, block: Finetune, columns: dict[str, Any]) -> None:
    for seed in block.seeds:
        tuned = f"{name}/tuned" + (f"@{seed}" if len(block.seeds) > 1 else "")
        inputs = {"variant": planner.variants[name].key}
        given = {"recipe": _recipe(planner, block), "asked": columns["sparsity"], "seed": seed}
        key = planner.add("finetune", given, inputs, {"variant": tuned, "seed": seed})
        planner.grow(_variety(planner, tuned, key, parent=name, tuned=True, **columns))
