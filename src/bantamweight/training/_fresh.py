"""An untrained variant of an architecture, fitted to data; its first weights follow from a seed alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bantamweight.data import Data
from bantamweight.errors import InputError
from bantamweight.parts import Part, configure, find, settings
from bantamweight.training._device import seeded
from bantamweight.variants import Variant

__all__ = ["fresh"]


def fresh(model: str | Mapping[str, Any], data: Data, *, seed: int = 0, name: str = "", trust: bool = False) -> Variant:
    """The architecture `model` (a name or `{"use": NAME, ...}`) with random weights, ready for `train`.

    Settings the architecture has and `model` leaves out come from the data: channels, classes, size, and the mean and
    standard deviation of the training pixels. The caller's random state is left alone. Raises InputError for an unknown
    architecture or a bad setting.
    """
    spec = {"use": model} if isinstance(model, str) else dict(model)
    if isinstance(spec.get("use"), str):
        spec = {**_from_data(spec["use"], data, trust), **spec}
    part = configure("models", spec, trust=trust)
    with seeded(seed):
        module = part.make()
    weights = {key: tensor.detach().clone() for key, tensor in module.state_dict().items()}
    return Variant(
        name=name or part.name,
        factory=part.name,
        arguments=_plain(part),
        weights=weights,
        classes=data.classes,
        preprocessing=data.preprocessing.to_dict(),
    )


def _plain(part: Part) -> dict[str, Any]:
    """Arguments as JSON gives them back, so that a variant and its saved copy have one hash."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in part.settings.items()}


def _from_data(name: str, data: Data, trust: bool) -> dict[str, Any]:
    known = settings(find("models", name, trust=trust)).model_fields
    height, width = data.preprocessing.size
    if "size" in known and height != width:
        raise InputError(f"{name} takes square images, got {height} x {width} pixels; give the data one size")
    given: dict[str, Any] = {"channels": data.preprocessing.channels, "classes": len(data.classes), "size": height}
    if {"mean", "std"} <= set(known) and len(data.splits.get("train", ())):
        given |= _statistics(data)
    return {key: value for key, value in given.items() if key in known}


def _statistics(data: Data) -> dict[str, Any]:
    """Mean and standard deviation per channel over the training pixels, to four digits."""
    # From histograms, so that the digits can't depend on how a sum was ordered.
    levels = torch.arange(256, dtype=torch.float64) / 255.0
    planes = data.splits["train"].images.unbind(dim=1)
    shares = [torch.bincount(plane.flatten(), minlength=256).double() / plane.numel() for plane in planes]
    mean = [float((share * levels).sum()) for share in shares]
    spread = [float((share * (levels - middle) ** 2).sum()) ** 0.5 for share, middle in zip(shares, mean, strict=True)]
    # A channel that never changes is only centred.
    return {
        "mean": tuple(round(value, 4) for value in mean),
        "std": tuple(round(value, 4) or 1.0 for value in spread),
    }
