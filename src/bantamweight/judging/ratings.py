"""Answers to rating sheets, read back: what raters said of each method, whether they agree, and paired tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from bantamweight.data._text import clean
from bantamweight.errors import InputError
from bantamweight.facts import Fact, proportion
from bantamweight.stats import fleiss_kappa, holm, krippendorff_alpha, mean_interval, signed_rank

__all__ = ["Answer", "Answers", "Key", "rating_facts", "read_answers", "read_key"]

_MOST_BYTES = 20_000_000
Text = Annotated[str, Field(min_length=1, max_length=200)]
Point = Annotated[int, Field(ge=1, le=5, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Answer(_Strict):
    """What one rater said of one image; methods by their keys, `ranking` from the best."""

    item: Text
    order: tuple[Text, ...]
    likert: dict[Text, Point]
    ranking: tuple[Text, ...]
    choice: Text


class Answers(_Strict):
    """One rater's file."""

    sheet: Text
    rater: Text
    answers: Annotated[tuple[Answer, ...], Field(min_length=1, max_length=10_000)]


class Named(_Strict):
    """One image of the sheet."""

    id: Text
    name: str
    said: str
    label: str


def _distinct(methods: dict[str, str]) -> dict[str, str]:
    """Names that can be printed, each of them once: what is told of one name would be told of two methods' maps."""
    names = [" ".join(clean(name).split()) for name in methods.values()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"two keys are called {twice!r}")
    return dict(zip(methods, names, strict=True))


class Key(_Strict):
    """Which map was whose; written beside the sheet. Names are those of the file, without control characters."""

    sheet: Text
    methods: Annotated[dict[Text, Text], Field(min_length=2, max_length=8), AfterValidator(_distinct)]
    items: Annotated[tuple[Named, ...], Field(min_length=1, max_length=10_000)]


def read_key(path: Path) -> Key:
    """The key of a sheet; raises InputError, in one sentence, for anything else."""
    return _read(path, Key, "the key that was written beside the sheet")


def read_answers(paths: Sequence[Path], key: Key) -> list[Answers]:
    """Every rater's answers to the sheet of the key, checked: each image once, each method in its place.

    Raises InputError for a file of another sheet, an answer to something that was not asked, or a rater given twice.
    """
    found = [_read(path, Answers, "answers that a rating sheet saved") for path in paths]
    methods, items = set(key.methods), {item.id for item in key.items}
    for path, one in zip(paths, found, strict=True):
        if one.sheet != key.sheet:
            raise InputError(
                f"{path.name!r} answers sheet {one.sheet[:40]!r} and the key is of {key.sheet!r}; pair them"
            )
        seen = [answer.item for answer in one.answers]
        if len(set(seen)) < len(seen) or not set(seen) <= items:
            raise InputError(
                f"expected each image of the sheet at most once in {path.name!r}, got another or one twice"
            )
        for answer in one.answers:
            sound = set(answer.likert) == set(answer.ranking) == set(answer.order) == methods
            if not sound or len(answer.ranking) != len(methods) or answer.choice not in methods:
                raise InputError(
                    f"expected every method once in each answer of {path.name!r}, image {answer.item!r} differs"
                )
    raters = [one.rater for one in found]
    if len(set(raters)) < len(raters):
        twice = next(name for name in raters if raters.count(name) > 1)
        raise InputError(
            f"the rater {twice[:60]!r} is there twice; give each rater's file once, under a name of its own"
        )
    return found


def _read(path: Path, model: type[Any], what: str) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"expected {what} of at most {_MOST_BYTES:,} bytes, {path.name!r} is larger")
        return model.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{str(path)!r} can't be read ({error.strerror or error}); check the path") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"]) or "the file"
        raise InputError(f"expected {what}, and in {path.name!r} {where} is not so: {first['msg'].lower()}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected {what} as JSON, got something else in {path.name!r}") from error


def rating_facts(found: Sequence[Answers], key: Key, **columns: Any) -> list[Fact]:
    """Means per method over images, agreement of raters, and each pair of methods compared image by image.

    `rating_likert` (1 to 5), `rating_rank` (1 is best) and `rating_choice` (share of choices); `rating_agreement` with
    `item` naming question and coefficient; `rating_difference`, Wilcoxon's signed ranks over images (raters averaged),
    Holm over all pairs of a question.
    """
    table = {question: _table(found, key, question) for question in ("likert", "rank", "choice")}
    facts: list[Fact] = []
    for question, values in table.items():
        for place, method in enumerate(key.methods.values()):
            facts += _about(question, method, values[:, :, place], columns)
    facts += _agreement(found, table, columns)
    for question, values in table.items():
        facts += _differences(question, values, list(key.methods.values()), columns)
    return facts


