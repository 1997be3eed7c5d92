"""The one attack loop.

An attack is a pair of pure functions, `ask` and `tell`, over a state whose every leaf has one row per image in play.
The loop owns everything else: it keeps a full tile of rows in play (a settled row's place goes to a waiting one), asks
the oracle, notices successes and has the judge confirm each on the exact image that is stored.

What it returns does not depend on the batch, on the order of the images or on how they were split: every gradient is
taken over one tile of a fixed size, a row's random numbers are keyed by its own image, and the parallel lanes of one
image (restarts, targets) count as if they had run one after another: the lowest lane that succeeds wins, whenever it
was computed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import get_args

import torch
from torch import Tensor

from bantamweight.attacks._crew import Halt, crew, queues, single, together
from bantamweight.attacks._problem import Attack, Problem, Rows, State, Until, problem, take
from bantamweight.attacks._verdicts import NEVER, Results, Verdicts, conclude, correct
from bantamweight.errors import InputError
from bantamweight.oracle import Answer, Oracle, Query, fooled, margin, reached
from bantamweight.predict import LARGER, TILE, pad
from bantamweight.threats import TOLERANCE, Threat
from bantamweight.types import Bool, Float, Images, Labels, Logits

__all__ = ["Attack", "Rows", "State", "Until", "run"]

WORTH = TILE // 2
"""From so few rows on a smaller tile is worth a look at whether it agrees."""
HELD = 0.75
"""In play, once no more than this share of the places is held: every other one costs as much as a row."""
FEW = 4
"""And from so many queries on that are still to come."""
ADMITTED = (4, 16, TILE, *LARGER)
"""First states are made for a few rows at a time: nothing in them depends on the number of rows."""
PATIENCE = {"cpu": 1}
"""Steps between two looks at what became of the rows; elsewhere 8, so that no step waits for the device."""


@dataclass
class _Play:
    """The rows in play, all of one tile's length: their problems, the attack's state and the loop's own book.

    A place is `held` until its row is written out, and `alive` while that row still has queries to make.
    """

    rows: Rows
    state: State
    book: dict[str, Tensor]
    held: Bool[Tensor, " b"]
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
    batch: int = LARGER[-1],
    eps: Float[Tensor, " b"] | None = None,
    clean: Logits | None = None,
    starts: Images | None = None,
    rounding: bool = True,
) -> Verdicts:
    """Attack every image that the model gets right, and say what became of it.

    `images` are floats in [0, 1]; `targets` makes it a targeted attack on the images of other classes; `batch` is the
    most rows in play at once; `eps` gives each image its own budget in place of the threat's; `clean` are the judge's
    logits on the images, where they are known already; `starts` are images to begin from; `rounding` says whether
    each success is tried once more in 8 bits. The attack sees no more than its access allows. Nothing passed in is
    changed. Raises InputError for images outside [0, 1], labels of the wrong length or a batch below 1.
    """
    _check(images, labels, targets, clean, starts, batch, until)
    images, labels = images.detach(), labels.long()
    wanted = torch.full_like(labels, -1) if targets is None else targets.long()
    clean = oracle.judge(images) if clean is None else clean
    if int(labels.max()) >= clean.shape[1]:
        raise InputError(f"the model tells {clean.shape[1]} classes apart, and a label says {int(labels.max())}")
    if int(wanted.min()) < -1 or int(wanted.max()) >= clean.shape[1]:
        said = int(wanted.min()) if int(wanted.min()) < -1 else int(wanted.max())
        raise InputError(f"expected targets between 0 and {clean.shape[1] - 1}, or -1 for none, got {said}")
    attacked = correct(clean, labels) & (wanted != labels)
    budgets = threat.budgets(len(images)) if eps is None else eps.to(torch.float32)
    waiting = problem(
        attack,
        images,
        labels,
        targets=wanted,
        eps=budgets,
        chosen=torch.nonzero(attacked)[:, 0],
        seed=seed,
        clean=clean,
        starts=starts,
    )
    asked = oracle.limited(attack.access, exact=attack.exact)
    results = Results.empty(images, clean, attack.lanes)
    if asked.light(images):
        _share(attack, asked, threat, waiting, until, batch, results)
    else:
        _loop(attack, asked, threat, waiting, until, min(batch, TILE), deque(range(len(waiting))), results)
    return conclude(oracle, threat, attack, images, labels, wanted, budgets, clean, attacked, results, rounding)


def _check(
    images: Images,
    labels: Labels,
    targets: Labels | None,
    clean: Logits | None,
    starts: Images | None,
    batch: int,
    until: Until,
) -> None:
    for name, given in (("images", images), ("labels", labels)):
        if not isinstance(given, Tensor):
            raise InputError(
                f"expected {name} as a torch tensor, got {type(given).__name__}; torch.as_tensor makes one"
            )
    if images.ndim != 4 or len(images) == 0:
        raise InputError(f"expected images of shape (n, channels, height, width), got {tuple(images.shape)}")
    for given in (images,) if starts is None else (images, starts):
        if given.dtype != torch.float32:
            said = "divide bytes by 255" if given.dtype == torch.uint8 else "images.float() makes them"
            raise InputError(f"expected float32 images in [0, 1], got {given.dtype}; {said}")
        low, high = (float(end) for end in given.detach().aminmax())
        if not (low >= 0.0 and high <= 1.0):
            raise InputError(
                f"expected images in [0, 1], got min={low:.4g}, max={high:.4g}; normalisation belongs inside the model"
            )
    for name, given_rows in (("labels", labels), ("targets", targets), ("clean", clean), ("starts", starts)):
        if given_rows is not None and len(given_rows) != len(images):
            raise InputError(f"expected one of {name} per image, got {len(given_rows)} for {len(images)} images")
    for name, whole in (("labels", labels), ("targets", targets)):
        if whole is not None and (whole.ndim != 1 or whole.is_floating_point() or whole.dtype == torch.bool):
            raise InputError(
                f"expected {name} as whole numbers, one per image, got {whole.dtype}, {tuple(whole.shape)}"
            )
    if int(labels.min()) < 0:
        raise InputError(f"expected labels of 0 or more, got {int(labels.min())}")
    if until not in get_args(Until):
        raise InputError(f"expected until to be one of {', '.join(get_args(Until))}, got {until!r}")
    if batch < 1:
        raise InputError(f"expected a batch of at least 1 row, got {batch}")


def _share(
    attack: Attack, oracle: Oracle, threat: Threat, waiting: Problem, until: Until, batch: int, results: Results
) -> None:
    """The loop for a small net: in larger tiles, and in several threads that share the images."""
    with single():
        oracle.prepare(waiting.images)
    workers = crew(oracle, len(waiting))
    lines = queues(waiting, len(workers))

    def task(worker: Oracle, line: deque[int]) -> Callable[[Halt], None]:
        def work(halt: Halt) -> None:
            most = min(batch, worker.fit(waiting.images, min(len(line), LARGER[-1])))
            _loop(attack, worker, threat, waiting, until, most, line, results, halt)

        return work

    together([task(worker, line) for worker, line in zip(workers, lines, strict=True)])
    for worker in workers:
        if worker is not oracle:
            oracle.ledger.add(worker.ledger)


def _loop(
    attack: Attack,
    oracle: Oracle,
    threat: Threat,
    waiting: Problem,
    until: Until,
    batch: int,
    queue: deque[int],
    results: Results,
    halt: Halt = lambda: False,
) -> None:
    """Fill the tile, ask, notice successes, tell; every few steps confirm them, settle rows and refill."""
    every = PATIENCE.get(oracle.device.type, 8)
    play: _Play | None = None
    while True:
        play = _refill(attack, waiting, play, queue, batch, oracle, results)
        if play is None or halt():
            oracle.ledger.close()
            return
        for _ in range(every):
            query = attack.ask(play.rows, play.state)
            answer = _sane(oracle.ask(query, play.rows.labels, play.rows.aims, play.alive))
            play.book["forwards"] += answer.forwards
            play.book["backwards"] += answer.backwards
            _notice(attack, oracle, threat, play, query, answer, until)
            # Rows that are done are told as well: nobody looks at their state again.
            play.state = attack.tell(play.rows, play.state, answer)
            play.rows = replace(play.rows, step=play.rows.step + play.alive)
            play.alive = play.alive & (play.rows.step < attack.queries)
            if attack.stop is not None:
                play.alive = play.alive & ~attack.stop(play.rows, play.state)
        _confirm(attack, oracle, play, until)
        _settle(play, results, until)


def _sane(answer: Answer) -> Answer:
    """The answer with zeros for slopes that are no numbers, of a square root at 0 say: one such entry would carry a row
    off for good. The checks ask the oracle themselves, and see them."""
    if answer.gradient is None and answer.jacobian is None:
        return answer
    gradient, jacobian = (
        None if slope is None else torch.nan_to_num(slope, 0.0, 0.0, 0.0)
        for slope in (answer.gradient, answer.jacobian)
    )
    return replace(answer, gradient=gradient, jacobian=jacobian)


def _refill(
    attack: Attack,
    waiting: Problem,
    play: _Play | None,
    queue: deque[int],
    most: int,
    oracle: Oracle,
    results: Results,
) -> _Play | None:
    """The tile with its free places filled from the queue; shrunk when the queue is empty, None when all is done."""
    playing = 0 if play is None else int(play.held.sum())
    fresh = torch.tensor(_next(waiting, queue, most - playing, results), dtype=torch.int64)
    if play is None or playing == 0:
        if not len(fresh):
            return None
        usual = WORTH < len(fresh) <= TILE
        size = TILE if usual else oracle.fit(waiting.images[waiting.sample[fresh]], len(fresh))
        return _admit(attack, waiting, fresh, oracle.device, (size,))
    if len(fresh):
        slots = torch.nonzero(~play.held)[: len(fresh), 0]
        _put(play, slots, _admit(attack, waiting, fresh, oracle.device, ADMITTED))
    elif playing <= HELD * len(play.held) and bool((attack.queries - play.rows.step)[play.held].max() > FEW):
        kept = torch.nonzero(play.held)[:, 0]
        index = pad(kept, (oracle.fit(play.rows.images, len(kept)),))
        if len(index) < len(play.held):
            play = _take(play, index, playing)
    return play


def _next(waiting: Problem, queue: deque[int], count: int, results: Results) -> list[int]:
    """The next rows in the queue, but for those whose image a lower lane has broken already."""
    found: list[int] = []
    while queue and len(found) < count:
        row = queue.popleft()
        if int(results.lane[waiting.sample[row]]) > int(waiting.lane[row]):
            found.append(row)
    return found


def _admit(
    attack: Attack, waiting: Problem, chosen: Tensor, device: torch.device, sizes: Sequence[int] = (TILE,)
) -> _Play:
    """Rows taken from the queue with their first state; padded by rows that are not alive."""
    index = pad(chosen, sizes)
    rows = waiting.rows(index, device)
    sample = waiting.sample[index]
    never = torch.full((len(index),), NEVER, device=device)
    book = {
        "sample": sample.to(device),
        "score": torch.full((len(index),), torch.inf, device=device),
        "best": rows.images.clone(),
        "first": rows.images.clone(),
        "judged": waiting.clean[sample].to(device),
        "query": never,
        "found": rows.images.clone(),
        "found_at": never.clone(),
        "found_size": torch.full((len(index),), torch.inf, device=device),
        "forwards": torch.zeros_like(never),
        "backwards": torch.zeros_like(never),
    }
    held = torch.arange(len(index), device=device) < len(chosen)
    return _Play(rows, attack.init(rows), book, held, held.clone())


def _put(play: _Play, slots: Tensor, new: _Play) -> None:
    """New rows into free places of the tile."""
    count = len(slots)
    for f in fields(Rows):
        getattr(play.rows, f.name)[slots] = getattr(new.rows, f.name)[:count]
    for old, fresh in ((play.state, new.state), (play.book, new.book)):
        for key in old:
            # A copy, because two leaves of a state may be the same tensor.
            old[key] = old[key].clone()
            old[key][slots] = fresh[key][:count]
    play.held[slots] = True
    play.alive[slots] = True


def _take(play: _Play, index: Tensor, count: int) -> _Play:
    state = {key: leaf[index] for key, leaf in play.state.items()}
    book = {key: leaf[index] for key, leaf in play.book.items()}
    real = torch.arange(len(index), device=index.device) < count
    return _Play(take(play.rows, index), state, book, real, play.alive[index] & real)


def _notice(
    attack: Attack, oracle: Oracle, threat: Threat, play: _Play, query: Query, answer: Answer, until: Until
) -> None:
    """Keep what looks like a success for the judge, and the most confident point so far; waits for no device."""
    book, rows = play.book, play.rows
    if answer.logits is None:
        gap = _label_gap(answer.label, rows)
        slack = torch.zeros_like(gap)
    else:
        gap = margin(answer.logits, rows.labels, rows.targets) + attack.confidence
        slack = oracle.slack * answer.logits.abs().amax(dim=1)
    broken = play.alive & (gap <= slack)
    worth = broken if until == "converged" else broken | (play.alive & (gap < book["score"]))
    host = oracle.device.type == "cpu"
    if host and not bool(worth.any()):
        return
    size = threat.norm.size(query.points - rows.images)
    worth = worth & (size <= rows.eps + TOLERANCE * rows.eps.clamp_min(1.0))
    # Most rows have nothing new to show; where finding that out costs no wait, only the others are looked at.
    index = torch.nonzero(worth)[:, 0] if host else torch.arange(len(gap), device=gap.device)
    points, gap, size, inside = query.points[index], gap[index], size[index], worth[index]
    score, found_size = book["score"][index], book["found_size"][index]
    if until == "converged":
        found = inside & broken[index] & (size < torch.minimum(score, found_size))
        # After the first that the judge has confirmed a clear success is believed; at the end it sees the smallest.
        clear = found & (gap < -slack[index]) & (book["query"][index] < NEVER)
        book["score"][index] = torch.where(clear, size, score)
        _write(book, "best", index, clear, points)
        found = found & ~clear
    else:
        better = inside & (gap < score)
        # Where the proposer still sees the label ahead, the judge is asked about each new closest call only.
        waits = (book["query"][index] == NEVER) & (book["found_at"][index] == NEVER)
        found = inside & broken[index] & ((gap < 0) | better) & waits
        book["score"][index] = torch.where(better, gap, score)
        _write(book, "best", index, better, points)
    _write(book, "found", index, found, points)
    _write(book, "found_at", index, found, (book["forwards"] - answer.forwards)[index])
    _write(book, "found_size", index, found, size)


def _write(book: dict[str, Tensor], key: str, index: Tensor, mask: Tensor, new: Tensor) -> None:
    """New values into the rows of `index` that the mask picks."""
    if mask.device.type == "cpu":
        book[key][index[mask]] = new[mask]
        return
    wide = mask.reshape(-1, *[1] * (new.ndim - 1))
    book[key][index] = torch.where(wide, new, book[key][index])


def _label_gap(label: Tensor, rows: Rows) -> Tensor:
    """A stand-in for the margin where only the label is shown: -1 where it is a success, else 1."""
    return 1.0 - 2.0 * reached(label, rows.labels, rows.targets).float()


def _confirm(attack: Attack, oracle: Oracle, play: _Play, until: Until) -> None:
    """Have the judge look at what was kept for it."""
    rows, book = play.rows, play.book
    index = torch.nonzero(book["found_at"] < NEVER)[:, 0]
    if len(index) == 0:
        return
    points = book["found"][index]
    judged = oracle.judge(points)
    sure = fooled(judged, rows.labels[index], rows.targets[index], attack.confidence)
    confirmed = index[sure]
    book["query"][confirmed] = torch.minimum(book["query"][confirmed], book["found_at"][confirmed])
    book["first"][confirmed] = points[sure]
    book["judged"][confirmed] = judged[sure]
    if until == "converged":
        smaller = sure & (book["found_size"][index] < book["score"][index])
        book["score"][index[smaller]] = book["found_size"][index[smaller]]
        book["best"][index[smaller]] = points[smaller]
    book["found_at"] = torch.full_like(book["found_at"], NEVER)
    book["found_size"] = torch.full_like(book["found_size"], torch.inf)


def _settle(play: _Play, results: Results, until: Until) -> None:
    """Write out the rows that are done: broken (when that is enough), out of queries, or beaten by a lower lane."""
    book = play.book
    done = play.held & ~play.alive
    if until == "first":
        beaten = results.lane.to(book["sample"].device)[book["sample"]] < play.rows.lane
        done |= play.held & (beaten | (book["query"] < NEVER))
    for place in torch.nonzero(done)[:, 0].tolist():
        row = {key: leaf[place] for key, leaf in book.items()}
        results.record(row, int(play.rows.lane[place]), until)
    play.held &= ~done
    play.alive &= ~done
