"""How long sessions take, interleaved so that whatever slows the machine slows all of them.

Protocol: for each batch size, `warmup` discarded rounds and `runs` timed ones; in each round every session is timed
once, in an order shuffled anew. Right before its timed call a session answers the same images untimed, again and again
for `settle_ms`: then its weights are in the cache, its threads are awake, and those of the session before have stopped
polling for work, as where it is the only model. (Without, ResNetSmall on onnxruntime took 0.7 ms instead of 0.2 when
eager torch had gone before.) Threads are pinned, garbage collection is off, all sessions see the same images.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.runtimes._core import Session, pinned, probe

__all__ = ["measure"]

Key = TypeVar("Key", bound=Hashable)


def measure(
    sessions: Mapping[Key, Session],
    *,
    threads: int,
    batches: Sequence[int] = (1, 16),
    warmup: int = 10,
    runs: int = 100,
    settle_ms: float = 10.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> dict[Key, dict[int, np.ndarray]]:
    """Seconds of `runs` calls for every session and batch size; entry i of each array was taken in round i.

    So the arrays of two sessions are pairs, for a ratio that drift can't fake. `progress` is told the share done
    between rounds. One untimed call always goes before a timed one; `settle_ms` asks for more of them. Raises
    InputError when a session was prepared with another number of threads.
    """
    _check(sessions, threads, batches, warmup, runs)
    keys, total, done = list(sessions), len(batches) * (warmup + runs), 0
    found: dict[Key, dict[int, np.ndarray]] = {key: {} for key in keys}
    with pinned(threads), _uncollected():
        for batch in batches:
            taken = np.empty((len(keys), warmup + runs))
            images = {session.shape: probe(session.shape, batch, seed) for session in sessions.values()}
            for turn in range(warmup + runs):
                for place in rng.generator(seed, "order", batch, turn).permutation(len(keys)):
                    session = sessions[keys[place]]
                    taken[place, turn] = _settled(session, images[session.shape], settle_ms * 1e-3)
                done += 1
                if progress is not None:
                    progress(done / total)
            for place, key in enumerate(keys):
                found[key][batch] = taken[place, warmup:].copy()
    return found


def _settled(session: Session, images: np.ndarray, settle: float) -> float:
    """Seconds of the last of several calls."""
    first = time.perf_counter()
    session.run(images)
    while time.perf_counter() - first < settle:
        session.run(images)
    started = time.perf_counter_ns()
    session.run(images)
    return (time.perf_counter_ns() - started) * 1e-9


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
