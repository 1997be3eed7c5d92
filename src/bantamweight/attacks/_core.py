"""The one attack loop.

An attack is a pair of pure functions, `ask` and `tell`, over a state whose every leaf has one row per image in play.
The loop owns everything else: it keeps a full tile of rows in play (a settled row's place goes to a waiting one), asks
the oracle, notices successes and has the judge confirm each on the exact image that is stored.

What it returns does not depend on the batch, on the order of the images or on how they were split: every gradient is
taken over one tile of a fixed size, a row's random numbers are keyed by its own image, and between parallel lanes of
one image the earliest success wins, whenever it was computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.attacks._verdicts import Verdicts, conclude
from bantamweight.errors import InputError
from bantamweight.oracle import Access, Answer, Oracle, Query, margin
from bantamweight.predict import TILE, pad
from bantamweight.threats import Threat
from bantamweight.types import Bool, Float, Images, Int64, Labels, Logits

__all__ = ["Attack", "Rows", "State", "Until", "run"]

State = dict[str, Tensor]
"""What an attack remembers; every leaf has one row per image in play."""

Until = Literal["first", "budget", "converged"]
"""What settles a row: its first success, its last query (the most confident image is kept), or its last query with
the smallest success kept."""

NEVER = 2**62
WORTH = TILE // 2
"""From so few rows on, and more than `FEW` queries before them, a smaller tile is worth a look at whether it agrees."""
FEW = 4
ADMITTED = (4, 16, TILE)
"""First states are made for a few rows at a time: nothing in them depends on the number of rows."""


@dataclass(frozen=True)
class Rows:
    """The problem of each row in play. `targets` is -1 where any other class will do; `step` counts its queries;
    `lane` numbers the parallel rows (restarts) of one image."""

    images: Images
    labels: Labels
    targets: Labels
    keys: Int64[Tensor, " b"]
    eps: Float[Tensor, " b"]
    step: Int64[Tensor, " b"]
    lane: Int64[Tensor, " b"]


@dataclass(frozen=True)
class Attack:
    """A method: `init` makes the state, `ask` says which points to query, `tell` takes the answer.

    `queries` is how many times a row asks; `lanes` how many parallel rows an image gets. An attack never calls a
    model, never loops over steps and never slices a batch.
    """

    name: str
    queries: int
    init: Callable[[Rows], State]
    ask: Callable[[Rows, State], Query]
    tell: Callable[[Rows, State, Answer], State]
    access: Access = "white"
    lanes: int = 1
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class _Play:
    """The rows in play: their problems, the attack's state and the loop's own book, all of one tile's length."""

    rows: Rows
    state: State
    book: dict[str, Tensor]
    alive: Bool[Tensor, " b"]


def run(
    attack: Attack,
    oracle: Oracle,
    images: Images,
    labels: Labels,
    threat: Threat,
    *,
    targets: Labels | None = None,
    until: Until = "first",
    seed: int = 0,
    batch: int = TILE,
    eps: Float[Tensor, " b"] | None = None,
    clean: Logits | None = None,
) -> Verdicts:
    """Attack every image that the model gets right, and say what became of it.

    `images` are floats in [0, 1]; `targets` makes it a targeted attack on the images of other classes; `batch` is the
    most rows in play at once; `eps` gives each image its own budget in place of the threat's; `clean` are the judge's
    logits on the images, where they are known already. Nothing passed in is changed. Raises InputError for images
    outside [0, 1], labels of the wrong length or a batch below 1.
    """
    _check(images, labels, targets, clean, batch)
    aims = torch.full_like(labels, -1) if targets is None else targets
    clean = oracle.judge(images) if clean is None else clean
    right = clean.argmax(dim=1) == labels
    attacked = right & (aims != labels)
    budgets = threat.budgets(len(images)) if eps is None else eps.to(torch.float32)
    problem = _problem(attack, images, labels, aims, budgets, torch.nonzero(attacked)[:, 0], seed, clean)
    best = _results(attack, oracle, threat, problem, until, batch, clean)
    return conclude(oracle, threat, attack.name, images, labels, aims, budgets, clean, attacked, best)


