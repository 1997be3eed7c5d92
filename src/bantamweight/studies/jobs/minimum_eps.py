"""The smallest budget that breaks each image of one variant, and the budget that breaks half of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bantamweight.attacks._smallest import smallest_eps
from bantamweight.facts import Fact
from bantamweight.judging.robustness import NORMS, half_fact
from bantamweight.oracle import oracle
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.variants import build

__all__ = ["minimum_eps"]


def minimum_eps(
    place: Place, *, attack: dict[str, Any], threat: dict[str, Any], rounds: int, split: str, n: int, seed: int
) -> list[Fact]:
    """Fact eps_for_half over all `n` images (a wrong one needs 0); `smallest.parquet` with every image's budget."""
    chosen = split_of(place, split)
    index = draw(len(chosen), n)
    most = part(place, "threats", threat)
    found = smallest_eps(
        part(place, "attacks", attack, most),
        oracle(build(place.variant(), trust=place.trust), device=place.device),
        chosen.floats(index),
        chosen.labels[index],
        most,
        rounds=rounds,
        seed=seed,
    )
    pq.write_table(pa.table({"index": index.numpy(), "eps": found}), place.out / "smallest.parquet", compression="zstd")
    note = f"smallest budget seen to succeed, by bisection up to {most.eps:g}"
    return [half_fact("eps_for_half", found, unit=NORMS[most.norm.name], note=note)]
