"""Answers to images that were made against another model -> facts."""

from __future__ import annotations

from typing import Any

import numpy as np

from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion
from bantamweight.judging.accuracy import predictions

__all__ = ["transfer_facts"]


def transfer_facts(
    labels: np.ndarray,
    clean: np.ndarray,
    transferred: np.ndarray,
    source_success: np.ndarray,
    *,
    aims: np.ndarray | None = None,
    **columns: Any,
) -> list[Fact]:
    """How images made against `source` (a column) do on the judged `variant` (a column).

    `clean` and `transferred` are the judged model's answers (logits or classes) to the originals and to the stored
    images. transfer_success is over the images that the judged model had right (and, where `aims` names a class for an
    image and not -1, whose label is another); transfer_given_source only over those that also succeeded at the source,
    so a weak attack is not mistaken for one that does not carry over. A rate over nothing is left out.
    Raises InputError for ragged inputs.

    >>> labels, wrong = np.array([0, 1, 1]), np.array([1, 0, 1])
    >>> [(f.k, f.n) for f in transfer_facts(labels, labels, wrong, np.array([True, False, True]))]
    [(2, 3), (1, 2)]
    """
    labels, source_success = np.asarray(labels), np.asarray(source_success, dtype=bool)
    before, after = predictions(clean), predictions(transferred)
    if not labels.shape == before.shape == after.shape == source_success.shape:
        raise InputError(
            f"expected one row per image everywhere, got {labels.shape} labels, {before.shape} clean answers, "
            f"{after.shape} answers and {source_success.shape} verdicts of the source"
        )
    eligible = before == labels
    fooled = after != labels
    if aims is not None:
        eligible, fooled = eligible & (labels != aims), np.where(aims >= 0, after == aims, fooled)
    facts = []
    for metric, rows in (
        ("transfer_success", eligible),
        ("transfer_given_source", eligible & source_success),
    ):
        if rows.any():
            facts.append(proportion(metric, int((rows & fooled).sum()), int(rows.sum()), **columns))
    return facts
