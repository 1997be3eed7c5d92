"""Smallest perturbations side by side: medians, paired by image, and time."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from _peers import Peer, fastest, peer, version
from _scene import Scene, asked, clock, columns, head, interleaved, note, row, scene, share, spread

from bantamweight.attacks._core import run
from bantamweight.attacks._verdicts import Verdicts
from bantamweight.oracle import Ledger
from bantamweight.parts import configure
from bantamweight.predict import logits_of
from bantamweight.threats import NORMS, Threat, sizes
from bantamweight.types import Images

ORDER = {"l0": 0, "l1": 1, "l2": 2, "linf": math.inf}
TORCHATTACKS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
LIBRARIES = ("adv_lib.attacks", "foolbox", "torchattacks")
RESAMPLES = 2000


@dataclass(frozen=True)
class Duel:
    """One attack of ours and those it is compared with, at settings that cost the same."""

    family: str
    norm: str
    spec: dict[str, Any]
    peers: tuple[Peer, ...]
    starts: bool = False

    def __str__(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.spec.items() if key != "use")
        return f"{self.spec['use']}({said})"


@dataclass(frozen=True)
class Run:
    """Sizes of one run by norm (0: wrong before; infinite: not broken), seconds, and queries per attacked image."""

    sizes: dict[str, np.ndarray]
    seconds: float
    forwards: float
    backwards: float
    judged: float = 0.0

    @property
    def cost(self) -> str:
        """Forwards and backwards, and how many times the judge was asked."""
        judged = f", {self.judged:,.0f} judged" if self.judged else ""
        return f"{self.forwards:,.0f} / {self.backwards:,.0f}{judged}"


def advlib(name: str, **settings: Any) -> Peer:
    """An attack of adv-lib."""
    return Peer("adv_lib.attacks", name, settings)


def fixed(steps: int) -> Iterator[Duel]:
    """DDN and FMN: as many gradients for both, to the last one."""
    for levels in (None, 256):
        spec = {"use": "ddn", "steps": steps, **({} if levels is None else {"levels": levels})}
        yield Duel("fixed", "l2", spec, (advlib("ddn", steps=steps, levels=levels),))
    for norm, order in ORDER.items():
        yield Duel("fixed", norm, {"use": "fmn", "steps": steps}, (advlib("fmn", norm=order, steps=steps),))


def classic() -> Iterator[Duel]:
    """C&W, DeepFool and FAB, each library at the same steps; torchattacks' C&W has one round, as long as all five."""
    again = {"steps": 200, "initial_const": 0.1, "binary_search_steps": 5}
    yield Duel(
        "classic",
        "l2",
        {"use": "cw", "steps": 200, "rounds": 5, "const": 0.1},
        (
            advlib("carlini_wagner_l2", max_iterations=200, initial_const=0.1, binary_search_steps=5),
            Peer("foolbox", "L2CarliniWagnerAttack", again),
            Peer("torchattacks", "CW", {"steps": 1000}),
        ),
    )
    threshold = advlib("carlini_wagner_linf", max_iterations=100, learning_rate=0.005)
    yield Duel("classic", "linf", {"use": "cw", "steps": 100}, (threshold,))
    for norm, name in (("l2", "L2DeepFoolAttack"), ("linf", "LinfDeepFoolAttack")):
        walk = {"steps": 50, "overshoot": 0.02}
        also = (Peer("torchattacks", "DeepFool", walk),) if norm == "l2" else ()
        rivals = advlib("df", norm=ORDER[norm], **walk), Peer("foolbox", name, walk), *also
        yield Duel("classic", norm, {"use": "deepfool", "steps": 50}, rivals)
    for norm, called in TORCHATTACKS.items():
        # What torchattacks returns lies within eps, and L1 it knows by name only.
        also = (Peer("torchattacks", "FAB", {"norm": called, "eps": 1e6, "steps": 100}),) if norm != "l1" else ()
        order = ORDER[norm]
        untargeted = advlib("fab", norm=order, n_iter=100, restarts=1)
        yield Duel("classic", norm, {"use": "fab", "steps": 100}, (untargeted, *also))
        targeted = advlib("fab", norm=order, n_iter=100, targeted_restarts=True)
        yield Duel("classic", norm, {"use": "fab_t", "steps": 100}, (targeted,))


def decision(walks: int, hops: int) -> Iterator[Duel]:
    """Attacks that see labels only; both sides begin at the same image of another class."""
    foolish = Peer("foolbox", "BoundaryAttack", {"steps": walks})
    yield Duel("decision", "l2", {"use": "boundary", "steps": walks}, (foolish,), starts=True)
    for norm in ("l2", "linf"):
        foolish = Peer("foolbox", "HopSkipJumpAttack", {"steps": hops, "constraint": norm})
        yield Duel("decision", norm, {"use": "hop_skip_jump", "steps": hops}, (foolish,), starts=True)


def duels(options: argparse.Namespace) -> list[Duel]:
    """Those of the families, names and norms that were asked for."""
    every = [duel for steps in options.steps for duel in fixed(steps)]
    every += [*classic(), *decision(options.walks, options.hops)]
    wanted = [duel for duel in every if duel.family in options.family]
    wanted = [duel for duel in wanted if not options.attacks or duel.spec["use"] in options.attacks]
    return [duel for duel in wanted if not options.norms or duel.norm in options.norms]


def others(of: Scene) -> Images:
    """For each image the next one that the net takes for another class than the label."""
    said = logits_of(of.module, of.images.to(of.device)).argmax(dim=1).cpu()
    n = len(of)
    ahead = (torch.arange(n)[:, None] + torch.arange(1, n)) % n
    first = (said[ahead] != of.labels[:, None]).float().argmax(dim=1)
    return of.images[ahead[torch.arange(n), first]]


