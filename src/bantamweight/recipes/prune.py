"""Cut once, fine-tune, and judge before and after on the same images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bantamweight import variants
from bantamweight.compression import Achieved, Criterion, compress, measure
from bantamweight.compression._core import Allocation, Evidence
from bantamweight.data import Data, Split, align, evaluation_split
from bantamweight.parts import Part, configure
from bantamweight.predict import logits_of
from bantamweight.recipes import FINETUNE
from bantamweight.training import Row, train
from bantamweight.training._job import learns_from_a_teacher
from bantamweight.variants import Variant

__all__ = ["Pruned", "prune", "right_on", "tune"]


@dataclass(frozen=True, eq=False)
class Pruned:
    """A cut, what fine-tuning made of it, and who was right on which image.

    `achieved` was counted in the cut variant, and `tuned_achieved` in the tuned one: its zeros are the same.
    `right` has one row of booleans per variant name (dense, cut, tuned) over the images of `split`, in one order, as
    paired tests and the recovery rate in `judging.accuracy` take them. `history` is the fine-tuning's.
    """

    cut: Variant
    tuned: Variant | None
    achieved: Achieved
    tuned_achieved: Achieved | None
    right: Mapping[str, np.ndarray]
    split: str
    history: tuple[Row, ...]

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of the images that were right, by variant name."""
        return {name: float(row.mean()) for name, row in self.right.items()}


def prune(
    variant: Variant,
    data: Data,
    criterion: Criterion | Part | str | Mapping[str, Any] = "magnitude",
    *,
    sparsity: float,
    allocate: str | Allocation | None = None,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    evidence: Evidence | None = None,
    finetune: Mapping[str, Any] | None = FINETUNE,
    split: str | None = None,
    name: str | None = None,
    folder: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    trust: bool = False,
) -> Pruned:
    """Cut a variant to a sparsity, fine-tune what is left, and judge dense, cut and tuned on the same images.

    `finetune` holds settings of `training.train`, laid over FINETUNE; None only cuts. Training resumes from `folder`.
    The images are those of `split`: unless said, test, else val, else everything. The variant given is untouched.
    Raises InputError for a cut or a training that can't be made as asked.
    """
    rule = criterion if isinstance(criterion, Criterion) else configure("compression", criterion, trust=trust).make()
    data = align(data, variant.classes) if variant.classes else data
    where, images = evaluation_split(data, split)
    cut, achieved = compress(
        variant,
        rule,
        sparsity=sparsity,
        allocate=allocate,
        layers=layers,
        skip=skip,
        evidence=evidence,
        name=name,
        trust=trust,
    )
    tuned: Variant | None = None
    history: tuple[Row, ...] = ()
    if finetune is not None:
        tuned, history = tune(cut, data, finetune, folder=folder, progress=progress, teacher=variant, trust=trust)
    made = [made for made in (variant, cut, tuned) if made is not None]
    return Pruned(
        cut=cut,
        tuned=tuned,
        achieved=achieved,
        tuned_achieved=_achieved(tuned, achieved, trust) if tuned else None,
        right={each.name: right_on(each, images, trust) for each in made},
        split=where,
        history=history,
    )


def tune(
    cut: Variant,
    data: Data,
    finetune: Mapping[str, Any] = FINETUNE,
    *,
    folder: Path | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    teacher: Variant | None = None,
    trust: bool = False,
) -> tuple[Variant, tuple[Row, ...]]:
    """Fine-tune a cut variant, its zeros kept, and return it as `NAME/tuned` with its training history.

    `finetune` holds settings of `training.train`, laid over FINETUNE; `teacher` is who teaches where the objective
    learns from one.
    """
    settings = {**FINETUNE, **finetune}
    objective = configure("objectives", settings.get("objective", "standard"), trust=trust)
    taught = teacher if learns_from_a_teacher(objective) else None
    trained = train(cut, data, folder, progress=progress, trust=trust, teacher=taught, **settings)
    assert trained.variant is not None  # a variant went in
    return replace(trained.variant, name=f"{cut.name}/tuned"), trained.history


def _achieved(tuned: Variant, cut: Achieved, trust: bool) -> Achieved:
    return measure(variants.build(tuned, trust=trust), asked=cut.asked, layers=cut.layers)


def right_on(variant: Variant, split: Split, trust: bool = False) -> np.ndarray:
    """For each image of a split, whether the variant is right about it."""
    answers = logits_of(variants.build(variant, trust=trust), split.images)
    # A net that breaks down answers NaN, whose argmax is a class like any other.
    sound = torch.isfinite(answers).all(dim=1)
    return ((answers.argmax(dim=1) == split.labels) & sound).numpy()
