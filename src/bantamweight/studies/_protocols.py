"""What is asked of protocols and of minimum-norm attacks, as jobs; a pruned net begins with its parent's images."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, Any

from bantamweight.errors import InputError, near
from bantamweight.parts import Part, configure, find, names
from bantamweight.studies._blocks import NO_TARGET, AttackBlock, MinimumNorm
from bantamweight.studies._chains import make

if TYPE_CHECKING:
    from bantamweight.studies.plan import Planner, Variety

__all__ = ["Cell", "cells", "minimum_norm", "protocol", "sound"]

Cell = tuple[Part, Part, str, str, int]
"""Protocol (or attack), threat, target, split and seed."""

EVERY = ("least-likely", "all")
"""Targets of a protocol that are no class."""


def sound(planner: Planner, block: AttackBlock, where: str) -> None:
    """Hear what the protocols say against the threats, and whether the targets exist, before anything is computed."""
    for use, threat in product(block.protocol, block.threats):
        budget = threat.make()
        make(where, use, budget)
        if block.audit and budget.norm.name == "l0":
            raise InputError(f"{where}: there is no reference ensemble for {budget} to audit with; leave out audit")
    known = [*planner.subject.classes, *EVERY, NO_TARGET]
    for target in block.targeted:
        if target not in known:
            raise InputError(
                f"{where}: {target!r} is neither a class nor 'least-likely' nor 'all'{near(target, known)}"
            )


def cells(block: AttackBlock, split: str) -> list[Cell]:
    """Every protocol under every threat towards every target."""
    spread = product(block.protocol, block.threats, block.targeted, block.seeds)
    return [(use, threat, target, split, seed) for use, threat, target, seed in spread]


def protocol(
    planner: Planner,
    block: AttackBlock,
    variety: Variety,
    cell: Cell,
    columns: dict[str, Any],
    done: dict[tuple[str, str], str],
) -> str:
    """One cell as a job; `done` holds the keys of the study's earlier ones, by variant and cell, and gets this one."""
    use, threat, target, split, seed = cell
    given = {
        "protocol": use,
        "threat": threat,
        "targeted": target,
        "audit": block.audit,
        "checks": block.checks,
        "split": split,
        "n": planner.count(block.n, split),
        "precision": block.precision,
        "seed": seed,
    }
    inputs, labels = {"variant": variety.key}, {**columns, "variant": variety.name, "protocol": str(use)}
    asked = f"{columns} on {given['n']}"  # the parent's images serve only for the same ones
    parent = _parent(planner, variety, asked, done) if block.warm else ""
    if parent:
        inputs["parent"], labels["parent"] = done[parent, asked], parent
    reached = [configure("protocols", "autoattack")]  # audit and escalation
    reached += [Part("checks", name, ()) for name in names("checks")] if block.checks != "none" else []
    key = planner.add("protocol", given, inputs, labels, parts=tuple(reached))
    done[variety.name, asked] = key
    return key


def _parent(planner: Planner, variety: Variety, asked: str, done: dict[tuple[str, str], str]) -> str:
    """The nearest ancestor that was asked the same; none for a net as trained."""
    name = variety.parent
    while name and (name, asked) not in done:
        name = planner.variants[name].parent
    return name


def minimum_norm(planner: Planner, block: MinimumNorm, where: str) -> None:
    """The distances of every selected variant."""
    unbounded = find("threats", block.norm)(eps=math.inf)
    make(where, block.attack, unbounded)
    split = planner.split(block.split, where)
    for variety, seed in product(planner.chosen(block.variants, where), block.seeds):
        given = {
            "attack": block.attack,
            "norm": block.norm,
            "split": split,
            "n": planner.count(block.n, split),
            "show": block.show,
            "seed": seed,
        }
        labels = {"attack": str(block.attack), "threat": str(unbounded), "split": split, "seed": seed}
        parts = (configure("threats", {"use": block.norm, "eps": 1.0}),)
        inputs = {"variant": variety.key}
        planner.add("minimum_norm", given, inputs, {"variant": variety.name, **labels}, parts=parts)
