"""What each speed-up buys, and what a run needs of memory."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _scene import (
    WHOLE,
    Scene,
    asked,
    clock,
    columns,
    head,
    interleaved,
    note,
    row,
    scene,
    shared,
    spread,
    threats,
    variant,
)

from bantamweight.attacks._cascade import Cascade
from bantamweight.oracle import Ledger, Oracle
from bantamweight.parts import configure
from bantamweight.predict import SMALLER, TILE
from bantamweight.recipes.attack import threat as threat_of
from bantamweight.recipes.evaluate import judged_images
from bantamweight.recipes.robustness import robustness
from bantamweight.variants import build

LARGE = 1 << 40
"""Bytes per image of a net that is anything but small."""


def full_tiles(asked: Oracle) -> None:
    """No batch but the full tile, in one loop with all threads, as if no other size agreed and the net were large."""
    large_net(asked)
    asked.tiles["judge"] = (TILE,)
    asked.agreed.update(dict.fromkeys(itertools.product(SEEN, SMALLER), False))


def large_net(asked: Oracle) -> None:
    """Neither larger tiles nor several loops at a time."""
    asked.tiles["volume"] = (LARGE, 0)


SEEN = [seen + precision for seen in ("gradients", "scores", "labels") for precision in ("fp32", "bf16")]


@dataclass(frozen=True)
class Switch:
    """A speed-up turned off: settings of the oracle, what it remembers, or another cascade."""

    oracle: dict[str, Any] = field(default_factory=dict)
    memory: Callable[[Oracle], None] = lambda _: None
    plan: Callable[[Cascade], Cascade] = lambda plan: plan


def to_the_end(plan: Cascade) -> Cascade:
    """Broken images leave between attacks only, as in other libraries."""
    return replace(plan, until="budget")


def without_hope(plan: Cascade) -> Cascade:
    """No row retires because its curve has flattened."""
    return replace(plan, parts=tuple(replace(part, stop=None) for part in plan.parts))


SWITCHES = {
    "everything on": Switch(),
    "batch norm not folded": Switch({"fold": False}),
    "contiguous, not channels-last": Switch({"channels_last": False}),
    "nothing fused into convolutions": Switch({"fuse": False}),
    "float32 gradients": Switch({"precision": "fp32"}),
    "small nets as large ones": Switch(memory=large_net),
    "full tiles only": Switch(memory=full_tiles),
    "hopeless rows stay": Switch(plan=without_hope),
    "broken rows stay to the attack's end": Switch(plan=to_the_end),
    "everything off": Switch(
        {"fold": False, "channels_last": False, "fuse": False, "precision": "fp32"},
        full_tiles,
        lambda plan: to_the_end(without_hope(plan)),
    ),
}


@dataclass(frozen=True)
class Run:
    """One run with some speed-up off."""

    seconds: float
    robust: int
    book: Ledger


def attacked(of: Scene, text: str, switch: Switch, options: argparse.Namespace) -> Run:
    """The protocol without checks, from a module to verdicts."""
    plan = switch.plan(configure("protocols", options.protocol).make(threat_of(text)))

    def call() -> tuple[Ledger, int]:
        oracle = asked(of, options, **switch.oracle)
        switch.memory(oracle)
        answer = robustness(
            oracle, of.images, of.labels, text, protocol=plan, checks="none", seed=options.seed, batch=options.batch
        )
        return oracle.ledger, len(answer.survivors)

    seconds, (book, robust) = clock(call, of.device)
    return Run(seconds, robust, book)


def parts(options: argparse.Namespace) -> None:
    """One row per speed-up: how much longer the protocol takes without it."""
    scenes = [scene(name, options) for name in options.nets]
    asked_for = ("everything on", *(options.off or [""]))
    switches = {name: switch for name, switch in SWITCHES.items() if name.startswith(asked_for)}
    head(options, f"What each speed-up buys: `{options.protocol}`, checks aside")
    print(f"Medians (least to most) of {options.repeats} interleaved runs.\n")
    columns(
        *("net", "threat", "", " seconds", " times everything on", " robust"),
        *(" forwards an image", " backwards an image", " rows that filled up tiles"),
    )
    for of in scenes:
        text = threats(of.name, options)[0]
        calls: dict[str, Callable[[int], Run]] = {
            name: lambda _, switch=switch: attacked(of, text, switch, options)  # type: ignore[misc]  # noqa: B023
            for name, switch in switches.items()
        }
        runs = interleaved(calls, options.repeats)
        first = float(np.median([run.seconds for run in runs["everything on"]]))
        for name, found in runs.items():
            taken, book = [run.seconds for run in found], found[0].book
            idle = book.padding / max(book.padding + book.forwards, 1)
            row(
                *(of.name, text, name, spread(taken), f"{np.median(taken) / first:.2f}", found[0].robust),
                *(f"{book.forwards / len(of):.1f}", f"{book.backwards / len(of):.1f}", f"{idle:.0%}"),
            )


FEW = 256
"""Images in the runs that show whether memory grows with steps."""


def peak_bytes() -> int:
    """The most memory this process has had; of itself, not of what it was forked from."""
    try:
        status = Path("/proc/self/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def peak(options: argparse.Namespace) -> None:
    """In a process of its own: one run with `out`, then the peak. Images beyond the test are its mirror images."""
    net = variant(options.nets[0])
    _, split, _ = judged_images(net, str(shared() / "data" / "cifar10" / "test.parquet"))
    rows = torch.arange(options.n) % len(split)
    images, labels = split.images[rows], split.labels.long()[rows]
    again = slice(len(split), None)
    images[again] = images[again].flip(-1)
    del split  # only the images asked for count
    before = peak_bytes()
    which: dict[str, Any] = {"protocol": options.protocol}
    if not options.protocol:
        which = {"attack": {"use": "pgd", "steps": options.steps[0]}}
    with tempfile.TemporaryDirectory(dir=options.folder) as home:
        answer = robustness(
            build(net),
            images,
            labels,
            options.threat[0],
            checks="probe" if options.protocol else "none",
            precision=options.precision,
            out=Path(home) / "out",
            **which,
        )
    found = [before / 1e6, peak_bytes() / 1e6, answer.seconds, len(answer.survivors)]
    print(" ".join(f"{value:.1f}" for value in found))


def memory(options: argparse.Namespace) -> None:
    """A process per run, so that none inherits another's peak; two threads that meet make single runs differ."""
    head(options, "Peak memory, verdicts and images written to a folder")
    print(f"Medians (least to most) of {options.repeats} runs; what is above the first row is of the medians.\n")
    columns("net", "run", " images", " MB at start", " peak MB", " MB above the first row", " seconds", " robust")
    for name in options.nets:
        text = threats(name, options)[0]
        # A budget that breaks next to nothing: every image takes every step.
        faint = f"{text.partition(' ')[0]} 0.0001"
        many = [(f"fast, {text}", n, text, ["--protocol", "fast"]) for n in options.sizes]
        long = [(f"pgd(steps={steps}), {faint}", FEW, faint, ["--steps", str(steps)]) for steps in options.steps]
        for group in (many, long):
            first = None
            for label, n, budget, more in group:
                note(f"{name}, {label}, {n} images")
                words = ["--nets", name, "--n", str(n), "--threads", str(torch.get_num_threads()), "--threat", budget]
                words += ["--folder", str(options.folder or Path.cwd())]
                words += [] if options.precision is None else ["--precision", options.precision]
                runs = [_in_a_process([*words, *more]) for _ in range(options.repeats)]
                at_start, peaks, seconds, robust = (list(column) for column in zip(*runs, strict=True))
                most = float(np.median(peaks))
                first = most if first is None else first
                images = f"{n:,}" + (" (the last ones mirrored)" if n > WHOLE else "")
                between = f"{most:.0f} ({min(peaks):.0f} to {max(peaks):.0f})"
                row(
                    *(name, label, images, f"{np.median(at_start):.0f}", between),
                    *(f"{most - first:+.0f}", spread(seconds), f"{robust[0]:.0f}"),
                )


def _in_a_process(words: list[str]) -> list[float]:
    program = [sys.executable, str(Path(__file__).with_name("attacks.py")), "peak", *words]
    said = subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(word) for word in said.split()[-4:]]
