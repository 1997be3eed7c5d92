"""One cell of protocols: one variant under one cascade of attacks, with its checks, its audit and its evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bantamweight.facts import Fact
from bantamweight.judging.protocol import protocol_facts
from bantamweight.judging.robustness import robustness_facts
from bantamweight.recipes.robustness import Robustness, robustness
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.studies._shown import show
from bantamweight.types import Images, Int64

__all__ = ["attack_seconds", "heard", "keep", "protocol"]

SHOWN = 8
"""Images drawn before and after: the same ones at every budget and of every variant."""


def protocol(
    place: Place,
    *,
    protocol: dict[str, Any],
    threat: dict[str, Any],
    targeted: str,
    audit: int,
    checks: Literal["probe", "full", "none"],
    split: str,
    n: int,
    precision: Literal["fp32", "bf16"],
    seed: int,
) -> list[Fact]:
    """Facts of judging.robustness and judging.protocol, and attack_seconds (of the attacks, checks apart).

    Writes `result.json`, `verdicts.parquet`, every adversarial image and a few pictures; goes on where it was killed.
    """
    chosen = split_of(place, split)
    index = draw(len(chosen), n)
    budget = part(place, "threats", threat)
    answer = robustness(
        place.variant(),
        chosen.images[index],
        chosen.labels[index],
        budget,
        protocol=part(place, "protocols", protocol, budget),
        targets=_targets(place, targeted),
        audit=audit,
        checks=checks,
        starts=_starts(place, index),
        precision=precision,
        seed=seed,
        out=place.scratch / "verdicts",
        classes=len(place.data.classes),
        device=place.device,
        trust=place.trust,
        heard=heard(place),
    )
    images = keep(place, answer, index)
    show(place, answer.columns, images, index, draw(len(chosen), min(SHOWN, n)), budget.norm.name, split)
    facts = robustness_facts(answer.columns) + protocol_facts(answer.summary())
    return [*facts, attack_seconds(answer, n)]


def heard(place: Place) -> Callable[[str, int, int], None]:
    """Progress as a protocol tells it, as a job tells it."""
    return lambda name, done, total: place.tell(done / max(1, total), name)


def keep(place: Place, answer: Robustness, index: Int64[Tensor, " n"]) -> Images:
    """Leave `result.json`, `verdicts.parquet` and `images.safetensors` as this job's result; returns the images."""
    assert answer.folder is not None
    images = torch.cat([load_file(path)["images"] for path in sorted(answer.folder.glob("images-*.safetensors"))])
    save_file({"index": index, "adversarial": images}, place.out / "images.safetensors")
    columns = {"index": index.numpy(), "stored": torch.ones(len(index), dtype=torch.bool).numpy(), **answer.columns}
    pq.write_table(pa.table(columns), place.out / "verdicts.parquet", compression="zstd")
    said = {**answer.summary(), "folder": None}
    (place.out / "result.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    return images


def attack_seconds(answer: Robustness, n: int) -> Fact:
    """How long the attacks took, shards that an earlier, killed process left included."""
    seconds = sum(one.seconds for one in answer.attacks)
    return Fact(metric="attack_seconds", kind="time", value=seconds, n=n, unit="s", origin="measured")


def _targets(place: Place, targeted: str) -> int | Literal["least-likely", "all"] | None:
    if targeted in ("least-likely", "all"):
        return targeted  # type: ignore[return-value]
    return None if targeted == "none" else place.data.classes.index(targeted)


def _starts(place: Place, index: Int64[Tensor, " n"]) -> Images | None:
    """The parent's adversarial images of the same rows."""
    if "parent" not in place.inputs:
        return None
    held = load_file(place.inputs["parent"] / "images.safetensors")
    assert torch.equal(held["index"], index)
    return held["adversarial"]
