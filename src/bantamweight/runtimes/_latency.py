"""How long sessions take, interleaved so that whatever slows the machine slows all of them.

Protocol: for each batch size `runs` timed calls in ten rounds, after as many rounds of the same kind as hold `warmup`
calls. In each round every session has its turn, in an order shuffled anew: a burst of timed calls right after untimed
ones that take about `SETTLE_S`. By then its weights are in the cache and the threads of the session before have gone to
sleep, as where it is the only model: after a call libgomp's threads poll for 8 ms and onnxruntime's for 34 ms of
processor time (measured; 2 threads). Without it a net that takes 0.16 ms on onnxruntime took 0.76 ms after eager
torch. Threads are pinned, garbage collection is off, all sessions see the same images.
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import numpy as np

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.runtimes._core import Session, pinned, probe

__all__ = ["measure"]

Key = TypeVar("Key", bound=Hashable)

ROUNDS = 10
"""Enough for an interval over rounds, whose calls belong together; each costs every session its settling."""

SETTLE_S = 0.04
"""How long untimed calls go on before timed ones: longer than any runtime's idle threads keep polling."""


def measure(
    sessions: Mapping[Key, Session],
    *,
    threads: int,
    batches: Sequence[int] = (1, 16),
    warmup: int = 10,
    runs: int = 100,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[Key, dict[int, np.ndarray]]:
    """Seconds of at least `runs` calls for every session and batch size, as an array (rounds, calls in a round).

    Rows of two sessions are pairs, for a ratio that drift can't fake; calls within a row are not independent.
    `progress` is told the share done between rounds. Raises InputError when a session was prepared with another number
    of threads.
    """
    _check(sessions, threads, batches, warmup, runs)
    burst = max(1, round(runs / ROUNDS))
    found: dict[Key, dict[int, np.ndarray]] = {key: {} for key in sessions}
    with pinned(threads), _uncollected():
        for done, batch in enumerate(batches):

            def tell(share: float, done: int = done) -> None:
                if progress is not None:
                    progress((done + share) / len(batches))

            rounds = math.ceil(warmup / burst), math.ceil(runs / burst)
            taken = _rounds(list(sessions.values()), batch, rounds, burst, seed, tell)
            for place, key in enumerate(sessions):
                found[key][batch] = taken[place]
    return found


def _rounds(
    sessions: Sequence[Session],
    batch: int,
    rounds: tuple[int, int],
    burst: int,
    seed: int,
    tell: Callable[[float], None],
) -> np.ndarray:
    """Seconds (session, round, call) of one batch size, without the first rounds."""
    discarded, total = rounds[0], sum(rounds)
    images = {session.shape: probe(session.shape, batch, seed) for session in sessions}
    taken = np.empty((len(sessions), total, burst))
    fastest = [_burst(session, images[session.shape], 1, 1)[0] for session in sessions]
    for turn in range(total):
        for place in rng.generator(seed, "order", batch, turn).permutation(len(sessions)):
            # Counted, not timed: a clock would end it mostly where another process had taken the processor.
            untimed = max(1, math.ceil(SETTLE_S / fastest[place]))
            taken[place, turn] = _burst(sessions[place], images[sessions[place].shape], untimed, burst)
            fastest[place] = min(fastest[place], taken[place, turn].min())
        tell((turn + 1) / total)
    return taken[:, discarded:].copy()


def _burst(session: Session, images: np.ndarray, untimed: int, timed: int) -> list[float]:
    """Seconds of the last calls of several in a row."""
    for _ in range(untimed):
        session.run(images)
    marks = [time.perf_counter_ns()]
    for _ in range(timed):
        session.run(images)
        marks.append(time.perf_counter_ns())
    return [max(1, after - before) * 1e-9 for before, after in pairwise(marks)]


@contextmanager
def _uncollected() -> Iterator[None]:
    """Garbage is collected before and not inside."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _check(sessions: Mapping[Key, Session], threads: int, batches: Sequence[int], warmup: int, runs: int) -> None:
    if not sessions or not batches or min(batches) < 1 or len(set(batches)) != len(batches):
        raise InputError(f"expected sessions and distinct batch sizes of 1 or more, got {len(sessions)} and {batches}")
    if warmup < 0 or runs < 1:
        raise InputError(f"expected warmup >= 0 and runs >= 1, got {warmup} and {runs}")
    other = next((session for session in sessions.values() if session.threads != threads), None)
    if other is not None:
        raise InputError(
            f"expected every session to have {threads} threads, got {other.threads} on {other.runtime}; prepare it so"
        )
