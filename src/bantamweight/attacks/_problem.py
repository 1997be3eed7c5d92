"""What an attack is, and the rows it plays: values only, no loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.oracle import Access, Answer, Query
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits

__all__ = ["Attack", "Problem", "Rows", "State", "Until", "problem", "take"]

State = dict[str, Tensor]
"""What an attack remembers; every leaf has one row per image in play."""

Until = Literal["first", "budget", "converged"]
"""What settles a row: its first success, its last query (the most confident image is kept), or its last query with
the smallest success kept."""

NO_LANE = -2
"""An aim that says: this lane is not needed."""


@dataclass(frozen=True)
class Rows:
    """The problem of each row in play.

    `targets` says what a success is (-1: any other class), `aims` which class the objective moves towards (-1: away
    from the label); `starts` are images to begin from (the images themselves, where none were given); `step` counts
    the row's queries; `lane` numbers the parallel rows (restarts, targets) of one image.
    """

    images: Images
    labels: Labels
    targets: Labels
    aims: Labels
    starts: Images
    keys: Int64[Tensor, " b"]
    eps: Float[Tensor, " b"]
    step: Int64[Tensor, " b"]
    lane: Int64[Tensor, " b"]


@dataclass(frozen=True)
class Attack:
    """A method: `init` makes the state, `ask` says which points to query, `tell` takes the answer.

    `queries` is how many times a row asks at most; `lanes` how many parallel rows an image gets, `starts` of them
    towards each class; `aim` gives each lane its class from the clean logits and the labels (-2: the lane is not
    needed), for untargeted attacks that go through several classes; `stop` says which rows retire of their own accord;
    `confidence` is the margin in logits that a success must have; an `exact` attack needs gradients in float32, because
    it steps to where a linearised model says the boundary is or creeps along it. An attack never calls a model, never
    loops over steps and never slices a batch.
    """

    name: str
    queries: int
    init: Callable[[Rows], State]
    ask: Callable[[Rows, State], Query]
    tell: Callable[[Rows, State, Answer], State]
    access: Access = "white"
    lanes: int = 1
    starts: int = 1
    aim: Callable[[Logits, Labels], Int64[Tensor, "b lanes"]] | None = None
    stop: Callable[[Rows, State], Bool[Tensor, " b"]] | None = None
    confidence: float = 0.0
    exact: bool = False


@dataclass(frozen=True)
class Problem:
    """Every lane of every attacked image as one waiting row; `sample` is the image each row belongs to."""

    images: Images
    starts: Images
    labels: Labels
    targets: Labels
    aims: Labels
    keys: Int64[Tensor, " r"]
    eps: Float[Tensor, " r"]
    lane: Int64[Tensor, " r"]
    sample: Int64[Tensor, " r"]
    clean: Logits

    def __len__(self) -> int:
        return len(self.sample)

    def rows(self, chosen: Int64[Tensor, " b"], device: torch.device) -> Rows:
        """The chosen rows, not yet asked about."""
        sample = self.sample[chosen]
        mine = {name: getattr(self, name)[chosen] for name in ("labels", "targets", "aims", "keys", "eps", "lane")}
        mine |= {"images": self.images[sample], "starts": self.starts[sample], "step": torch.zeros_like(sample)}
        return Rows(**{name: value.to(device) for name, value in mine.items()})


def problem(
    attack: Attack,
    images: Images,
    labels: Labels,
    *,
    targets: Labels,
    eps: Float[Tensor, " n"],
    chosen: Int64[Tensor, " m"],
    seed: int,
    clean: Logits,
    starts: Images | None = None,
) -> Problem:
    """The rows of an attack on the chosen images, all first lanes before any second one."""
    lanes = attack.lanes
    sample = chosen.repeat(lanes)
    lane = torch.arange(lanes).repeat_interleave(len(chosen))
    keys = rng.image_keys(images[chosen]) if len(chosen) else chosen
    keys = rng.fold(keys.repeat(lanes), torch.full_like(sample, rng.stream(seed, attack.name)))
    aims = targets[sample]
    if attack.aim is not None and len(chosen):
        free = attack.aim(clean[chosen], labels[chosen]).to(aims.dtype).T.reshape(-1)
        # With a target of the user's there is one class to go to.
        aims = torch.where(aims >= 0, torch.where(lane < attack.starts, aims, NO_LANE), free)
    wanted = torch.nonzero(aims != NO_LANE)[:, 0]
    sample, lane = sample[wanted], lane[wanted]
    return Problem(
        images=images,
        starts=images if starts is None else starts,
        labels=labels[sample],
        targets=targets[sample],
        aims=aims[wanted],
        keys=rng.fold(keys[wanted], lane),
        eps=eps[sample],
        lane=lane,
        sample=sample,
        clean=clean,
    )


def take(rows: Rows, index: Int64[Tensor, " b"]) -> Rows:
    """The same rows, chosen and ordered by index."""
    return Rows(**{f.name: getattr(rows, f.name)[index] for f in fields(Rows)})
