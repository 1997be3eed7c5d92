"""What every metric shares: the scene it judges, what it returns, pixels by importance, and the curve over them.

A metric reads a scene and gives one number per image. Maps come raw; what "important" means for a signed map is decided
here, once: a map of contributions counts for the class where it is positive, a map of sensitivities by its magnitude.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float as FloatArray
from scipy.stats import rankdata
from torch import Tensor, nn

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.explainers._core import Attributions, Explainer, explain, on_device
from bantamweight.types import Bool, Float, Images, Int, Int64, Logits

__all__ = [
    "SENSITIVITIES",
    "Metric",
    "Precision",
    "Scene",
    "Scores",
    "answers",
    "correlations",
    "evidence",
    "importance",
    "path",
    "probabilities",
    "scene",
    "stops",
]

Precision = Literal["fp32", "bf16"]
Values = FloatArray[np.ndarray, " n"]

SENSITIVITIES = frozenset({"gradient", "smooth_grad", "guided_backprop"})
"""Methods whose sign says which way a pixel should change, not whether it speaks for the class (Simonyan et al. 2014
draw their magnitude)."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Maps of one method on some images, and what a metric may ask about them.

    `evidence` is what the method says for the class, `(b, h, w)`: higher is more important. `objects` marks the pixels
    of the object, where that is known. `answer` gives logits of at most `batch` images. Whatever is drawn is keyed by
    `seed` and the image, so no score depends on who else is scored.
    """

    module: nn.Module
    answer: Callable[[Images], Logits]
    images: Images
    classes: Int[Tensor, " b"]
    explainer: Explainer
    maps: Float[Tensor, "b h w"]
    evidence: Float[Tensor, "b h w"]
    flat: Bool[Tensor, " b"]
    objects: Bool[Tensor, "b h w"] | None = None
    seed: int = 0
    batch: int = 64


@dataclass(frozen=True, eq=False)
class Scores:
    """One number per image, NaN where there is none (`why` says for what reason), and what it was made from.

    `curve` has a value per image and stop (share of pixels, threshold, layer), `stops` names the stops.
    """

    values: Values
    why: str = ""
    stops: tuple[float | str, ...] = ()
    curve: FloatArray[np.ndarray, "n s"] | None = None


@dataclass(frozen=True)
class Metric:
    """A question to maps. `better` says which way is good; `objects` whether masks are needed; `share` that values are
    hits (0 or 1), whose mean is taken class by class."""

    name: str
    score: Callable[[Scene], Scores]
    better: Literal["higher", "lower", "neither"]
    objects: bool = False
    share: bool = False


def scene(
    explainer: Explainer,
    module: nn.Module,
    images: Images,
    classes: Int[Tensor, " b"],
    *,
    objects: Bool[Tensor, "b h w"] | None = None,
    answer: Callable[[Images], Logits] | None = None,
    maps: Attributions | None = None,
    seed: int = 0,
    batch: int = 64,
) -> Scene:
    """The scene of one method; explains the images unless `maps` of exactly these images are given.

    Raises InputError where the method is not defined for the module, or masks don't fit the images.
    """
    found = maps if maps is not None else explain(explainer, module, images, classes, batch=batch, strict=True)
    if found.undefined is not None:
        raise InputError(f"{explainer.name} is not defined for this model: {found.undefined}")
    if found.maps.shape != (len(images), *images.shape[2:]):
        raise InputError(f"expected one map per image, got maps {tuple(found.maps.shape)} for {len(images)} images")
    if objects is not None and objects.shape != found.maps.shape:
        raise InputError(
            f"expected masks of shape {tuple(found.maps.shape)} beside the images, got {tuple(objects.shape)}"
        )
    chosen = torch.as_tensor(classes).to(torch.int64)
    said = answer if answer is not None else answers(module, images)
    seen = None if objects is None else objects.bool()
    shown = evidence(explainer.name, found.maps)
    return Scene(module, said, images, chosen, explainer, found.maps, shown, found.flat, seen, seed, batch)


def evidence(explainer: str, maps: Float[Tensor, "*b h w"]) -> Float[Tensor, "*b h w"]:
    """What a raw map says for its class: its magnitude for a sensitivity, itself for everything else."""
    return maps.abs() if explainer in SENSITIVITIES else maps


def answers(
    module: nn.Module, images: Images, *, precision: Precision = "fp32", fold: bool = True
) -> Callable[[Images], Logits]:
    """A fast form of the module (batch norm folded, channels last, bfloat16 where asked), as a function to logits.

    It is a copy: the module stays as it is. `images` are a few that it takes. Images may be on the CPU and float32
    whatever the module is; so are the logits.
    """
    import copy

    from bantamweight.models._fold import folded

    net = folded(module, example=on_device(images[:8], module)) if fold else copy.deepcopy(module)
    for part in net.modules():
        part.training = False
    net = net.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def answer(rows: Images) -> Logits:
        given = on_device(rows, net).contiguous(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast(given.device.type, torch.bfloat16, enabled=precision == "bf16"):
            told: Logits = net(given).float().cpu()
        return told

    return answer


def probabilities(seen: Scene, images: Images, classes: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The probability of each row's class, in tiles of the scene's batch."""
    told = []
    for start in range(0, len(images), seen.batch):
        rows = slice(start, start + seen.batch)
        told.append(torch.softmax(seen.answer(images[rows]), dim=1).gather(1, classes[rows, None])[:, 0])
    return torch.cat(told)


