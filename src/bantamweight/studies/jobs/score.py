"""How far the maps of one variant may be trusted: metrics beside baselines, and the gate of the parameters."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.recipes.scores import score_maps
from bantamweight.studies._place import Place, draw, part, split_of
from bantamweight.variants import build

__all__ = ["score"]


def score(
    place: Place,
    *,
    explainers: Sequence[dict[str, Any]],
    metrics: Sequence[dict[str, Any]],
    split: str,
    n: int,
    seed: int,
) -> list[Fact]:
    """Facts map_METRIC, map_METRIC_gain and mprt_failed, over `n` images; writes what they allow one to say.

    Localisation metrics need data with masks; an InputError says so before anything is computed.
    """
    chosen = split_of(place, split)
    index = draw(len(chosen), n, seed)
    rows = chosen.take(index)
    found = score_maps(
        build(place.variant(), trust=place.trust),
        rows.floats(),
        rows.labels,
        [part(place, "explainers", spec) for spec in explainers],
        [part(place, "metrics", spec) for spec in metrics],
        objects=rows.masks,
        seed=seed,
        heard=place.tell,
    )
    said = {"n": found.n, "sentences": list(found.sentences), "undefined": dict(found.undefined)}
    (place.out / "scores.json").write_text(json.dumps(said, indent=1), encoding="utf-8")
    return list(found.facts)
