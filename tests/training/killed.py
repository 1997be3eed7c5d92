"""Run by test_resume.py in a process of its own: trainings that are killed at random moments, and one that is not.

Prints JSON: digests of both ends, and how many trainings were killed while they were under way. Each training is a
fork of this process, which has imported everything and computed nothing (a fork must not inherit a thread pool).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import sklearn.datasets  # noqa: F401 (imported before the forks, because it is slow)

from bantamweight.data import load
from bantamweight.training import train
from tests.training.conftest import bits, few, small_net

EPOCHS, KILLS = 16, 5


def training(folder: Path) -> None:
    trained = train(
        small_net(),
        few(load("digits"), 200, 50),
        folder,
        epochs=EPOCHS,
        batch=32,
        rate=5e-3,
        weight_decay=0.05,
        label_smoothing=0.1,
        augment=({"use": "rotation", "degrees": 10}, {"use": "crop", "padding": 1}),
        precision="bf16",
        patience=EPOCHS,
    )
    ends = [bits(dict(trained.weights)), bits(dict(trained.last))]
    rows = [(row.epoch, row.split, row.loss, row.right, row.rate) for row in trained.history]
    (folder / "end").write_text(hashlib.sha256(repr([ends, rows, trained.best_epoch]).encode()).hexdigest())


def forked(folder: Path) -> int:
    child = os.fork()
    if child == 0:
        # A fork that fails must say so and must not go on as a second parent.
        try:
            training(folder)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return child


def main(home: Path, seed: int) -> None:
    draw = random.Random(seed)
    started = time.monotonic()
    _, status = os.waitpid(forked(home / "whole"), 0)
    assert status == 0
    lasting, killed, finished = time.monotonic() - started, 0, False
    while not finished:
        child = forked(home / "killed")
        if killed < KILLS:
            time.sleep(draw.uniform(0.05, 0.3) * lasting)
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert status in (0, signal.SIGKILL)
        finished, killed = status == 0, killed + (status == signal.SIGKILL)
    ends = {name: (home / name / "end").read_text() for name in ("whole", "killed")}
    files = sorted(path.name for path in (home / "killed").iterdir())
    print(json.dumps({**ends, "times": killed, "files": files}))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]), int(sys.argv[2]))
