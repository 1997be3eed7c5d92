"""Did the gaze move: maps of two models, or of an image before and after attack, against the method's own noise floor.

A map also changes when the image changes by less than a file can store, and a stochastic method's when its seed does.
Only what exceeds that, image by image, is movement. Facts: `drift_MEASURE` (mean distance), `drift_MEASURE_floor`, and
the flag `gaze_moved`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float as FloatArray
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._core import Attributions, Explainer, explain
from bantamweight.explainers.metrics._core import correlations, evidence
from bantamweight.facts import Fact
from bantamweight.stats import holm, mean_interval, signed_rank
from bantamweight.types import Bool, Float, Images

__all__ = ["MEASURES", "NOISE", "Distances", "distances", "drift_facts", "noise_floor"]

NOISE = 0.5 / 255
"""Half an 8-bit step: an image changed by less would be stored as the same file."""

MEASURES = ("rank", "top", "centre", "ssim")
"""1 - Spearman's rank correlation; 1 - IoU of the top 20% of pixels; shift of the centre of mass over the diagonal;
1 - SSIM (Wang et al. 2004)."""

TOP = 0.2
Distances = Mapping[str, FloatArray[np.ndarray, " n"]]


def distances(first: Attributions, second: Attributions) -> dict[str, np.ndarray]:
    """How far each map of `first` is from its partner in `second`, by every measure; 0 is unmoved.

    Rows are images; NaN where either map is flat: it has no place to move from. Raises InputError for maps of two
    methods, or of different images.
    """
    if first.explainer != second.explainer:
        raise InputError(f"expected maps of one explainer, got {first.explainer} and {second.explainer}")
    if first.maps.shape != second.maps.shape or first.maps.ndim != 3:
        raise InputError(
            f"expected one map per image on both sides, got {tuple(first.maps.shape)} and {tuple(second.maps.shape)}"
        )
    one, other = (evidence(side.explainer, side.maps) for side in (first, second))
    found = {
        "rank": 1.0 - correlations(one, other),
        "top": _top_distance(one, other),
        "centre": _centre_shift(one, other),
        "ssim": _ssim_distance(one, other),
    }
    flat = (first.flat | second.flat).numpy()
    for values in found.values():
        values[flat] = np.nan
    return found


def _top_distance(first: Tensor, second: Tensor) -> np.ndarray:
    tops = [_top(maps) for maps in (first, second)]
    shared, either = ((tops[0] & tops[1]).sum(dim=1), (tops[0] | tops[1]).sum(dim=1))
    return (1.0 - shared / either).double().numpy()


def _top(maps: Float[Tensor, "n h w"]) -> Bool[Tensor, "n p"]:
    """The fifth of the pixels with the largest values; among equal ones the first in reading order, on both sides."""
    rows = maps.flatten(1)
    order = rows.argsort(dim=1, descending=True, stable=True)
    chosen = torch.zeros_like(rows, dtype=torch.bool)
    return chosen.scatter_(1, order[:, : max(1, round(TOP * rows.shape[1]))], True)


def _centre_shift(first: Tensor, second: Tensor) -> np.ndarray:
    h, w = first.shape[1:]
    moved = _centres(first) - _centres(second)
    return np.hypot(moved[:, 0], moved[:, 1]) / np.hypot(h, w)


def _centres(maps: Float[Tensor, "n h w"]) -> FloatArray[np.ndarray, "n 2"]:
    """The centre of mass of what speaks for the class, in pixels; of a map without any, of what is above its least."""
    mass = maps.double().clamp(min=0.0)
    nothing = mass.flatten(1).sum(dim=1) <= 0
    mass[nothing] = (maps - maps.flatten(1).amin(dim=1)[:, None, None])[nothing].double()
    total = mass.sum(dim=(1, 2)).clamp(min=1e-300)
    h, w = maps.shape[1:]
    rows = (mass.sum(dim=2) * torch.arange(h)).sum(dim=1) / total
    columns = (mass.sum(dim=1) * torch.arange(w)).sum(dim=1) / total
    found: FloatArray[np.ndarray, "n 2"] = torch.stack([rows, columns], dim=1).numpy()
    return found


def _ssim_distance(first: Tensor, second: Tensor) -> np.ndarray:
    """Each map divided by its largest magnitude first: its scale means nothing."""
    from skimage.metrics import structural_similarity

    window = min(7, *first.shape[1:])
    window -= 1 - window % 2
    if window < 3:
        return np.full(len(first), np.nan)
    found = []
    for one, other in zip(_scaled(first), _scaled(second), strict=True):
        spread = 2.0 if min(one.min(), other.min()) < 0 else 1.0
        found.append(1.0 - structural_similarity(one, other, win_size=window, data_range=spread))
    return np.array(found)


def _scaled(maps: Tensor) -> np.ndarray:
    most = maps.flatten(1).abs().amax(dim=1).clamp(min=1e-30)
    scaled: np.ndarray = (maps / most[:, None, None]).double().numpy()
    return scaled


def noise_floor(
    explainer: Explainer,
    module: nn.Module,
    images: Images,
    maps: Attributions,
    *,
    again: Sequence[Explainer] = (),
    noise: float = NOISE,
    draws: int = 3,
    seed: int = 0,
    batch: int = 64,
    explained: Callable[..., Attributions] = explain,
) -> dict[str, np.ndarray]:
    """How far the method's own maps move where nothing moved, per image and measure.

    Images are changed uniformly within `noise`, `draws` times; `again` are the same method with other seeds. The floor
    is the mean over draws or that over seeds, whichever is larger. `maps` are those of the unchanged images.
    """
    if draws < 1 or not noise > 0:
        raise InputError(f"expected at least 1 draw of noise above 0, got {draws} of {noise}")
    keys = rng.image_keys(images)
    shaken = []
    for draw in range(draws):
        lots = rng.uniform(keys, tuple(images.shape[1:]), "drift", seed, draw)
        near = (images + noise * (2.0 * lots - 1.0)).clamp(0.0, 1.0)
        shaken.append(distances(maps, explained(explainer, module, near, maps.classes, batch=batch)))
    reseeded = [distances(maps, explained(other, module, images, maps.classes, batch=batch)) for other in again]
    return {
        measure: np.maximum(*(_mean([one[measure] for one in group]) for group in (shaken, reseeded or shaken)))
        for measure in MEASURES
    }


def _mean(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The mean over draws of what is known; NaN where nothing is."""
    table = np.stack(rows)
    known = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(known, table, 0.0).sum(axis=0) / known.sum(axis=0)
    return found