def importance(evidence: Float[Tensor, "b h w"], images: Images, seed: int = 0) -> Int64[Tensor, "b p"]:
    """Each pixel's place in its image, 0 for the most important; ties in an order drawn from the image.

    Maps of mostly zeros are common (Grad-CAM's ReLU): ties in reading order would delete the upper left corner first.
    """
    values = evidence.flatten(1)
    lots = rng.uniform(rng.image_keys(images), (values.shape[1],), "ties", seed)
    shuffled = lots.argsort(dim=1)
    best = values.gather(1, shuffled).argsort(dim=1, descending=True, stable=True)
    order = shuffled.gather(1, best)
    places = torch.empty_like(order)
    return places.scatter_(1, order, torch.arange(order.shape[1]).expand_as(order).contiguous())


def stops(pixels: int, steps: int | None, side: int) -> tuple[int, ...]:
    """How many pixels are changed at each stop, none and all included; by default as many steps as pixels on a side."""
    count = min(side if steps is None else steps, pixels)
    if count < 1:
        raise InputError(f"expected at least 1 step, got {steps}")
    return tuple(round(at * pixels / count) for at in range(count + 1))


def path(
    seen: Scene, places: Int64[Tensor, "b p"], start: Images, end: Images, at: Sequence[int]
) -> FloatArray[np.ndarray, "b s"]:
    """The class's probability while `start` turns into `end`, the most important pixels first, all channels together.

    Images x stops run in tiles of the scene's batch, so memory does not grow with either.
    """
    b, _, h, w = start.shape
    counts = torch.tensor(list(at))
    told = []
    for first in range(0, b * len(at), seen.batch):
        cells = torch.arange(first, min(first + seen.batch, b * len(at)))
        rows, stop = cells // len(at), cells % len(at)
        changed = (places[rows] < counts[stop, None]).reshape(-1, 1, h, w)
        mixed = torch.where(changed, end[rows], start[rows])
        told.append(torch.softmax(seen.answer(mixed), dim=1).gather(1, seen.classes[rows, None])[:, 0])
    return torch.cat(told).reshape(b, len(at)).double().numpy()


def correlations(first: Float[Tensor, "b *k h w"], second: Float[Tensor, "b *k h w"]) -> np.ndarray:
    """Spearman's rank correlation of every map with its partner, ties at their mean rank; shape `(b, *k)`.

    NaN where either map is constant: it has no ranks. Source: Spearman 1904; as the similarity of maps in
    Adebayo et al. 2018, "Sanity Checks for Saliency Maps".
    """
    if first.shape != second.shape:
        raise InputError(f"expected maps of one shape to compare, got {tuple(first.shape)} and {tuple(second.shape)}")
    left, right = _ranks(first), _ranks(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (left * right).sum(axis=1) / np.sqrt((left**2).sum(axis=1) * (right**2).sum(axis=1))
    return np.clip(found, -1.0, 1.0).reshape(first.shape[:-2])


def _ranks(maps: Tensor) -> np.ndarray:
    """Centred ranks of each map's pixels, one row per map."""
    rows = maps.flatten(-2).reshape(-1, maps.shape[-1] * maps.shape[-2]).numpy()
    ranks = rankdata(rows, axis=1)
    return ranks - ranks.mean(axis=1, keepdims=True)