def measured(of: Scene, points: Images, broken: np.ndarray) -> dict[str, np.ndarray]:
    """Sizes by norm, once more with L0 counted in single values, as adv-lib does."""
    delta = points - of.images
    found = {name: size.double().numpy() for name, size in sizes(delta).items()}
    found["l0 values"] = (delta != 0).flatten(1).sum(dim=1).double().numpy()
    return {name: np.where(of.right, np.where(broken, size, np.inf), 0.0) for name, size in found.items()}


def ours(of: Scene, duel: Duel, starts: Images | None, seed: int, options: argparse.Namespace) -> Run:
    """Our attack, from a module and images to verdicts."""
    threat, rows = Threat(NORMS[duel.norm], math.inf), max(int(of.right.sum()), 1)
    attack = configure("attacks", duel.spec).make(threat)

    def call() -> tuple[Ledger, Verdicts]:
        oracle = asked(of, options)
        found = run(attack, oracle, of.images, of.labels, threat, until="converged", seed=seed, starts=starts)
        return oracle.ledger, found

    seconds, (book, verdicts) = clock(call, of.device)
    found = measured(of, verdicts.images, verdicts["success"])
    return Run(found, seconds, book.forwards / rows, book.backwards / rows, book.judged / rows)


def theirs(of: Scene, rival: Peer, size: int, starts: Images | None, seed: int, repeat: int) -> Run | None:
    """A peer's attack on the images that are right, judged in float32; None where it raises, which is noted."""
    rows = torch.from_numpy(np.flatnonzero(of.right))
    try:
        seconds, (points, counted) = clock(lambda: rival.run(of, rows, size, starts, seed + repeat), of.device)
    except Exception as error:  # whatever it is, the other rows go on
        note(f"{rival} raised {type(error).__name__}: {error}; its row is left out")
        return None
    found = measured(of, points, of.right & ~of.stands(points))
    return Run(found, seconds, counted.forwards / len(rows), counted.backwards / len(rows))


def ratio(mine: np.ndarray, other: np.ndarray, seed: int = 0) -> str:
    """The ratio of two medians, with the 95% percentile interval of a bootstrap over images."""
    picks = np.random.default_rng(seed).integers(0, len(mine), (RESAMPLES, len(mine)))
    with np.errstate(invalid="ignore", divide="ignore"):
        middle = np.median(mine) / np.median(other)
        drawn = np.median(mine[picks], axis=1) / np.median(other[picks], axis=1)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return "-"
    low, high = np.quantile(drawn, (0.025, 0.975), method="nearest")
    return f"{middle:.4f} [{low:.4f}, {high:.4f}]"


def compare(of: Scene, duel: Duel, size: int, options: argparse.Namespace) -> None:
    """One duel: a row per peer, and one more where L0 can be counted in two ways."""
    rivals = [rival for rival in duel.peers if rival.there]
    starts = others(of) if duel.starts else None
    calls: dict[str, Callable[[int], Run | None]] = {
        "ours": lambda repeat: ours(of, duel, starts, options.seed + repeat, options)
    }
    for rival in rivals:
        calls[str(rival)] = partial(theirs, of, rival, size, starts, options.seed)
    runs = {name: [run for run in found if run] for name, found in interleaved(calls, options.repeats).items()}
    for rival in [rival for rival in rivals if runs[str(rival)]]:
        for norm in (duel.norm, "l0 values") if duel.norm == "l0" else (duel.norm,):
            row(of.name, duel, norm, rival, *_cells(of, norm, runs["ours"], runs[str(rival)]))


def _cells(of: Scene, norm: str, mine: list[Run], them: list[Run]) -> list[str]:
    one, other = mine[0].sizes[norm], them[0].sizes[norm]
    seconds = [run.seconds for run in mine], [run.seconds for run in them]
    return [
        f"{np.median(one):.5g} / {np.median(other):.5g}",
        ratio(one, other),
        f"{ratio(one[of.right], other[of.right])} (n = {of.right.sum()})",
        f"{np.isinf(one).sum()} / {np.isinf(other).sum()}",
        *(spread(seconds[0]), spread(seconds[1]), share(*seconds)),
        *(mine[0].cost, them[0].cost),
    ]


def main(options: argparse.Namespace) -> None:
    """One table over nets and duels."""
    scenes = [scene(name, options) for name in options.nets]
    chosen = duels(options)
    needed = [name for name in LIBRARIES if any(one.library == name for duel in chosen for one in duel.peers)]
    libraries = [version(name) for name in needed if peer(name)]
    blind = all(duel.family == "decision" for duel in chosen)
    gradients = "no gradients" if blind else "our gradients in float32, which every attack here asks for"
    head(options, "Smallest perturbations beside other libraries", libraries, gradients)
    rows = []
    for of in scenes:
        size, said = fastest(of)
        print(f"{said}; peers take {size}\n", flush=True)
        rows += [(of, duel, size) for duel in chosen]
    print(
        f"Sizes of the first of {options.repeats} interleaved runs, judged in float32: 0 where the net is wrong "
        "before, infinite where nothing was found; seconds are medians (least to most). Peers are given the images "
        "that are right; forwards and backwards are per such image; ours beside them the judge's looks.\n"
    )
    columns(
        *("net", "ours", "norm", "peer", " medians, ours / peer", " ratio [95%]", " ratio, right before [95%]"),
        *(" not broken, ours / peer", " seconds", " peer's seconds", " of the peer's"),
        *(" forwards / backwards", " peer's"),
    )
    for of, duel, size in rows:
        compare(of, duel, size, options)