def _check(images: Images, labels: Labels, targets: Labels | None, clean: Logits | None, batch: int) -> None:
    if images.ndim != 4 or len(images) == 0:
        raise InputError(f"expected images of shape (n, channels, height, width), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise InputError(f"expected float images in [0, 1], got {images.dtype}; divide bytes by 255")
    low, high = float(images.min()), float(images.max())
    if not (low >= 0.0 and high <= 1.0):
        raise InputError(
            f"expected images in [0, 1], got min={low:.4g}, max={high:.4g}; normalisation belongs inside the model"
        )
    for name, given in (("labels", labels), ("targets", targets), ("clean", clean)):
        if given is not None and len(given) != len(images):
            raise InputError(f"expected one of {name} per image, got {len(given)} for {len(images)} images")
    if batch < 1:
        raise InputError(f"expected a batch of at least 1 row, got {batch}")


@dataclass(frozen=True)
class _Problem:
    rows: Rows
    sample: Int64[Tensor, " r"]
    clean: Logits


def _problem(
    attack: Attack,
    images: Images,
    labels: Labels,
    targets: Labels,
    eps: Tensor,
    chosen: Tensor,
    seed: int,
    clean: Logits,
) -> _Problem:
    """Every lane of every attacked image as one waiting row; lanes of an image stand next to each other."""
    sample = chosen.repeat_interleave(attack.lanes)
    lane = torch.arange(attack.lanes).repeat(len(chosen))
    keys = rng.image_keys(images[chosen]) if len(chosen) else chosen
    keys = rng.fold(keys.repeat_interleave(attack.lanes), torch.full_like(sample, rng.stream(seed, attack.name)))
    rows = Rows(
        images=images,
        labels=labels[sample],
        targets=targets[sample],
        keys=rng.fold(keys, lane),
        eps=eps[sample],
        step=torch.zeros_like(sample),
        lane=lane,
    )
    return _Problem(rows, sample, clean)


def _admit(
    attack: Attack, problem: _Problem, waiting: Tensor, device: torch.device, sizes: Sequence[int] = (TILE,)
) -> _Play:
    """Rows taken from the queue with their first state; padded by rows that are not alive."""
    chosen = pad(waiting, sizes)
    rows = Rows(
        images=problem.rows.images[problem.sample[chosen]].to(device),
        **{f.name: getattr(problem.rows, f.name)[chosen].to(device) for f in fields(Rows) if f.name != "images"},
    )
    count = len(chosen)
    never = torch.full((count,), NEVER, device=device)
    book = {
        "row": chosen.to(device),
        "sample": problem.sample[chosen].to(device),
        "score": torch.full((count,), torch.inf, device=device),
        "best": rows.images.clone(),
        "first": rows.images.clone(),
        "judged": problem.clean[problem.sample[chosen]].to(device),
        "query": never,
        "forwards": torch.zeros_like(never),
        "backwards": torch.zeros_like(never),
    }
    alive = torch.arange(count, device=device) < len(waiting)
    return _Play(rows, attack.init(rows), book, alive)


def _put(play: _Play, slots: Tensor, new: _Play) -> None:
    """New rows into free places of the tile."""
    count = len(slots)
    for f in fields(Rows):
        getattr(play.rows, f.name)[slots] = getattr(new.rows, f.name)[:count]
    for old, fresh in ((play.state, new.state), (play.book, new.book)):
        for key in old:
            old[key][slots] = fresh[key][:count]
    play.alive[slots] = True


def _results(
    attack: Attack, oracle: Oracle, threat: Threat, problem: _Problem, until: Until, batch: int, clean: Logits
) -> dict[str, Tensor]:
    """The loop: fill the tile, ask, tell, look for successes, settle, refill."""
    best = _empty(problem.rows.images, clean)
    queue = deque(range(len(problem.sample)))
    play: _Play | None = None
    while True:
        play = _refill(attack, problem, play, queue, min(batch, TILE), oracle)
        if play is None:
            return best
        query = attack.ask(play.rows, play.state)
        answer = oracle.ask(query, play.rows.labels, play.rows.targets, play.alive)
        play.book["forwards"] += answer.forwards
        play.book["backwards"] += answer.backwards
        _look(oracle, threat, play, query, answer, until)
        told = attack.tell(play.rows, play.state, answer)
        play.state = {key: _where(play.alive, told[key], play.state[key]) for key in told}
        play.rows = replace(play.rows, step=play.rows.step + 1)
        _settle(attack, play, best, until)


def _where(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(mask.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _refill(
    attack: Attack, problem: _Problem, play: _Play | None, queue: deque[int], most: int, oracle: Oracle
) -> _Play | None:
    """The tile with its free places filled from the queue; shrunk when the queue is empty, None when all is done."""
    playing = 0 if play is None else int(play.alive.sum())
    fresh = torch.tensor([queue.popleft() for _ in range(min(most - playing, len(queue)))], dtype=torch.int64)
    if play is None or playing == 0:
        if not len(fresh):
            return None
        sizes = (TILE,) if len(fresh) > WORTH else oracle.sizes(problem.rows.images[problem.sample[fresh]])
        return _admit(attack, problem, fresh, oracle.device, sizes)
    if len(fresh):
        slots = torch.nonzero(~play.alive)[: len(fresh), 0]
        _put(play, slots, _admit(attack, problem, fresh, oracle.device, ADMITTED))
    elif playing <= WORTH and len(play.alive) > 8 and bool((attack.queries - play.rows.step)[play.alive].max() > FEW):
        kept = torch.nonzero(play.alive)[:, 0]
        index = pad(kept, oracle.sizes(play.rows.images))
        if len(index) < len(play.alive):
            play = _take(play, index, torch.arange(len(index), device=oracle.device) < playing)
    return play


def _take(play: _Play, index: Tensor, alive: Tensor) -> _Play:
    rows = Rows(**{f.name: getattr(play.rows, f.name)[index] for f in fields(Rows)})
    state = {key: leaf[index] for key, leaf in play.state.items()}
    return _Play(rows, state, {key: leaf[index] for key, leaf in play.book.items()}, alive)


def _look(oracle: Oracle, threat: Threat, play: _Play, query: Query, answer: Answer, until: Until) -> None:
    """Note the best point of each row so far, and have the judge confirm what looks like a success."""
    rows, book, points = play.rows, play.book, query.points
    if answer.logits is None:
        gap = _label_gap(answer.label, rows)
        slack = torch.zeros_like(gap)
    else:
        gap = margin(answer.logits, rows.labels, rows.targets)
        slack = oracle.slack * answer.logits.abs().amax(dim=1)
    score = threat.norm.size(points - rows.images) if until == "converged" else gap
    looks_broken = play.alive & (gap <= slack)
    if until == "converged":
        check = looks_broken & (score < book["score"])
    else:
        check = looks_broken & (book["query"] == NEVER)
        better = play.alive & (score < book["score"])
        book["score"] = torch.where(better, score, book["score"])
        book["best"] = _where(better, points, book["best"])
    index = torch.nonzero(check)[:, 0]
    if len(index) == 0:
        return
    judged = oracle.judge(points[index])
    gaps = margin(judged, rows.labels[index], rows.targets[index])
    confirmed = index[gaps < 0]
    book["query"][confirmed] = torch.minimum(book["query"][confirmed], rows.step[confirmed])
    book["first"][confirmed] = points[confirmed]
    book["judged"][confirmed] = judged[gaps < 0]
    if until == "converged":
        book["score"][confirmed] = score[confirmed]
        book["best"][confirmed] = points[confirmed]


def _label_gap(label: Tensor, rows: Rows) -> Tensor:
    """A stand-in for the margin where only the label is shown: -1 where it is a success, else 1."""
    success = torch.where(rows.targets >= 0, label == rows.targets, label != rows.labels)
    return 1.0 - 2.0 * success.float()


def _settle(attack: Attack, play: _Play, best: dict[str, Tensor], until: Until) -> None:
    """Write out the rows that are done: broken (when that is enough), out of queries, or beaten by a sibling."""
    book = play.book
    broken = book["query"] < NEVER
    done = play.alive & (play.rows.step >= attack.queries)
    if until == "first":
        done |= play.alive & broken
        won = best["query"].to(book["sample"].device)[book["sample"]]
        done |= play.alive & (play.rows.step > won)
    for place in torch.nonzero(done)[:, 0].tolist():
        _record(play, place, best, until)
    play.alive &= ~done


def _record(play: _Play, place: int, best: dict[str, Tensor], until: Until) -> None:
    """Merge one settled row into its image's result; between lanes the order of settling must not matter."""
    book = play.book
    sample, lane = int(book["sample"][place]), int(play.rows.lane[place])
    query, score = int(book["query"][place]), float(book["score"][place])
    best["forwards"][sample] += int(book["forwards"][place])
    best["backwards"][sample] += int(book["backwards"][place])
    order = (query, score) if until == "first" else (NEVER if query == NEVER else 0, score)
    held = (int(best["order"][sample]), float(best["score"][sample]), int(best["lane"][sample]))
    best["query"][sample] = min(int(best["query"][sample]), query)
    if (*order, lane) >= held:
        return
    best["order"][sample], best["score"][sample], best["lane"][sample] = order[0], order[1], lane
    first = until == "first" and query < NEVER
    best["image"][sample] = (book["first"] if first else book["best"])[place].to(best["image"].device)
    best["fallback"][sample] = book["first"][place].to(best["image"].device)
    best["judged"][sample] = book["judged"][place].to(best["image"].device)


def _empty(images: Images, clean: Logits) -> dict[str, Tensor]:
    """Results of images nobody has attacked yet."""
    count = len(images)
    long = torch.zeros(count, dtype=torch.int64)
    return {
        "query": torch.full_like(long, NEVER),
        "order": torch.full_like(long, NEVER),
        "score": torch.full((count,), torch.inf, dtype=torch.float64),
        "lane": torch.full_like(long, NEVER),
        "image": images.clone(),
        "fallback": images.clone(),
        "judged": clean.clone(),
        "forwards": long.clone(),
        "backwards": long.clone(),
    }
