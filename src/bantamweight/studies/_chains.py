"""The blocks of a study as chains of jobs: each function takes one kind of block and grows the plan."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bantamweight.errors import InputError, near
from bantamweight.parts import Part, configure, find, names, settings
from bantamweight.studies._blocks import (
    NO_TARGET,
    AttackBlock,
    ExplainBlock,
    Finetune,
    Latency,
    MinimumEps,
    Recipe,
    Sensitivity,
    TrainBlock,
    Transfer,
    recipe_of,
)
from bantamweight.studies.spec import title_of

if TYPE_CHECKING:
    from bantamweight.studies.plan import Planner, Variety

__all__ = ["attack", "compress", "evaluate", "explain", "measure", "train"]


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


def _make(where: str, part: Part, *injected: Any) -> None:
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
            _make(f"compress.{index}", criterion)
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


def evaluate(planner: Planner) -> None:
    """Every variant on the evaluation split; dense ones on every split."""
    for variety in planner.variants.values():
        for split in _splits(planner, dense=not variety.parent):
            _evaluated(planner, variety, split)


def _splits(planner: Planner, *, dense: bool) -> list[str]:
    chosen = planner.subject.evaluation
    others = [split for split, count in planner.subject.counts.items() if count and split != chosen]
    return [chosen, *(others if dense and chosen != "all" else [])]


def _evaluated(planner: Planner, variety: Variety, split: str) -> str:
    labels = {"variant": variety.name, "split": split}
    return planner.add("evaluate", {"split": split}, {"variant": variety.key}, labels)


def _cells(block: AttackBlock) -> Iterator[tuple[Part, Part, str, int]]:
    for use in block.use:
        for threat in block.threats:
            for target in block.targets:
                for seed in block.seeds:
                    yield use, threat, target, seed


def attack(planner: Planner) -> None:
    """Every cell of the `attack` blocks, and the transfers of their images."""
    for index, block in enumerate(planner.study.attack):
        where = f"attack.{index}"
        split = planner.split(block.split, where)
        for target in block.targets:
            planner.target(target, where)
        for use, threat in product(block.use, block.threats):
            _make(where, use, threat.make())
        carry = block.transfer
        sources = planner.chosen(carry.sources, f"{where}.transfer.sources") if carry else []
        judges = planner.chosen(carry.to, f"{where}.transfer.to") if carry else []
        for variety in planner.chosen(block.variants, where):
            for use, threat, target, seed in _cells(block):
                carried = carry is not None and variety in sources and _carries(carry, threat, target)
                n = min(planner.count(carry.n, split), planner.count(block.n, split)) if carry and carried else 0
                cell = (use, threat, target, split, seed)
                key = _attacked(planner, block, variety, cell, n)
                if carried:
                    _transfer(planner, key, variety, judges, n, cell)


def _carries(carry: Transfer, threat: Part, target: str) -> bool:
    """Whether a cell's images are among those carried over."""
    return (carry.threats is None or threat in carry.threats) and (carry.targets is None or target in carry.targets)


def _transfer(
    planner: Planner, key: str, source: Variety, judges: list[Variety], n: int, cell: tuple[Part, Part, str, str, int]
) -> None:
    split = cell[3]
    for judge in judges:
        if judge.name != source.name:
            inputs = {"attack": key, "variant": judge.key, "clean": _evaluated(planner, judge, split)}
            labels = {**_columns(*cell), "variant": judge.name, "source": source.name}
            planner.add("transfer", {"n": n, "split": split}, inputs, labels)


def _columns(use: Part, threat: Part, target: str, split: str, seed: int) -> dict[str, Any]:
    aimed = "" if target == NO_TARGET else target
    return {"attack": str(use), "threat": str(threat.make()), "target": aimed, "split": split, "seed": seed}


