"""Run by test_kill.py in a process of its own: a whole study uninterrupted, and the same study killed again and again.

Each attempt is a fork of this process, which has imported everything and computed nothing; what it is doing comes
through a pipe as the study's own progress. Kills are aimed at kinds of jobs in turn and fall at seeded random moments
within them. Prints JSON: where each kill fell, as the last thing that was heard and whether that job was unfinished.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import select
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import sklearn.datasets  # noqa: F401 (imported before the forks, because it is slow)

import bantamweight
from bantamweight.studies import _sources
from bantamweight.studies.execute import Progress, run

TRAINING, ATTACK = ("train", "finetune"), ("attack",)
AIMS = (TRAINING, (), TRAINING, TRAINING, TRAINING, ATTACK, ATTACK, ATTACK, ATTACK, ("transfer", "explain"))
LEAST = 3
"""Kills that must fall inside a training, and inside an attack."""


class Heard(NamedTuple):
    """One line of an attempt's progress."""

    number: int
    kind: str
    name: str
    done: float
    kept: bool
    seconds: float


def attempt(study: str, store: Path) -> tuple[int, int]:
    """A fork that runs the study, and the end of the pipe on which it is heard."""
    heard, says = os.pipe()
    child = os.fork()
    if child:
        os.close(says)
        return child, heard
    # A fork that fails must say so and must not go on as a second parent.
    try:

        def say(event: Progress) -> None:
            line = Heard(event.number, event.kind, event.name, event.done, event.kept, event.seconds)
            os.write(says, json.dumps(line).encode() + b"\n")

        run(study, store=store, threads=1, progress=say)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def lines(heard: int) -> Iterator[Heard | None]:
    """What an attempt says, until it is gone; None whenever it is silent for a moment."""
    rest = b""
    while True:
        if not select.select([heard], [], [], 0.002)[0]:
            yield None
            continue
        more = os.read(heard, 65536)
        if not more:
            return
        *whole, rest = (rest + more).split(b"\n")
        yield from (Heard(*json.loads(line)) for line in whole)


def uninterrupted(study: str, store: Path) -> dict[str, float]:
    """How long the longest job of each kind takes."""
    child, heard = attempt(study, store)
    lasting: dict[str, float] = {}
    for line in lines(heard):
        if line is not None and line.done == 1.0:
            lasting[line.kind] = max(lasting.get(line.kind, 0.0), line.seconds)
    finished(child, heard)
    return lasting


def finished(child: int, heard: int) -> bool:
    """Whether the attempt came to its end; it may have been killed, and nothing else."""
    os.close(heard)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0


def killed(study: str, store: Path, aim: tuple[str, ...], delay: float) -> Heard | None:
    """Kill an attempt `delay` seconds after its first job of these kinds began (or after its first word); the last
    thing that was heard of it, None when it came to its end before."""
    child, heard = attempt(study, store)
    last, due = None, None
    for line in lines(heard):
        last = line or last
        if due is None and line is not None and not line.kept and (not aim or line.kind in aim):
            due = time.monotonic() + delay
        if due is not None and time.monotonic() >= due:
            os.kill(child, signal.SIGKILL)
            due = float("inf")
    return None if finished(child, heard) else last or Heard(0, "start", "", 0.0, False, 0.0)


def import_everything() -> None:
    """Once here instead of in every fork, and read the sources that keys are made of."""
    names = [module.name for module in pkgutil.walk_packages(bantamweight.__path__, "bantamweight.")]
    for name in names:
        importlib.import_module(name)
    _sources.libraries(_sources.closure(names))
    _sources.fingerprint(_sources.closure(names))


def main(study: str, home: Path, seed: int) -> None:
    draw, falls, inside = random.Random(seed), [], Counter()
    import_everything()
    lasting = uninterrupted(study, home / "whole")
    for aim in AIMS:
        longest = max((lasting[kind] for kind in aim), default=sum(lasting.values()))
        # A training goes on from its checkpoints, so it is killed early and often; an attack begins anew.
        share = draw.uniform(0.05, 0.3) if aim == TRAINING else draw.uniform(0.05, 0.9)
        fell = killed(study, home / "killed", aim, share * longest if aim else draw.uniform(0.0, 0.5))
        falls.append(fell)
        if fell is not None and fell.done < 1.0:
            inside[fell.kind] += 1
    once_more = attempt(study, home / "killed")
    for _ in lines(once_more[1]):
        pass
    assert finished(*once_more)
    report: dict[str, Any] = {"falls": falls, "inside": inside}
    print(json.dumps(report))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
