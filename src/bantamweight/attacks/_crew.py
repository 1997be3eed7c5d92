"""Several loops at a time, each on its own images with one thread, where a net is too small to keep all threads busy.

A small net spends its time between operations, and there two single threads do twice the work of one pair that waits
for each other at every step. An image is in one loop with all its lanes, so no verdict depends on how many there are.
"""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace

import torch

from bantamweight.attacks._problem import Problem
from bantamweight.oracle import Ledger, Oracle

__all__ = ["Halt", "crew", "queues", "single", "together"]

LEAST = 64
"""Rows that make a loop of their own worth it: with fewer, two loops wait for the interpreter more than they work."""
MOST = 4
"""Loops at a time, for the same reason."""

Halt = Callable[[], bool]
"""Whether to stop where one is, because another has failed or the user has interrupted."""


def crew(oracle: Oracle, rows: int) -> list[Oracle]:
    """The oracle, or as many with models of their own as threads and waiting rows are worth."""
    workers = max(1, min(torch.get_num_threads(), MOST, rows // LEAST))
    if workers == 1:
        return [oracle]
    try:
        return [
            replace(oracle, judged=judged, proposer=proposer, ledger=Ledger())
            for judged, proposer in (copy.deepcopy((oracle.judged, oracle.proposer)) for _ in range(workers))
        ]
    except Exception:  # a model may hold what can't be copied: an open session, a lock
        return [oracle]


def queues(waiting: Problem, workers: int) -> list[deque[int]]:
    """The waiting rows of each worker, in their order; every image's rows go to one of them."""
    images, place = waiting.sample.unique(return_inverse=True)
    del images
    owner = (place % workers).tolist()
    return [deque(row for row, mine in enumerate(owner) if mine == worker) for worker in range(workers)]


def together(tasks: Sequence[Callable[[Halt], None]]) -> None:
    """Run the tasks at the same time with one thread each; the first error, or an interrupt, ends them all."""
    with single():
        if len(tasks) == 1:
            tasks[0](lambda: False)
            return
        stop = threading.Event()
        with ThreadPoolExecutor(len(tasks), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            running = [pool.submit(task, stop.is_set) for task in tasks]
            try:
                for done in as_completed(running):
                    done.result()
            finally:
                stop.set()


@contextmanager
def single() -> Iterator[None]:
    """Inside, torch computes with one thread; afterwards with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
