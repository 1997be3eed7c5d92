"""Accuracy against MACs on CIFAR-10 (JPEG), for criteria of channels and for torch-pruning's own pruner.

Every cut starts from the same public ResNet-20, has its batch norm recalibrated, and is fine-tuned by the same recipe
on the same images; all are judged on the same test images, so every claim is paired. `all` cuts every coupled group,
`inner` only the channels inside blocks. torch-pruning cuts `inner` as well: the shortcuts that pad are beyond its trace
(it shifts their channels). It goes in 190 small steps and scores what is left before each, until its MACs are at or
below the target; ours go to what it reached, so that no one is given more, in `--cuts` steps that are scored alike. How
a criterion's cut is allocated, and which of ours is held against the peer, is chosen on validation images.
"""

from __future__ import annotations

import argparse
import io
import time
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace

import numpy as np
import torch
from _scene import variant as shared_model
from _table import columns, head, note, row
from torch import nn

from bantamweight import rng, stats
from bantamweight.compression import compress_channels, coupled, cut_channels, gather, recalibrate
from bantamweight.data import Data, Split, load
from bantamweight.models import profile
from bantamweight.parts import configure
from bantamweight.predict import logits_of
from bantamweight.recipes.prune import tune
from bantamweight.variants import Variant, build

CRITERIA = ("l1_channels", "random_channels", "bn_scale", "taylor", "fpgm", "lamp_channels", "group_norm")
ALLOCATIONS = ("global", "local", "per_mac")
PEER = "torch-pruning"


@dataclass(frozen=True, eq=False)
class Run:
    """One cut with one seed: who was right on which test image before and after fine-tuning, and how many on `val`."""

    macs: float
    val: float
    parameters: int
    before: np.ndarray
    after: np.ndarray
    seconds: float


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    add = parser.add_argument
    add("--shares", nargs="+", type=float, default=[0.7, 0.5, 0.3], help="of the dense net's MACs")
    add("--criteria", nargs="+", default=list(CRITERIA), help="NAME, or NAME:ALLOCATION to choose none")
    add("--scopes", nargs="+", choices=["all", "inner"], default=["inner"], help="which groups ours cut")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of random scores, calibration images and fine-tuning")
    add("--images", type=int, default=8000, help="training images of each fine-tuning")
    add("--cuts", type=int, default=10, help="steps to the target, each scored on what the last one left")
    add("--epochs", type=int, default=2, help="of fine-tuning; 0 leaves it out")
    add("--rate", type=float, default=0.01, help="highest rate of SGD with one cycle")
    add("--calibration", type=int, default=512, help="images that Taylor is shown")
    add("--validation", type=int, default=2000, help="images by which each criterion's allocation is chosen")
    add("--n", type=int, default=8000, help="test images")


def main(chosen: argparse.Namespace) -> None:
    """The curves, then the claims."""
    dense, data = shared_model("resnet20"), load("cifar10_jpeg")
    test = data.splits["test"].take(slice(0, chosen.n))
    right = _right(dense, test)
    head(
        "Accuracy against MACs, ResNet-20 on CIFAR-10 (JPEG)",
        f"dense {right.mean():.2%} of n = {len(test)}",
        f"fine-tuning {chosen.epochs} epochs of {chosen.images} images, SGD one cycle to {chosen.rate:g}",
        f"seeds {', '.join(map(str, chosen.seeds))}, {chosen.cuts} steps to each cut of ours",
    )
    started = time.perf_counter()
    runs: dict[tuple[float, str], list[Run]] = {}
    columns(
        "target",
        "criterion:allocation (scope)",
        " MACs",
        " parameters",
        " after the cut",
        " tuned, mean",
        " least to most",
        " s a run",
    )
    for share in chosen.shares:
        runs |= _at(share, dense, data, test, chosen)
    print(f"\n{time.perf_counter() - started:.0f} s in all.\n", flush=True)
    _claims(runs, right, chosen)


