"""Labels and answers -> facts: accuracy, per class and overall, and two variants on the same images, paired.

Answers are logits (n, classes) or predicted classes (n); a row of logits with NaN in it answers nothing (-1) and
is wrong, but it is not counted for any class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from bantamweight import stats
from bantamweight.errors import InputError, near
from bantamweight.facts import Fact, paired, proportion

__all__ = ["accuracy_facts", "paired_facts", "pairs_to_compare", "predictions", "recovery_fact", "trend_fact"]

NO_ANSWER = -1


def predictions(answers: np.ndarray) -> np.ndarray:
    """The class each row answers, int64 (n,): the largest logit, or -1 where a logit is NaN.

    >>> predictions(np.array([[0.1, 0.9], [np.nan, 1.0]])).tolist()
    [1, -1]
    """
    answers = np.asarray(answers)
    if answers.ndim == 1 and np.issubdtype(answers.dtype, np.integer):
        return answers.astype(np.int64)
    if answers.ndim != 2 or answers.shape[1] == 0:
        raise InputError(f"expected logits (n, classes) or integer classes (n), got {answers.dtype} {answers.shape}")
    undefined = np.isnan(answers).any(axis=1)
    return np.where(undefined, NO_ANSWER, np.where(undefined[:, None], 0, answers).argmax(axis=1))


def accuracy_facts(labels: np.ndarray, answers: np.ndarray, classes: Sequence[str], **columns: Any) -> list[Fact]:
    """What one variant gets right on one split; `columns` (variant, split, ...) go on every fact.

    Facts: accuracy; recall, precision, f1 per class (item); f1_macro over the classes that have one; confusion
    for every cell that is not empty (item = true class, against = predicted, "" for no answer). A recall or
    precision of nothing (no such image, never predicted) is left out, since 0 of 0 is not a proportion.
    Raises InputError when lengths differ or a class is out of range.
    """
    predicted = predictions(answers)
    labels = _checked(np.asarray(labels), predicted, classes)
    facts = [proportion("accuracy", int((labels == predicted).sum()), labels.size, **columns)]
    table = np.zeros((len(classes), len(classes) + 1), dtype=np.int64)
    np.add.at(table, (labels, predicted), 1)  # column -1 holds the rows without an answer
    f1s = []
    for index, name in enumerate(classes):
        true, of_class, answered = (
            int(count) for count in (table[index, index], table[index].sum(), table[:, index].sum())
        )
        if of_class:
            facts.append(proportion("recall", true, of_class, item=name, **columns))
        if answered:
            facts.append(proportion("precision", true, answered, item=name, **columns))
        if of_class or answered:
            facts.append(_f1(true, of_class + answered - true, item=name, **columns))
            f1s.append(2 * true / (of_class + answered))
    facts.append(Fact(metric="f1_macro", kind="score", value=float(np.mean(f1s)), n=labels.size, **columns))
    names = [*classes, ""]
    facts += [
        Fact(
            metric="confusion",
            kind="count",
            value=float(table[row, column]),
            n=int(table[row].sum()),
            item=names[row],
            against=names[column],
            **columns,
        )
        for row, column in np.argwhere(table)
    ]
    return facts


def paired_facts(
    right: Mapping[str, np.ndarray],
    pairs: Sequence[tuple[str, str]],
    *,
    metric: str = "accuracy_difference",
    margin: float | None = None,
    **columns: Any,
) -> list[Fact]:
    """Variant against other on the same images, one paired fact for each of `pairs`; all pairs are one family.

    `right[name]` says for each image whether that variant is right (or stays right under attack). The fact's
    value is (gained - lost) / n with Tango's interval; p is McNemar's exact, p_adjusted Holm's over the pairs;
    detectable is the difference that a test at .05 / pairs (what Holm asks of the first) would find four times
    in five. With a `margin` each pair also gets a flag, `METRIC_within_margin`, from two one-sided tests.
    Raises InputError for an unknown name or different numbers of images.

    >>> right = {"a": np.array([True] * 9 + [False]), "b": np.array([True] * 3 + [False] * 7)}
    >>> fact = paired_facts(right, [("b", "a")])[0]
    >>> fact.value, fact.gained, fact.lost, round(fact.p, 3)
    (-0.6, 0, 6, 0.031)
    """
    counts = [_discordant(right, pair) for pair in pairs]
    adjusted = stats.holm([stats.mcnemar(gained, lost) for gained, lost, _ in counts])
    facts = []
    for (variant, other), (gained, lost, n), p in zip(pairs, counts, adjusted, strict=True):
        facts.append(
            paired(
                metric,
                gained,
                lost,
                n,
                variant=variant,
                other=other,
                p_adjusted=p,
                detectable=stats.detectable_difference(n, (gained + lost) / n, alpha=0.05 / len(pairs)),
                note="exact McNemar" + (f", Holm over {len(pairs)} comparisons" if len(pairs) > 1 else ""),
                **columns,
            )
        )
        if margin is not None:
            same = stats.equivalence(gained, lost, n, margin)
            facts.append(
                Fact(
                    metric=f"{metric}_within_margin",
                    kind="flag",
                    value=float(same.p < 0.05),
                    low=same.low,
                    high=same.high,
                    n=n,
                    variant=variant,
                    other=other,
                    p=same.p,
                    step=margin,
                    note=f"two one-sided tests, margin {margin:g} (step), 90% interval",
                    **columns,
                )
            )
    return facts


def pairs_to_compare(right: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """The comparisons a report needs, and no more (each one costs power): which to hand to `paired_facts`.

    Dense nets with each other, every variant with what it was made from (`net/cut/tuned` with `net/cut` and
    `net`), and every variant with the most accurate one, on which a recommendation stands.

    >>> pairs_to_compare({"a": np.array([1, 1]), "a/cut": np.array([1, 0]), "a/cut/tuned": np.array([1, 1])})
    [('a/cut', 'a'), ('a/cut/tuned', 'a/cut'), ('a/cut/tuned', 'a')]
    """
    if not right:
        return []
    best = max(right, key=lambda name: float(np.mean(right[name])))  # the first of several, in the order given
    dense = [name for name in right if "/" not in name]
    wanted: dict[frozenset[str], tuple[str, str]] = {}
    candidates = list(combinations(dense, 2))
    for name in right:
        parts = name.split("/")
        candidates += [(name, "/".join(parts[:stop])) for stop in range(len(parts) - 1, 0, -1)]
    candidates += [(name, best) for name in right]
    for variant, other in candidates:
        if variant != other and other in right:
            wanted.setdefault(frozenset((variant, other)), (variant, other))
    return list(wanted.values())


def recovery_fact(right: Mapping[str, np.ndarray], variant: str, other: str, **columns: Any) -> Fact:
    """recovery_rate: accuracy of `variant` (fine-tuned) over that of `other` (dense), on the same images."""
    gained, lost, n = _discordant(right, (variant, other))
    both = int((np.asarray(right[variant], dtype=bool) & np.asarray(right[other], dtype=bool)).sum())
    ratio = stats.paired_ratio(gained, lost, both)
    value, low, high = (None, None, None) if ratio is None else ratio
    return Fact(
        metric="recovery_rate",
        kind="ratio",
        value=value,
        low=low,
        high=high,
        n=n,
        variant=variant,
        other=other,
        gained=gained,
        lost=lost,
        **columns,
    )


def trend_fact(right: Mapping[float, np.ndarray], **columns: Any) -> Fact:
    """accuracy_trend: change of accuracy per unit of x (sparsity, eps) over the same images, tested as a trend.

    `right[x]` says for each image whether it is right at x. Raises InputError for fewer than two x.
    """
    xs = sorted(right)
    table = np.stack([np.asarray(right[x], dtype=bool) for x in xs], axis=1)
    slope, _, p = stats.paired_trend(table, xs)
    stated = ", ".join(f"{x:g}" for x in xs)
    return Fact(
        metric="accuracy_trend",
        kind="score",
        value=slope,
        n=table.shape[0],
        p=p,
        note=f"the same images at {stated}",
        **columns,
    )


def _f1(true: int, union: int, **columns: Any) -> Fact:
    """F1 = 2F / (1 + F) with F = true / union, a proportion whose Wilson ends go through the same map.

    Source: Hand, Christen and Kirielle 2021, Machine Learning 110:451 (F*).
    """
    low, high = (2 * end / (1 + end) for end in stats.wilson(true, union))
    return Fact(metric="f1", kind="score", value=2 * true / (union + true), low=low, high=high, n=union, **columns)


def _discordant(right: Mapping[str, np.ndarray], pair: tuple[str, str]) -> tuple[int, int, int]:
    for name in pair:
        if name not in right:
            raise InputError(f"there is no variant {name!r} to compare{near(name, right)}")
    first, second = (np.asarray(right[name], dtype=bool) for name in pair)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            f"expected {pair[0]} and {pair[1]} judged on the same images, got {first.shape} and {second.shape}"
        )
    return int((first & ~second).sum()), int((second & ~first).sum()), first.size


def _checked(labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    if labels.shape != predicted.shape or labels.ndim != 1 or labels.size == 0:
        raise InputError(f"expected one label per answer, got {labels.shape} and {predicted.shape}")
    for what, values, least in (("labels", labels, 0), ("answers", predicted, NO_ANSWER)):
        if values.min() < least or values.max() >= len(classes):
            raise InputError(f"expected {what} within {len(classes)} classes, got {values.min()} to {values.max()}")
    return labels.astype(np.int64)
