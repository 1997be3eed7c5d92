"""Verdicts side by side: what each side breaks, in what time, with how many queries."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from _peers import AUTOATTACK, fastest, peer, reference, version
from _scene import Scene, asked, clock, columns, head, interleaved, row, scene, share, spread, threats

from bantamweight.recipes.attack import threat as threat_of
from bantamweight.recipes.robustness import robustness
from bantamweight.threats import Threat

THEIRS = "reference AutoAttack"


@dataclass(frozen=True)
class Run:
    """One run over all images: which stand, and everything it cost, checks and audit included."""

    seconds: float
    stands: np.ndarray
    forwards: int
    backwards: int
    said: str


def ours(of: Scene, budget: Threat, options: argparse.Namespace, protocol: str, audit: int, seed: int) -> Run:
    """From a module and images to the answer; making the oracle counts."""

    def call() -> Run:
        oracle = asked(of, options)
        answer = robustness(oracle, of.images, of.labels, budget, protocol=protocol, audit=audit, seed=seed)
        book, stands = oracle.ledger, np.isin(np.arange(len(of)), answer.survivors)
        failed = [check.name for check in answer.checks if check.state == "fail"]
        said = [f"{sum(check.state == 'pass' for check in answer.checks)} checks passed"]
        said += [f"failed: {', '.join(failed)}"] if failed else []
        if answer.audit:
            said.append(f"audit broke {answer.audit.broken} of {answer.audit.n}, at most {answer.audit.bound:.1%}")
        said += [f"escalated, {answer.escalated}"] if answer.escalated else []
        said += [f"{part.name} {part.broken}/{part.given}" for part in answer.attacks]
        return Run(0.0, stands, book.forwards + book.judged + book.probed, book.backwards, "; ".join(said))

    seconds, found = clock(call, of.device)
    return Run(seconds, found.stands, found.forwards, found.backwards, found.said)


def theirs(of: Scene, budget: Threat, size: int, seed: int) -> Run:
    """The reference's standard ensemble, its images judged again in float32."""
    seconds, (images, counted) = clock(lambda: reference(of, budget, size, seed), of.device)
    stands = of.stands(images)
    over = budget.norm.size(images - of.images).numpy() > budget.eps * (1 + 1e-4) + 1e-6
    outside = np.flatnonzero(over & of.right & ~stands).tolist()
    said = f"batch {size}" + (f"; outside the budget: {outside}" if outside else "")
    return Run(seconds, stands, counted.forwards, counted.backwards, said)


def compare(of: Scene, text: str, size: int, options: argparse.Namespace) -> None:
    """All contestants under one threat, run in turns; one row each."""
    budget = threat_of(text)

    def contestant(protocol: str, audit: int) -> Callable[[int], Run]:
        return lambda repeat: ours(of, budget, options, protocol, audit, options.seed + repeat)

    calls = {
        "fast": contestant("fast", 0),
        f"fast, audit {options.audit}": contestant("fast", options.audit),
        "autoattack": contestant("autoattack", 0),
    }
    if budget.norm.name in AUTOATTACK and peer("autoattack") is not None:
        calls[THEIRS] = lambda repeat: theirs(of, budget, size, options.seed + repeat)
    chosen = {name: call for name, call in calls.items() if any(name.startswith(one) for one in options.only)}
    runs = interleaved(chosen, options.repeats)
    for name, mine in runs.items():
        row(of.name, text, name, *_cells(of, mine, runs.get(THEIRS)))


def _cells(of: Scene, mine: list[Run], them: list[Run] | None) -> list[str]:
    taken = [run.seconds for run in mine]
    middle = float(np.median(taken))
    queries = float(np.median([run.forwards + run.backwards for run in mine]))
    counts = [str(int(run.stands.sum())) for run in mine]
    missed = extra = ratio = "-"
    if them is not None and mine is not them:
        ratio = share(taken, [run.seconds for run in them])
        missed = _rows([one.stands & ~other.stands for one, other in zip(mine, them, strict=True)], of)
        extra = _rows([~one.stands & other.stands for one, other in zip(mine, them, strict=True)], of)
    return [
        f"{counts[0] if len(set(counts)) == 1 else ', '.join(counts)} of {len(of)} ({of.right.sum()} right before)",
        *(missed, extra, spread(taken), ratio),
        f"{np.median([run.forwards for run in mine]) / len(of):.1f}",
        f"{np.median([run.backwards for run in mine]) / len(of):.1f}",
        f"{queries / middle:,.0f}",
        mine[0].said,
    ]


def _rows(masks: list[np.ndarray], of: Scene) -> str:
    """How many images are in any of the runs' masks, and which."""
    found = np.flatnonzero(np.any(masks, axis=0) & of.right).tolist()
    return f"{len(found)}: {', '.join(map(str, found))}" if found else "0"


def main(options: argparse.Namespace) -> None:
    """One table over nets and threats."""
    scenes = [scene(name, options) for name in options.nets]
    head(options, "Verdicts beside the reference AutoAttack (standard)", [version("autoattack")])
    sizes = {}
    for of in scenes:
        sizes[of.name], said = fastest(of)
        print(f"{said}; the reference takes {sizes[of.name]}\n", flush=True)
    print(
        f"Median (least to most) of {options.repeats} interleaved runs, seeds {options.seed} and up; missed: broken by "
        "the reference and not by the row, in any run. Forwards and backwards per image are all there were, judging, "
        "checks and audit included; a query is either.\n"
    )
    columns(
        *("net", "threat", "by", " robust", "missed", "extra", " seconds", " of the reference's"),
        *(" forwards", " backwards", " queries/s", "first run"),
    )
    for of in scenes:
        for text in threats(of.name, options):
            compare(of, text, sizes[of.name], options)
        torch.cuda.empty_cache() if of.device.type == "cuda" else None
