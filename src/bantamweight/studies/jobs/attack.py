"""One cell of the attack grid: one variant, one attack, one threat, one target."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bantamweight.attacks._core import run
from bantamweight.attacks._verdicts import Verdicts
from bantamweight.facts import Fact
from bantamweight.judging.robustness import robustness_facts
from bantamweight.oracle import oracle
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.types import Images, Labels
from bantamweight.variants import build

__all__ = ["aim", "attack"]


def aim(place: Place, target: str, labels: Labels) -> Labels | None:
    """The target class of every row, or None for an untargeted attack."""
    return None if target == "none" else torch.full_like(labels, place.data.classes.index(target))


def attack(
    place: Place,
    *,
    attack: dict[str, Any],
    threat: dict[str, Any],
    target: str,
    split: str,
    n: int,
    until: Literal["first", "budget", "converged"],
    precision: Literal["fp32", "bf16"],
    keep: int,
    seed: int,
) -> list[Fact]:
    """Facts of judging.robustness and attack_seconds; `verdicts.parquet`, and images of the first `keep` rows drawn."""
    chosen = split_of(place, split)
    index = draw(len(chosen), n)
    images, labels = chosen.floats(index), chosen.labels[index]
    budget = part(place, "threats", threat)
    method = part(place, "attacks", attack, budget)
    judge = oracle(build(place.variant(), trust=place.trust), precision=precision, device=place.device)
    started = time.perf_counter()
    targets = aim(place, target, labels)
    clean = load_file(place.inputs["clean"] / "logits.safetensors")["logits"][index]
    verdicts = run(method, judge, images, labels, budget, targets=targets, until=until, seed=seed, clean=clean)
    seconds = time.perf_counter() - started
    stored = torch.isin(index, draw(len(chosen), min(keep, n)))
    _write(place.out, verdicts, index, images, stored)
    measured = Fact(metric="attack_seconds", kind="time", value=seconds, n=n, unit="s", origin="measured")
    return [*robustness_facts(verdicts.columns), measured]


def _write(out: Path, verdicts: Verdicts, index: Tensor, images: Images, stored: Tensor) -> None:
    columns = {"index": index.numpy(), "stored": stored.numpy(), **verdicts.columns}
    pq.write_table(pa.table(columns), out / "verdicts.parquet", compression="zstd")
    if stored.any():
        kept = {"index": index[stored], "original": images[stored], "adversarial": verdicts.images[stored]}
        save_file(kept, out / "images.safetensors")