Question = Literal["likert", "rank", "choice"]


def _table(found: Sequence[Answers], key: Key, question: str) -> np.ndarray:
    """Raters x images x methods, NaN where an image was not answered."""
    places = {item.id: place for place, item in enumerate(key.items)}
    values = np.full((len(found), len(places), len(key.methods)), np.nan)
    for rater, one in enumerate(found):
        for answer in one.answers:
            said = {
                "likert": answer.likert,
                "rank": {method: place + 1 for place, method in enumerate(answer.ranking)},
                "choice": {method: int(method == answer.choice) for method in key.methods},
            }[question]
            values[rater, places[answer.item]] = [said[method] for method in key.methods]
    return values


def _about(question: str, method: str, values: np.ndarray, columns: Mapping[str, Any]) -> list[Fact]:
    per_image = _over_raters(values)
    note = f"{len(values)} raters"
    if question == "choice":
        answered = values[np.isfinite(values)]
        return [proportion("rating_choice", int(answered.sum()), answered.size, item=method, note=note, **columns)]
    kept = per_image[np.isfinite(per_image)]
    interval = mean_interval(kept) if kept.size else None
    return [
        Fact(
            metric=f"rating_{question}",
            kind="mean",
            value=float(kept.mean()) if kept.size else None,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            n=int(kept.size),
            item=method,
            note=f"{note}, averaged image by image",
            **columns,
        )
    ]


def _over_raters(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.where(known, values, 0.0).sum(axis=0) / known.sum(axis=0)
    return found


def _agreement(found: Sequence[Answers], table: Mapping[str, np.ndarray], columns: Mapping[str, Any]) -> list[Fact]:
    facts = []
    for question in ("likert", "rank"):
        alpha = krippendorff_alpha(_units(table[question]), level="ordinal")
        facts.append(_coefficient(f"{question}, Krippendorff's alpha", alpha, len(found), columns))
    chosen = np.where(np.isfinite(table["choice"]).all(axis=2), table["choice"].argmax(axis=2).astype(float), np.nan)
    alpha = krippendorff_alpha(_units(chosen[:, :, None]), level="nominal")
    facts.append(_coefficient("choice, Krippendorff's alpha", alpha, len(found), columns))
    if len(found) > 1 and np.isfinite(chosen).all():
        kappa = fleiss_kappa(table["choice"].sum(axis=0).astype(int).tolist())
        facts.append(_coefficient("choice, Fleiss' kappa", kappa, len(found), columns))
    return facts


def _units(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(one) else float(one) for one in row.ravel()] for row in values]


def _coefficient(item: str, value: float | None, raters: int, columns: Mapping[str, Any]) -> Fact:
    note = "nothing to compare: one rater, or all answers alike" if value is None else "1 perfect, 0 chance"
    return Fact(metric="rating_agreement", kind="score", value=value, n=raters, item=item, note=note, **columns)


def _differences(question: str, values: np.ndarray, methods: Sequence[str], columns: Mapping[str, Any]) -> list[Fact]:
    per_image = _over_raters(values)
    kept = per_image[np.isfinite(per_image).all(axis=1)]
    pairs = list(combinations(range(len(methods)), 2))
    differences = [kept[:, first] - kept[:, second] for first, second in pairs]
    ps = [signed_rank(one) if one.size else 1.0 for one in differences]
    facts = []
    for (first, second), one, p, adjusted in zip(pairs, differences, ps, holm(ps), strict=True):
        interval = mean_interval(one) if one.size else None
        facts.append(
            Fact(
                metric="rating_difference",
                kind="score",
                value=float(one.mean()) if one.size else None,
                low=interval.low if interval else None,
                high=interval.high if interval else None,
                n=int(one.size),
                item=methods[first],
                against=methods[second],
                p=p,
                p_adjusted=adjusted,
                note=f"{question}{', lower is better' if question == 'rank' else ''}",
                **columns,
            )
        )
    return facts
