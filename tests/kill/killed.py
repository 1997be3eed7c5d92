"""Run by test_kill.py in a process of its own: a whole study uninterrupted, and the same study killed again and again.

Each attempt is a fork of this process, which has imported everything and computed nothing; what it is doing comes
through a pipe as the study's own progress. Kills are aimed at kinds of jobs in turn and fall at seeded random moments
within them; one that missed is repeated. Prints JSON: the last thing that was heard before each kill, and the stores.
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
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import sklearn.datasets  # noqa: F401 (imported before the forks, because it is slow)

import bantamweight
from bantamweight.studies import _sources
from bantamweight.studies.execute import Progress, run

TRAINING, ATTACK = ("train", "finetune"), ("attack",)
AIMS = (TRAINING, (), TRAINING, TRAINING, TRAINING, ATTACK, ATTACK, ATTACK, ATTACK, ("transfer", "explain"))
EPOCHS = 14


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


def finished(child: int, heard: int) -> bool:
    """Whether the attempt came to its end; it may have been killed, and nothing else."""
    os.close(heard)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), status
    return status == 0


class Killer:
    """Attempts in one store after another, and how long jobs of each kind took when they were last seen whole."""

    def __init__(self, study: str, seed: int) -> None:
        self.study, self.draw, self.lasting = study, random.Random(seed), dict[str, float]()

    def uninterrupted(self, store: Path) -> None:
        """An attempt that nothing happens to."""
        child, heard = attempt(self.study, store)
        for line in lines(heard):
            self.note(line)
        assert finished(child, heard)

    def note(self, line: Heard | None) -> None:
        if line is not None and line.done == 1.0 and not line.kept:
            self.lasting[line.kind] = line.seconds

    def killed(self, store: Path, aim: tuple[str, ...]) -> Heard | None:
        """Kill an attempt at a random moment of its first job of these kinds (of its first half second when
        there are none); the last thing that was heard of it, None when it came to its end before."""
        child, heard = attempt(self.study, store)
        # A training goes on from its checkpoints, so it is killed after a few epochs; other jobs begin anew.
        share, epochs = self.draw.uniform(0.05, 0.9), self.draw.randint(0, 3) if aim == TRAINING else 0
        last, seen = None, 0
        due = None if aim else time.monotonic() + 0.5 * share  # no aim: while it reads, plans or begins
        for line in lines(heard):
            self.note(line)
            last = line or last
            if due is None and line is not None and line.kind in aim and not line.kept and line.done < 1.0:
                seen += 1
                if seen > epochs:
                    due = time.monotonic() + share * self.lasting[line.kind] / (EPOCHS if aim == TRAINING else 1)
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
    """Until every aim was met: a store whose study comes to its end in spite of us is followed by a new one."""
    import_everything()
    killer, falls, stores = Killer(study, seed), [], [home / "killed-0"]
    killer.uninterrupted(home / "whole")
    for aim in AIMS:
        while (fell := killer.killed(stores[-1], aim)) is None or not (aim == () or fell.kind in aim):
            falls += [] if fell is None else [fell]
            stores += [home / f"killed-{len(stores)}"] if fell is None else []
            assert len(stores) < 5, falls
        falls.append(fell)
    for store in stores:
        finally_whole = attempt(study, store)
        for _ in lines(finally_whole[1]):
            pass
        assert finished(*finally_whole)
    print(json.dumps({"falls": falls, "stores": [store.name for store in stores]}))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
