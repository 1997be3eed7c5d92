"""A fact: one number with everything needed to doubt it. Reports are made of facts and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from bantamweight.errors import InputError
from bantamweight.stats import mcnemar, paired_interval, wilson

__all__ = ["Fact", "load", "paired", "proportion", "save", "select", "table"]

Kind = Literal["proportion", "paired", "mean", "median", "ratio", "count", "score", "time", "flag"]
Origin = Literal["computed", "measured"]


class Fact(BaseModel):
    """One stated number.

    `variant` is what the number is about and `other` the one it is compared with; `source` is the variant on
    which transferred images were made. `item` and `against` name a class, a layer or a format; `step` is the
    position on an axis (epoch, sparsity, query). `origin` is `measured` for clocks and what follows from
    them: those differ from run to run; computed facts do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    kind: Kind
    value: float | None
    low: float | None = None
    high: float | None = None
    k: int | None = None
    n: int | None = None
    unit: str = ""
    origin: Origin = "computed"

    study: str = ""
    variant: str = ""
    other: str = ""
    split: str = ""
    threat: str = ""
    attack: str = ""
    protocol: str = ""
    target: str = ""
    source: str = ""
    item: str = ""
    against: str = ""
    step: float | None = None
    seed: int | None = None
    runtime: str = ""
    batch: int | None = None

    p: float | None = None
    p_adjusted: float | None = None
    detectable: float | None = None
    gained: int | None = None
    lost: int | None = None

    job: str = ""
    machine: str = ""
    threads: int | None = None
    versions: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _possible(self) -> Fact:
        """Refuse what can't be true: a proportion its n can't produce, an interval without its value."""
        if self.kind == "proportion":
            _check_proportion(self)
        low, high, value = self.low, self.high, self.value
        if low is not None and high is not None and not low <= high:
            raise InputError(f"expected low <= high for {self.metric}, got [{low}, {high}]")
        if value is not None and not math.isfinite(value):
            raise InputError(f"expected a finite number for {self.metric}, got {value}; say None for unknown")
        return self


def _check_proportion(fact: Fact) -> None:
    k, n, value = fact.k, fact.n, fact.value
    if n is None or n <= 0 or value is None:
        raise InputError(f"a proportion needs n > 0 and a value; {fact.metric} has n={n}, value={value}")
    if k is None:
        k = round(value * n)
    if not 0 <= k <= n or abs(value - k / n) > 1e-9:
        raise InputError(
            f"{fact.metric} = {value:.6g} can't come from n = {n}: the nearest possible is "
            f"{round(value * n)}/{n} = {round(value * n) / n:.6g}; pass k and n as counted"
        )


def proportion(metric: str, k: int, n: int, **columns: Any) -> Fact:
    """`k` of `n` with its Wilson interval (95%).

    >>> fact = proportion("accuracy", 31, 50, variant="mlp")
    >>> round(fact.value, 2), round(fact.low, 3), round(fact.high, 3)
    (0.62, 0.482, 0.741)
    """
    if n <= 0:
        raise InputError(f"a proportion needs n > 0; {metric} has k={k}, n={n}")
    low, high = wilson(int(k), int(n))
    return Fact(
        metric=metric, kind="proportion", value=int(k) / int(n), low=low, high=high, k=int(k), n=int(n), **columns
    )


def paired(metric: str, gained: int, lost: int, n: int, **columns: Any) -> Fact:
    """The share gained less the share lost, of `n` pairs, with Tango's interval (95%) and McNemar's exact p.

    >>> fact = paired("accuracy_difference", 0, 6, 10, variant="cut", other="net")
    >>> fact.value, round(fact.p, 3)
    (-0.6, 0.031)
    """
    low, high = paired_interval(gained, lost, n)
    return Fact(
        metric=metric,
        kind="paired",
        value=(gained - lost) / n,
        low=low,
        high=high,
        n=n,
        gained=gained,
        lost=lost,
        p=mcnemar(gained, lost),
        **columns,
    )


def _schema() -> pa.Schema:
    fields: list[tuple[str, pa.DataType]] = []
    for name, field in Fact.model_fields.items():
        text = str(field.annotation)
        if "float" in text:
            fields.append((name, pa.float64()))
        elif "int" in text and "str" not in text and "Literal" not in text:
            fields.append((name, pa.int64()))
        else:
            fields.append((name, pa.string()))
    return pa.schema(fields)


def table(facts: Iterable[Fact]) -> pa.Table:
    """Facts as an Arrow table, one row each, columns as the fields of `Fact`."""
    rows = [fact.model_dump() for fact in facts]
    return pa.Table.from_pylist(rows, schema=_schema())


def save(facts: Iterable[Fact], path: Path) -> None:
    """Write facts to one Parquet file."""
    pq.write_table(table(facts), path, compression="zstd")


def load(path: Path) -> list[Fact]:
    """Read facts from a Parquet file; each row is checked again, so an edited file can't smuggle nonsense in."""
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"expected a facts file at {path}, and it can't be read: {error}") from error
    known = Fact.model_fields
    try:
        return [Fact(**{key: value for key, value in row.items() if key in known}) for row in rows]
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"a row of {path} is no fact: {wrong}") from error


def select(facts: Sequence[Fact], metric: str | None = None, **columns: Any) -> list[Fact]:
    """The facts of one metric whose columns have the given values.

    >>> select([proportion("accuracy", 1, 2, split="test")], "accuracy", split="val")
    []
    """
    return [
        fact
        for fact in facts
        if (metric is None or fact.metric == metric)
        and all(getattr(fact, name) == value for name, value in columns.items())
    ]