def _at(
    share: float, dense: Variant, data: Data, test: Split, chosen: argparse.Namespace
) -> dict[tuple[float, str], list[Run]]:
    """Every contestant at one target: torch-pruning first, the others at what it reached."""
    peer, reached = _theirs(dense, share)
    found: dict[tuple[float, str], list[Run]] = {}
    names = [PEER, *(f"{name} ({scope})" for scope in chosen.scopes for name in chosen.criteria)]
    for asked in names:
        name = asked if asked == PEER else _with_allocation(asked, dense, data, reached, chosen)
        runs = []
        for seed in chosen.seeds:
            begun = time.perf_counter()
            train = _sample(data.splits["train"], chosen.images, seed)
            cut = peer if name == PEER else _ours(name, dense, reached, train, seed, chosen)
            cut = recalibrate(cut, train.images[:2048], seed=seed, name=name)
            val = data.splits["val"].take(slice(0, chosen.validation))
            runs.append(_judged(cut, replace(data, splits={"train": train}), val, test, seed, chosen, begun))
            note(f"{share:g} {name} seed {seed}: {runs[-1].before.mean():.2%} to {runs[-1].after.mean():.2%}")
        found[share, name] = runs
        _line(share, name, runs, dense)
    return found


def _line(share: float, name: str, runs: list[Run], dense: Variant) -> None:
    whole = profile(build(dense), dense.input_shape).macs
    tuned = [float(run.after.mean()) for run in runs]
    row(
        f"{share:g}",
        name,
        f"{np.mean([run.macs for run in runs]) / whole:.4f}",
        f"{np.mean([run.parameters for run in runs]):,.0f}",
        f"{np.mean([run.before.mean() for run in runs]):.2%}",
        f"{np.mean(tuned):.2%}",
        f"{min(tuned):.2%} to {max(tuned):.2%}",
        f"{np.mean([run.seconds for run in runs]):.0f}",
    )


def _sample(split: Split, count: int, seed: int) -> Split:
    return split.take(torch.from_numpy(rng.generator(seed, "fine-tuning images").permutation(len(split))[:count]))


def _with_allocation(asked: str, dense: Variant, data: Data, macs: int, chosen: argparse.Namespace) -> str:
    """The name with the allocation that is best on validation images before any fine-tuning, with the first seed."""
    part, _, scope = asked.partition(" ")
    if ":" in part:
        return asked
    train = _sample(data.splits["train"], chosen.images, chosen.seeds[0])
    judged = data.splits["val"].take(slice(0, chosen.validation))

    def right(name: str) -> int:
        cut = _ours(name, dense, macs, train, chosen.seeds[0], chosen)
        return int(_right(recalibrate(cut, train.images[:2048]), judged).sum())

    return max((f"{part}:{how} {scope}" for how in ALLOCATIONS), key=right)


def _inner(dense: Variant) -> list[str]:
    """Layers whose channels stay inside a block."""
    return [group.name for group in coupled(dense) if not group.reason and len(group.of("out")) == 2]


def _ours(name: str, dense: Variant, macs: int, train: Split, seed: int, chosen: argparse.Namespace) -> Variant:
    asked, _, scope = name.partition(" ")
    part, _, how = asked.partition(":")
    settings: Mapping[str, object] = {"seed": seed} if part == "random_channels" else {}
    criterion = configure("compression", {"use": part, **settings}).make()
    few = train.take(slice(0, chosen.calibration))
    inner, cut = set(_inner(dense)), dense
    whole = profile(build(dense), dense.input_shape).macs
    for step in range(1, chosen.cuts + 1):
        goal = macs if step == chosen.cuts else round(whole - (whole - macs) * step / chosen.cuts)
        able = [group.name for group in coupled(cut) if not group.reason]
        evidence = gather(build(cut), criterion.needs, few.images, few.labels)
        layers = [name for name in able if name in inner] if scope == "(inner)" else able
        cut, _ = compress_channels(
            cut, criterion, target={"macs": goal}, allocate=how or "global", layers=layers, evidence=evidence
        )
    return cut


def _theirs(dense: Variant, share: float) -> tuple[Variant, int]:
    """torch-pruning's magnitude pruner, global, in small steps until it is at or below the target."""
    import torch_pruning as tp

    module = build(dense).requires_grad_(True)
    inner = set(_inner(dense))
    fixed = [layer for name, layer in module.named_modules() if _makes(layer) and name not in inner]
    example = torch.rand(2, *dense.input_shape)
    budget = share * profile(module, dense.input_shape).macs
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        pruner = tp.pruner.MagnitudePruner(
            module,
            example,
            importance=tp.importance.GroupMagnitudeImportance(),
            global_pruning=True,
            pruning_ratio=0.95,
            iterative_steps=190,
            ignored_layers=fixed,
        )
        kept = _numbered(module, inner)
        while profile(module, dense.input_shape).macs > budget:
            before = profile(module, dense.input_shape).macs
            pruner.step()
            if profile(module, dense.input_shape).macs == before and pruner.current_step >= pruner.iterative_steps:
                raise SystemExit(f"torch-pruning does not reach {share:g} of the MACs")
    return _as_variant(dense, module, kept), profile(module, dense.input_shape).macs


