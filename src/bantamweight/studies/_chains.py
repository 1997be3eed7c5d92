"""The blocks that make variants, as chains of jobs: nets trained or loaded, cuts, fine-tuning."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bantamweight.errors import InputError, near
from bantamweight.parts import Part, configure, find, names, settings
from bantamweight.recipes._rounds import ROUNDS
from bantamweight.studies._blocks import (
    CompressBlock,
    Recipe,
    TrainBlock,
    recipe_of,
)
from bantamweight.studies.spec import title_of

if TYPE_CHECKING:
    from bantamweight.studies.plan import Planner, Variety

__all__ = ["combine", "compress", "make", "train"]


def train(planner: Planner) -> None:
    """Every net of the `train` blocks, once per seed."""
    for index, block in enumerate(planner.study.train):
        where = f"train.{index}"
        for seed in block.seeds:
            name = title_of(block) + (f"@{seed}" if len(block.seeds) > 1 else "")
            if block.load is not None:
                content, whole = _content(block.load, planner, f"{where}.load")
                key = planner.add("load", {}, {"model": content}, {"path": block.load, "variant": name})
            else:
                spec, part = _model(planner, block, where)
                recipe = _recipe(planner, block, where)
                given, taught = {"model": spec, "recipe": recipe, "seed": seed}, _taught(planner, block, recipe, where)
                key = planner.add("train", given, taught, labels={"variant": name, "seed": seed}, parts=(part,))
                whole = ":" not in part.name
            planner.grow(_variety(planner, name, key, seed=seed, whole=whole))


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


def _recipe(planner: Planner, block: Recipe, where: str) -> dict[str, Any]:
    """A block's training settings; `auto` is settled here, because the processor's precision decides the weights."""
    import torch

    from bantamweight.training import Span
    from bantamweight.training._device import precision_for
    from bantamweight.training._job import check_watched, foresee

    recipe = recipe_of(block, trust=planner.trust)
    weights = [torch.nn.Parameter(torch.zeros(1))]
    make(f"{where}.optimizer", recipe["optimizer"], weights, recipe["rate"], recipe["weight_decay"])
    for setting in ("schedule", "compress"):
        if recipe[setting] is not None:
            make(f"{where}.{setting}", recipe[setting], Span(recipe["epochs"], 100))
    try:
        foresee(recipe["objective"], recipe["label_smoothing"], recipe["monitor"])
        if not planner.subject.counts.get("val"):
            check_watched(planner.subject.name, recipe["patience"], recipe["monitor"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return {**recipe, "precision": precision_for("auto", recipe["precision"])}


def _content(load: str, planner: Planner, where: str) -> tuple[str, bool]:
    """Hash of a model file, or of every file of a folder, and whether an average can hold it; it is read once to see
    that it can be used."""
    from bantamweight.studies.jobs.combine import holdable
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
        shape = (subject.channels, *subject.size)
        found = read(load, subject.name, subject.classes, shape, trust=planner.trust)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return digest.hexdigest(), holdable(found)


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


def combine(planner: Planner) -> None:
    """Every average of the `combine` blocks."""
    for index, block in enumerate(planner.study.combine):
        for name in block.of:
            if name not in planner.variants:
                hint = near(name, planner.variants)
                raise InputError(f"combine.{index}.of: no variant is called {name!r}{hint}")
            if not planner.variants[name].whole:
                raise InputError(
                    f"combine.{index}.of: expected nets of this package, whole or with zeros, got {name!r}"
                )
        inputs = {f"member {number}": planner.variants[name].key for number, name in enumerate(block.of)}
        key = planner.add("combine", {"count": len(block.of)}, inputs, {"variant": block.name}, data=False)
        planner.grow(_variety(planner, block.name, key, seed=0))


def compress(planner: Planner) -> None:
    """Every cut of the `compress` blocks, and each fine-tuned where the block says so."""
    from bantamweight.recipes._cuts import target_of

    for index, block in enumerate(planner.study.compress):
        where = f"compress.{index}"
        for criterion in block.use:
            make(where, criterion)
            _learning(where, criterion)
            for kind, value in block.points:
                try:
                    target_of({kind: value}, criterion.make())
                except InputError as error:
                    raise InputError(f"{where}: {error}") from error
        for parent in planner.chosen(block.variants, where):
            for criterion in block.use:
                for kind, value in block.points:
                    _cut(planner, block, parent, criterion, kind, value, where)


def _learning(where: str, criterion: Part) -> None:
    """What a criterion learns by is a training of its own, and heard like one."""
    from bantamweight.compression import Criterion
    from bantamweight.training._job import foresee, learns_from_a_teacher

    rule = criterion.make()
    if not isinstance(rule, Criterion) or "objective" not in rule.asks:
        return
    part = configure("objectives", rule.asks["objective"])
    try:
        foresee(part, 0.0, "loss")
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if learns_from_a_teacher(part):
        raise InputError(f"{where}: {criterion.name} learns without a teacher, got {part.name!r}; use fgsm_rs")


def _cut(
    planner: Planner, block: CompressBlock, parent: Variety, criterion: Part, kind: str, value: float, where: str
) -> None:
    from bantamweight.compression import Criterion

    title = f"{criterion}-{block.allocate}" if block.allocate not in (None, "global") else str(criterion)
    way = "" if block.schedule == "one-shot" else f"-{block.schedule}"
    name = f"{parent.name}/{title}-{'' if kind == 'sparsity' else f'{kind}-'}{value:g}{way}"
    said = f"{title}{way}" + ("" if kind == "sparsity" else f" to {kind}")
    # On a chart's axis: how much was asked to go.
    gone = value if kind == "sparsity" else 1 - value if kind in ("macs", "parameters") and value < 1 else None
    whole = parent.whole and isinstance(criterion.make(), Criterion)
    columns = {"criterion": said, "sparsity": gone, "seed": parent.seed, "whole": whole}
    inputs = {"variant": parent.key, "dense": planner.variants[parent.family].key}
    given = {"criterion": criterion, "kind": kind, "value": value, "allocate": block.allocate}
    given |= {"round_to": block.round_to, "skip": block.skip, "uncut": block.uncut}
    if kind == "latency_ms":
        given["runtime"] = block.runtime or configure("runtimes", "onnxruntime")
    if block.schedule == "one-shot":
        key = planner.add("compress", given, inputs, {"variant": name}, data=_shown(criterion, block.allocate))
        planner.grow(_variety(planner, name, key, parent=parent.name, **columns))
    if block.finetune is None:
        return
    recipe = _recipe(planner, block.finetune, f"{where}.finetune")
    taught = _taught(planner, block.finetune, recipe, f"{where}.finetune", parent)
    if block.finetune.name != "tuned":
        columns["criterion"] = f"{said}, {block.finetune.name}"
    for seed in block.finetune.seeds:
        tuned = f"{name}/{block.finetune.name}" + (f"@{seed}" if len(block.finetune.seeds) > 1 else "")
        labels = {"variant": tuned, "seed": seed}
        if block.schedule == "one-shot":
            cut = {**inputs, "variant": planner.variants[name].key, **taught}
            asked = value if kind == "sparsity" else 0.0
            key = planner.add("finetune", {"recipe": recipe, "asked": asked, "seed": seed}, cut, labels)
        else:
            rounds = block.rounds or ROUNDS.get(block.schedule)
            more = {"schedule": block.schedule, "rounds": rounds, "recipe": recipe, "seed": seed}
            key = planner.add("scheduled", {**given, **more}, {**inputs, **taught}, labels)
        before = name if block.schedule == "one-shot" else parent.name
        planner.grow(_variety(planner, tuned, key, parent=before, tuned=True, **columns))


def _shown(criterion: Part, allocate: str | None) -> bool:
    """Whether a cut looks at the data: for evidence or sensitivity, or for batch norm where layers become narrower."""
    from bantamweight.compression import Criterion

    rule = criterion.make()
    return not isinstance(rule, Criterion) or rule.needs != "none" or allocate == "sensitivity"


def _taught(
    planner: Planner, block: Recipe, recipe: dict[str, Any], where: str, parent: Variety | None = None
) -> dict[str, str]:
    """Who teaches, as an input, where the objective learns from one; `parent` unless somebody is named."""
    from bantamweight.training._job import learns_from_a_teacher

    if not learns_from_a_teacher(recipe["objective"]):
        if block.teacher is not None:
            raise InputError(f"{where}: {recipe['objective']} has no use for a teacher; use distill")
        return {}
    if block.teacher is None:
        if parent is None:
            raise InputError(f"{where}: {recipe['objective']} learns from a teacher; name a net that comes before")
        return {"teacher": parent.key}
    if block.teacher not in planner.variants:
        raise InputError(
            f"{where}.teacher: no variant is called {block.teacher!r}{near(block.teacher, planner.variants)}"
        )
    return {"teacher": planner.variants[block.teacher].key}
