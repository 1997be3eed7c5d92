"""Several attacks, one after the other, each on the images that all before it left standing.

A row leaves at its first success, so what an image costs is what it took to break it. Nothing is decided from other
images: a cascade over two halves of a data set gives the verdicts of the whole.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bantamweight.attacks._core import run
from bantamweight.attacks._problem import Attack, Until
from bantamweight.attacks._verdicts import Verdicts
from bantamweight.oracle import Oracle
from bantamweight.predict import LARGER
from bantamweight.threats import Threat
from bantamweight.types import Images, Labels, Logits

__all__ = ["Cascade", "Part", "added", "cascade", "credited", "fall", "merged", "overlaid", "sized"]


@dataclass(frozen=True)
class Cascade:
    """Attacks in the order in which they are tried; `until` is what each of them is after (see `run`)."""

    name: str
    parts: tuple[Attack, ...]
    until: Until = "first"


@dataclass(frozen=True)
class Part:
    """What one attack of a cascade did: images it was given and broke, queries and seconds it took.

    Where each attack seeks the smallest perturbation, all are given every image, and `broken` counts those whose
    smallest is this attack's.
    """

    name: str
    given: int
    broken: int
    forwards: int
    backwards: int
    seconds: float


def cascade(name: str, *parts: Attack, until: Until = "first") -> Cascade:
    """A cascade of attacks that were made for the same threat."""
    return Cascade(name, parts, until)


def fall(
    protocol: Cascade,
    oracle: Oracle,
    images: Images,
    labels: Labels,
    threat: Threat,
    *,
    targets: Labels | None = None,
    seed: int = 0,
    batch: int = LARGER[-1],
    clean: Logits | None = None,
    starts: Images | None = None,
    rounding: bool = False,
    on_part: Callable[[str, int], None] | None = None,
) -> tuple[Verdicts, list[Part]]:
    """Verdicts of the whole cascade, and what each part did.

    The verdict columns get one more, `part`: the number of the attack that broke the image, -1 where none did.
    `query`, `forwards` and `backwards` run on through the parts. An image that stands keeps the picture on which it
    came closest. Where `until` is "converged" no image leaves: the smallest success of all parts is kept. `rounding`
    looks at each success in 8 bits too. `on_part` hears the name of each part and how many
    images it is given.
    """
    clean = oracle.judge(images) if clean is None else clean
    verdicts: Verdicts | None = None
    said: list[Part] = []
    smallest = sized(threat) if protocol.until == "converged" else None
    for number, attack in enumerate(protocol.parts):
        open_rows = torch.arange(len(images)) if verdicts is None or smallest else _standing(verdicts)
        if on_part is not None:
            on_part(attack.name, len(open_rows))
        started = time.perf_counter()
        if len(open_rows) == 0:
            said.append(Part(attack.name, 0, 0, 0, 0, 0.0))
            continue
        new = run(
            attack,
            oracle,
            images[open_rows],
            labels[open_rows],
            threat,
            targets=None if targets is None else targets[open_rows],
            until=protocol.until,
            seed=seed,
            batch=batch,
            clean=clean[open_rows],
            starts=None if starts is None else starts[open_rows],
            rounding=rounding or protocol.until == "converged",
        )
        verdicts = merged(verdicts, new, open_rows, number, smallest)
        seconds, given = time.perf_counter() - started, int(new["attacked"].sum())
        said.append(Part(attack.name, given, 0, int(new["forwards"].sum()), int(new["backwards"].sum()), seconds))
    assert verdicts is not None
    said = credited(said, verdicts["part"])
    return Verdicts(protocol.name, str(threat), verdicts.columns, verdicts.images), said


def sized(threat: Threat) -> str:
    """The column of sizes in the threat's norm."""
    return f"size_{threat.norm.name}"


def credited(parts: Sequence[Part], part: np.ndarray) -> list[Part]:
    """The parts, each with the images that were broken by it."""
    return [replace(one, broken=int((part == number).sum())) for number, one in enumerate(parts)]


def _standing(verdicts: Verdicts) -> Tensor:
    return torch.from_numpy(np.flatnonzero(verdicts["attacked"] & ~verdicts["success"]))


def merged(before: Verdicts | None, new: Verdicts, index: Tensor, number: int, smallest: str | None = None) -> Verdicts:
    """Verdicts so far with those of one more attack on some of their rows; nothing passed in is changed."""
    columns = {**new.columns, "part": np.where(new["success"], number, -1)}
    if before is None:
        return Verdicts(new.attack, new.threat, columns, new.images)
    columns, closer = overlaid(before.columns, columns, index.numpy(), smallest)
    images = before.images.clone()
    images[index[torch.from_numpy(closer)]] = new.images[torch.from_numpy(closer)]
    return Verdicts(before.attack, before.threat, columns, images)


def overlaid(
    before: dict[str, np.ndarray], new: dict[str, np.ndarray], rows: np.ndarray, smallest: str | None = None
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns with those of a later attack laid over some rows, and which of these rows it changed the picture of.

    An image that stands so far keeps its closest call: the smallest margin, whichever attack found it. One that is
    broken keeps its picture, unless `smallest` names a column of sizes in which the later success is smaller. What was
    not attacked (the images of the class aimed for) has no closest call.
    """
    columns = {name: values.copy() for name, values in before.items()}
    was = columns["success"][rows]
    nearer = new["success"] | ~columns["attacked"][rows] | (new["margin"] < columns["margin"][rows])
    closer = new["attacked"] & ~was & nearer
    if smallest is not None:
        closer |= was & new["success"] & (new[smallest] < columns[smallest][rows])
    old = {name: columns[name][rows] for name in ("forwards", "backwards", "query", "part", "attacked")}
    for name in new:
        columns[name][rows[closer]] = new[name][closer]
    broken = np.where(new["success"], old["forwards"] + new["query"], -1)
    columns["query"][rows] = np.where(was, old["query"], broken)
    columns["part"][rows] = np.where(closer & new["success"], new["part"], old["part"])
    columns["attacked"][rows] = old["attacked"] | new["attacked"]
    for name in ("forwards", "backwards"):
        columns[name][rows] = old[name] + new[name]
    return columns, closer


def added(shards: Sequence[Sequence[Part]]) -> list[Part]:
    """The parts of a cascade over several shards, added up place by place."""
    return [
        Part(
            name=same[0].name,
            given=sum(part.given for part in same),
            broken=sum(part.broken for part in same),
            forwards=sum(part.forwards for part in same),
            backwards=sum(part.backwards for part in same),
            seconds=sum(part.seconds for part in same),
        )
        for same in zip(*shards, strict=True)
    ]