def _makes(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Conv2d, nn.Linear))


def _numbered(module: nn.Module, inner: set[str]) -> dict[str, torch.Tensor]:
    """The filters before the cut, by which those that stay are known again."""
    return {name: module.get_submodule(name).weight.detach().clone() for name in inner}


def _as_variant(dense: Variant, module: nn.Module, before: Mapping[str, torch.Tensor]) -> Variant:
    """What torch-pruning left, as a cut of ours: the same channels, and so the same answers, which is checked."""
    gone: dict[str, list[int]] = {}
    for name, filters in before.items():
        left = {row.numpy().tobytes() for row in _columns_free(module, name)}
        gone[name] = [number for number, row in enumerate(_spread(filters)) if row.numpy().tobytes() not in left]
    removed: dict[str, dict[str, list[int]]] = {}
    for group in coupled(dense):
        for part in group.parts if gone.get(group.name) else ():
            numbers = [position for number in gone[group.name] for position in part.positions[number]]
            removed.setdefault(part.layer, {}).setdefault(part.side, []).extend(numbers)
    cut = cut_channels(dense, removed, name=PEER)
    images = torch.rand(8, *dense.input_shape)
    with torch.no_grad():
        assert torch.equal(build(cut)(images), module.eval()(images))
    return cut


def _columns_free(module: nn.Module, name: str) -> torch.Tensor:
    return _spread(module.get_submodule(name).weight.detach())


def _spread(filters: torch.Tensor) -> torch.Tensor:
    return filters.flatten(1).contiguous()


def _judged(
    cut: Variant, data: Data, val: Split, test: Split, seed: int, chosen: argparse.Namespace, begun: float
) -> Run:
    measured = profile(build(cut), cut.input_shape)
    before = after = _right(cut, test)
    tuned = cut
    if chosen.epochs:
        recipe = {"epochs": chosen.epochs, "optimizer": "sgd", "rate": chosen.rate, "weight_decay": 5e-4}
        tuned, _ = tune(cut, data, {**recipe, "schedule": "one_cycle", "batch": 128, "seed": seed})
        after = _right(tuned, test)
    seconds = time.perf_counter() - begun
    return Run(measured.macs, float(_right(tuned, val).mean()), measured.parameters, before, after, seconds)


def _right(variant: Variant, split: Split) -> np.ndarray:
    return (logits_of(build(variant), split.images).argmax(dim=1) == split.labels).numpy()


def _claims(runs: Mapping[tuple[float, str], list[Run]], dense: np.ndarray, chosen: argparse.Namespace) -> None:
    """The best of ours at each target (on validation images) against torch-pruning, random and the dense net."""
    columns("target", "pair", " seed", " difference (95%)", " p", " p after Holm")
    for share in chosen.shares:
        ours = {name: found for (at, name), found in runs.items() if at == share and name != PEER}
        best = max(ours, key=lambda name: np.mean([run.val for run in ours[name]]))
        rivals = {PEER: runs[share, PEER]} | {n: r for n, r in ours.items() if n.startswith("random") and n != best}
        rows = []
        for other, theirs in rivals.items():
            for seed, one, two in zip(chosen.seeds, ours[best], theirs, strict=True):
                rows.append((f"{best} - {other}", seed, one.after, two.after))
        rows += [
            (f"{best} - dense", seed, run.after, dense) for seed, run in zip(chosen.seeds, ours[best], strict=True)
        ]
        counts = [(int((a & ~b).sum()), int((b & ~a).sum())) for _, _, a, b in rows]
        ps = [stats.mcnemar(*pair) for pair in counts]
        for (pair, seed, _, _), (up, down), p, adjusted in zip(rows, counts, ps, stats.holm(ps), strict=True):
            low, high = stats.paired_interval(up, down, chosen.n)
            row(
                f"{share:g}",
                pair,
                seed,
                f"{(up - down) / chosen.n:+.2%} ({low:+.2%} to {high:+.2%})",
                f"{p:.3g}",
                f"{adjusted:.3g}",
            )