def drift_facts(moved: Distances, floor: Distances, *, item: str, alpha: float = 0.05, **columns: Any) -> list[Fact]:
    """`drift_MEASURE` and its floor, each a mean over images, with a paired one-sided test of the one above the other.

    Wilcoxon's signed ranks, Holm's correction over the measures. `gaze_moved` is 1 where the rank distance exceeds its
    floor, its note naming every measure that does. `columns` are further columns of Fact (against, variant, step, ...).
    """
    facts: list[Fact] = []
    tested: list[tuple[str, np.ndarray, np.ndarray]] = []
    for measure in MEASURES:
        kept = np.isfinite(moved[measure]) & np.isfinite(floor[measure])
        tested.append((measure, moved[measure][kept], floor[measure][kept]))
    ps = [signed_rank(own - still, alternative="greater") if own.size > 1 else 1.0 for _, own, still in tested]
    above = []
    for (measure, own, still), p, adjusted in zip(tested, ps, holm(ps), strict=True):
        left_out = len(moved[measure]) - own.size
        note = f"{left_out} of {len(moved[measure])} images left out: a flat map has no place" if left_out else ""
        facts.append(_mean_fact(f"drift_{measure}", own, item, note, columns, p, adjusted))
        facts.append(_mean_fact(f"drift_{measure}_floor", still, item, note, columns))
        if adjusted < alpha and own.size and own.mean() > still.mean():
            above.append(measure)
    n = int(tested[0][1].size)
    said = f"above the method's own noise: {', '.join(above)}" if above else "not shown above the method's own noise"
    value = float("rank" in above)
    return [*facts, Fact(metric="gaze_moved", kind="flag", value=value, n=n, item=item, note=said, **columns)]


def _mean_fact(
    metric: str,
    values: np.ndarray,
    item: str,
    note: str,
    columns: Mapping[str, Any],
    p: float | None = None,
    adjusted: float | None = None,
) -> Fact:
    interval = mean_interval(values) if values.size > 1 else None
    return Fact(
        metric=metric,
        kind="mean",
        value=float(values.mean()) if values.size else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        n=int(values.size),
        item=item,
        p=p,
        p_adjusted=adjusted,
        note=note,
        **columns,
    )