def _attacked(
    planner: Planner, block: AttackBlock, variety: Variety, cell: tuple[Part, Part, str, str, int], carried: int = 0
) -> str:
    use, threat, target, split, seed = cell
    given = {
        "attack": use,
        "threat": threat,
        "target": target,
        "split": split,
        "n": planner.count(block.n, split),
        "until": block.until,
        "precision": block.precision,
        "keep": max(block.keep, carried),
        "seed": seed,
    }
    inputs = {"variant": variety.key, "clean": _evaluated(planner, variety, split)}
    return planner.add("attack", given, inputs, {"variant": variety.name, **_columns(*cell)})


def explain(planner: Planner) -> None:
    """Maps and galleries of the `explain` blocks; parents are explained first, so that maps can be compared."""
    for index, block in enumerate(planner.study.explain):
        where = f"explain.{index}"
        if (block.attack is None) != (block.threat is None):
            raise InputError(f"{where}: expected both 'attack' and 'threat' for attacked images, or neither")
        planner.target(block.target, where)
        for explainer in block.use:
            _make(where, explainer)
        if block.attack is not None and block.threat is not None:
            _make(where, block.attack, block.threat.make())
        done: dict[str, str] = {}
        for variety in planner.chosen(block.variants, where):
            done[variety.name] = _explained(planner, block, variety, planner.split(block.split, where), done)


def _explained(planner: Planner, block: ExplainBlock, variety: Variety, split: str, done: dict[str, str]) -> str:
    family = planner.variants[variety.family]
    inputs = {"variant": variety.key, "choice": _evaluated(planner, family, split)}
    if variety.name != family.name and family.name in done:
        inputs["dense"] = done[family.name]
    given = {
        "explainers": block.use,
        "attack": block.attack,
        "threat": block.threat,
        "target": block.target,
        "split": split,
        "n": planner.count(block.n, split),
        "show": block.show,
        "seed": planner.study.seed,
    }
    labels = {"variant": variety.name, "split": split}
    if block.attack is not None and block.threat is not None:
        labels |= _columns(block.attack, block.threat, block.target, split, planner.study.seed)
    return planner.add("explain", given, inputs, labels)


def measure(planner: Planner) -> None:
    """Sizes, latencies, sensitivities and minimum budgets."""
    for index, block in enumerate(planner.study.measure):
        where = f"measure.{index}"
        chosen = planner.chosen(block.variants, where)
        if isinstance(block, Sensitivity):
            _make(where, block.criterion)
        elif isinstance(block, MinimumEps):
            _make(where, block.attack, block.threat.make())
        if isinstance(block, Latency):
            given = {key: getattr(block, key) for key in ("runtimes", "batches", "runs", "warmups")}
            given["split"] = planner.subject.evaluation
            planner.add("latency", given, {variety.name: variety.key for variety in chosen})
            continue
        for variety in chosen:
            inputs = {"variant": variety.key}
            if isinstance(block, Sensitivity):
                split = planner.split(block.split, where)
                n = planner.count(block.n, split)
                sensed = {"criterion": block.criterion, "sparsity": block.sparsity, "n": n, "split": split}
                planner.add("sensitivity", sensed, inputs, {"variant": variety.name, "split": split})
            elif isinstance(block, MinimumEps):
                _minimum(planner, block, variety, where)
            else:
                planner.add("sizes", {}, inputs, {"variant": variety.name}, data=False)


def _minimum(planner: Planner, block: MinimumEps, variety: Variety, where: str) -> None:
    split = planner.split(block.split, where)
    for seed in block.seeds:
        given = {
            "attack": block.attack,
            "threat": block.threat,
            "rounds": block.rounds,
            "split": split,
            "n": planner.count(block.n, split),
            "seed": seed,
        }
        norm = block.threat.make().norm.name
        labels = {"attack": str(block.attack), "threat": norm, "split": split, "seed": seed}
        planner.add("minimum_eps", given, {"variant": variety.key}, {"variant": variety.name, **labels})
