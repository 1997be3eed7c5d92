"""What is asked of the variants: the blocks that judge them, as jobs; each function takes one kind of block."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from bantamweight.errors import InputError
from bantamweight.parts import Part
from bantamweight.studies import _protocols
from bantamweight.studies._blocks import (
    NO_TARGET,
    AnatomyBlock,
    AttackBlock,
    ExplainBlock,
    ExplainCost,
    InversionBlock,
    Latency,
    MinimumEps,
    MinimumNorm,
    Sensitivity,
    Transfer,
)
from bantamweight.studies._chains import make
from bantamweight.studies._protocols import Cell

if TYPE_CHECKING:
    from bantamweight.studies.plan import Planner, Variety

__all__ = ["attack", "evaluate", "explain", "measure"]


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


def _cells(block: AttackBlock, split: str) -> list[Cell]:
    spread = product(block.use, block.threats, block.targets, block.seeds)
    return [(use, threat, target, split, seed) for use, threat, target, seed in spread]


def attack(planner: Planner) -> None:
    """Every cell of the `attack` blocks, and the transfers of their images."""
    done: dict[tuple[str, str], str] = {}
    for index, block in enumerate(planner.study.attack):
        where = f"attack.{index}"
        split = planner.split(block.split, where)
        for target in block.targets:
            planner.target(target, where)
        for use, threat in product(block.use, block.threats):
            make(where, use, threat.make())
        _protocols.sound(planner, block, where)
        carry = block.transfer
        sources = planner.chosen(carry.sources, f"{where}.transfer.sources") if carry else []
        judges = planner.chosen(carry.to, f"{where}.transfer.to") if carry else []
        for variety in planner.chosen(block.variants, where):
            for cell in [*_cells(block, split), *_protocols.cells(block, split)]:
                carried = carry is not None and variety in sources and _carries(carry, cell[1], cell[2])
                n = min(planner.count(carry.n, split), planner.count(block.n, split)) if carry and carried else 0
                if cell[0].room == "protocols":
                    key = _protocols.protocol(planner, block, variety, cell, _columns(*cell), done)
                else:
                    key = _attacked(planner, block, variety, cell, n)
                if carried:
                    _transfer(planner, key, variety, judges, n, cell)


def _carries(carry: Transfer, threat: Part, target: str) -> bool:
    """Whether a cell's images are among those carried over."""
    return (carry.threats is None or threat in carry.threats) and (carry.targets is None or target in carry.targets)


def _transfer(planner: Planner, key: str, source: Variety, judges: list[Variety], n: int, cell: Cell) -> None:
    split = cell[3]
    for judge in judges:
        if judge.name != source.name:
            inputs = {"attack": key, "variant": judge.key, "clean": _evaluated(planner, judge, split)}
            labels = {**_columns(*cell), "variant": judge.name, "source": source.name}
            planner.add("transfer", {"n": n, "split": split}, inputs, labels)


def _columns(use: Part, threat: Part, target: str, split: str, seed: int) -> dict[str, Any]:
    aimed = "" if target == NO_TARGET else target
    return {"attack": str(use), "threat": str(threat.make()), "target": aimed, "split": split, "seed": seed}


def _attacked(planner: Planner, block: AttackBlock, variety: Variety, cell: Cell, carried: int = 0) -> str:
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
            make(where, explainer)
        if block.attack is not None and block.threat is not None:
            make(where, block.attack, block.threat.make())
        for metric in block.metrics:
            make(where, metric)
            if metric.make().objects and not planner.subject.masks:
                raise InputError(
                    f"{where}: {metric.name} needs to know where objects are, and {planner.subject.name} does not say; "
                    "leave it out, or use data with masks, such as planted"
                )
        done: dict[str, str] = {}
        for variety in planner.chosen(block.variants, where):
            if block.metrics:
                _scored(planner, block, variety, planner.split(block.split, where))
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
        "drift": None if block.drift is None else block.drift.model_dump(),
        "seed": planner.study.seed,
    }
    labels = {"variant": variety.name, "split": split}
    if block.attack is not None and block.threat is not None:
        labels |= _columns(block.attack, block.threat, block.target, split, planner.study.seed)
    return planner.add("explain", given, inputs, labels)


def _scored(planner: Planner, block: ExplainBlock, variety: Variety, split: str) -> None:
    given = {
        "explainers": block.use,
        "metrics": block.metrics,
        "split": split,
        "n": planner.count(block.n, split),
        "seed": planner.study.seed,
    }
    planner.add("score", given, {"variant": variety.key}, {"variant": variety.name, "split": split})


def measure(planner: Planner) -> None:
    """Sizes, latencies, sensitivities and minimum budgets."""
    for index, block in enumerate(planner.study.measure):
        where = f"measure.{index}"
        chosen = planner.chosen(block.variants, where)
        if isinstance(block, Sensitivity):
            make(where, block.criterion)
        elif isinstance(block, MinimumEps):
            make(where, block.attack, block.threat.make())
        elif isinstance(block, MinimumNorm):
            _protocols.minimum_norm(planner, block, where)
            continue
        if isinstance(block, ExplainCost):
            _cost(planner, block, chosen, where)
            continue
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
                _alone(block.criterion, where)
                sensed = {"criterion": block.criterion, "sparsity": block.sparsity, "n": n, "split": split}
                planner.add("sensitivity", sensed, inputs, {"variant": variety.name, "split": split})
            elif isinstance(block, MinimumEps):
                _minimum(planner, block, variety, where)
            elif isinstance(block, InversionBlock):
                split = planner.split(block.split, where)
                given = {"n": planner.count(block.n, split), "steps": block.steps, "restarts": block.restarts}
                given |= {"split": split, "seed": planner.study.seed}
                planner.add("inversion", given, inputs, {"variant": variety.name, "split": split})
            elif isinstance(block, AnatomyBlock):
                given = {"batch": block.batch, "optimizer": block.optimizer}
                planner.add("anatomy", given, inputs, {"variant": variety.name}, data=False)
            else:
                planner.add("sizes", {}, inputs, {"variant": variety.name}, data=False)


def _alone(criterion: Part, where: str) -> None:
    """Refuse a rule that says nothing of one layer alone, before anything is trained."""
    from bantamweight.compression import Criterion
    from bantamweight.compression._core import ChannelCriterion

    rule = criterion.make()
    if not isinstance(rule, Criterion | ChannelCriterion) or rule.needs == "learned scores":
        raise InputError(f"{where}: {criterion} says nothing of one layer alone; use magnitude or l1_channels")


def _cost(planner: Planner, block: ExplainCost, chosen: list[Variety], where: str) -> None:
    for explainer in block.explainers:
        make(where, explainer)
    given = {key: getattr(block, key) for key in ("explainers", "batches", "sizes", "runs")}
    given["split"] = planner.subject.evaluation
    for variety in chosen:
        planner.add("explain_cost", given, {"variant": variety.key}, {"variant": variety.name})


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
