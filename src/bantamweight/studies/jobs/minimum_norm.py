"""The smallest perturbation of each image of one variant that a minimum-norm attack finds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bantamweight.attacks._cascade import cascade
from bantamweight.facts import Fact
from bantamweight.judging.distances import distance_facts, needed_eps
from bantamweight.parts import find
from bantamweight.recipes.robustness import robustness
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.studies._shown import show as drawn
from bantamweight.studies.jobs.protocol import attack_seconds, heard, keep
from bantamweight.types import Images, Int64

__all__ = ["minimum_norm"]


def minimum_norm(
    place: Place, *, attack: dict[str, Any], norm: str, split: str, n: int, show: int, seed: int
) -> list[Fact]:
    """Facts of judging.distances and attack_seconds; verdicts, every adversarial image, pictures of `show` of them.

    The pictures are of images at even steps from the smallest distance to the largest.
    """
    chosen = split_of(place, split)
    index = draw(len(chosen), n)
    budget = find("threats", norm)(eps=math.inf)
    made = part(place, "attacks", attack, budget)
    answer = robustness(
        place.variant(),
        chosen.images[index],
        chosen.labels[index],
        budget,
        protocol=cascade(made.name, made, until="converged"),
        checks="none",
        precision="fp32",
        seed=seed,
        out=place.scratch / "verdicts",
        classes=len(place.data.classes),
        device=place.device,
        trust=place.trust,
        heard=heard(place),
    )
    images = keep(place, answer, index)
    _draw(place, answer.columns, images, index, show, norm, split)
    return [*distance_facts(answer.columns, norm, len(place.data.classes)), attack_seconds(answer, n)]


def _draw(
    place: Place,
    columns: dict[str, np.ndarray],
    images: Images,
    index: Int64[Tensor, " n"],
    count: int,
    norm: str,
    split: str,
) -> None:
    """Pictures of successes at even steps of their rank by distance."""
    broken = np.flatnonzero(columns["success"])
    ordered = broken[np.argsort(needed_eps(columns, norm)[broken], kind="stable")]
    ranks = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).round().astype(int))
    rows = index[torch.from_numpy(ordered[ranks])] if len(ordered) else index[:0]
    drawn(place, columns, images, index, rows, norm, split)
