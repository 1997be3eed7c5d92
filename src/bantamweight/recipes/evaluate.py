"""How often a model is right on images of its own kind: data decoded as the model wants it, classes matched by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bantamweight.data import Preprocessing, Split, align, evaluation_split, load
from bantamweight.errors import InputError
from bantamweight.predict import logits_of
from bantamweight.stats import wilson
from bantamweight.variants import Variant, build

__all__ = ["Evaluation", "evaluate", "judged_images"]


@dataclass(frozen=True)
class Evaluation:
    """Counts on one split with the Wilson interval (95%) of accuracy; `per_class` maps a class to (right, n)."""

    split: str
    n: int
    correct: int
    low: float
    high: float
    per_class: dict[str, tuple[int, int]]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return self.correct / self.n


def judged_images(
    variant: Variant, data: Any, *, split: str | None = None, n: int | None = None, trust: bool = False
) -> tuple[str, Split, tuple[str, ...]]:
    """The split a command judges, its first `n` images, and the class names in the order of the model's logits.

    The model's preprocessing decides how files become tensors; a model that knows its class names has the labels put
    into its order, one that doesn't must have as many outputs as the data has classes. Raises InputError otherwise.
    """
    preprocessing = Preprocessing.from_dict(variant.preprocessing) if variant.preprocessing else None
    loaded = load(data, trust=trust, preprocessing=preprocessing, whole=True)
    if variant.classes:
        loaded = align(loaded, variant.classes)
    name, chosen = evaluation_split(loaded, split)
    if n is not None:
        if n < 1:
            raise InputError(f"expected n of at least 1 image, got {n}")
        chosen = chosen.take(slice(0, n))
    return name, chosen, loaded.classes


def evaluate(
    model: Variant | str | Path,
    data: Any,
    *,
    n: int | None = None,
    split: str | None = None,
    trust: bool = False,
    **model_settings: Any,
) -> Evaluation:
    """Count right answers of `model` on `data` (test, else val, else everything; `split` says otherwise).

    `model` is a Variant or what `load_model` takes, with its settings (weights, classes, size, channels). `n` takes
    the first images only. Raises InputError when model and data don't fit each other.
    """
    variant = model if isinstance(model, Variant) else _loaded(model, trust, model_settings)
    name, chosen, classes = judged_images(variant, data, split=split, n=n, trust=trust)
    logits = _logits(variant, chosen.images, trust)
    if logits.shape[1] != len(classes):
        raise InputError(
            f"{variant.name!r} tells {logits.shape[1]} classes apart and the data has {len(classes)}; "
            f"use a model made for this data"
        )
    right = logits.argmax(dim=1) == chosen.labels
    seen = torch.bincount(chosen.labels, minlength=len(classes)).tolist()
    hits = torch.bincount(chosen.labels[right], minlength=len(classes)).tolist()
    correct = int(right.sum())
    low, high = wilson(correct, len(right))
    per_class = {kind: (hit, count) for kind, hit, count in zip(classes, hits, seen, strict=True) if count}
    return Evaluation(name, len(right), correct, low, high, per_class)


def _logits(variant: Variant, images: Tensor, trust: bool) -> Tensor:
    """What the variant answers; a module that is the user's own may raise anything while it does."""
    module = build(variant, trust=trust)
    try:
        return logits_of(module, images)
    except Exception as error:
        if ":" not in variant.factory or isinstance(error, InputError):
            raise
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{variant.factory!r} raised {said} on images of {variant.input_shape}; mend it") from error


def _loaded(model: str | Path, trust: bool, settings: dict[str, Any]) -> Variant:
    from bantamweight.loading import load_model

    return load_model(str(model), trust=trust, **settings)
