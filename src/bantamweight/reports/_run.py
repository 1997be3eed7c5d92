"""A run folder as the panels see it: the manifest, the facts, and where each job left its files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bantamweight import facts as fact_table
from bantamweight.errors import InputError
from bantamweight.facts import Fact

__all__ = ["Context", "Job", "Variety", "read", "refuse_attack"]

JOB = re.compile(r"jobs/[\w.-]+")


@dataclass(frozen=True)
class Variety:
    """One variant of the run and how it was made."""

    name: str
    family: str
    parent: str = ""
    criterion: str = ""
    sparsity: float | None = None
    tuned: bool = False

    @property
    def dense(self) -> bool:
        """Whether it is a net as trained."""
        return self.sparsity is None and not self.criterion

    @property
    def form(self) -> str:
        """How it was made from its dense net: `as trained`, `magnitude 50%`, `magnitude 50%, fine-tuned`."""
        if self.dense:
            return "as trained"
        share = "" if self.sparsity is None else f" {100 * self.sparsity:g}%"
        return f"{self.criterion or 'cut'}{share}" + (", fine-tuned" if self.tuned else "")


@dataclass(frozen=True)
class Job:
    """A finished job: what it did, its labels, and its folder."""

    key: str
    kind: str
    labels: Mapping[str, Any]
    folder: Path

    def json(self, name: str) -> Any:
        """A JSON file it left; None where there is none that can be read."""
        try:
            return json.loads((self.folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None


@dataclass(frozen=True)
class Context:
    """Everything a panel may read."""

    folder: Path
    manifest: Mapping[str, Any]
    facts: Sequence[Fact]

    @cached_property
    def _rows(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, fact in enumerate(self.facts):
            found.setdefault(fact.metric, []).append(row)
        return found

    @cached_property
    def _places(self) -> dict[int, int]:
        return {id(fact): row for row, fact in enumerate(self.facts)}

    def row(self, fact: Fact) -> int:
        """The row of a fact in the run's table, by which the page links to it."""
        return self._places[id(fact)]

    def find(self, metric: str, **columns: Any) -> list[Fact]:
        """The facts of one metric whose columns have these values, variants in the run's order."""
        found = [self.facts[row] for row in self._rows.get(metric, [])]
        kept = [fact for fact in found if all(getattr(fact, name) == value for name, value in columns.items())]
        return sorted(kept, key=lambda fact: self.place(fact.variant))

    def one(self, metric: str, **columns: Any) -> Fact | None:
        """The first such fact."""
        return next(iter(self.find(metric, **columns)), None)

    def place(self, variant: str) -> int:
        """Where a variant stands in the run's order; unknown names come last."""
        return self._order.get(variant, len(self._order))

    @cached_property
    def _order(self) -> dict[str, int]:
        return {one.name: index for index, one in enumerate(self.varieties)}

    @cached_property
    def varieties(self) -> tuple[Variety, ...]:
        """The variants, as listed in the manifest, else as named in the facts."""
        listed = self.manifest.get("variants")
        if isinstance(listed, list) and listed:
            return tuple(_variety(one) for one in listed if isinstance(one, dict) and one.get("name"))
        names = dict.fromkeys(fact.variant for fact in self.facts if fact.variant)
        return tuple(Variety(name, name.partition("/")[0], sparsity=_named_sparsity(name)) for name in names)

    def variety(self, name: str) -> Variety:
        """A variant by name."""
        return next((one for one in self.varieties if one.name == name), Variety(name, name.partition("/")[0]))

    def label(self, name: str) -> str:
        """A variant in few words, for a chart's axis: `small_cnn 50% tuned`; the criterion where there are several."""
        one = self.variety(name)
        if one.sparsity is None:
            return name
        criteria = {other.criterion for other in self.varieties if other.criterion}
        how = f"{one.criterion} " if len(criteria) > 1 else ""
        return f"{one.family} {how}{100 * one.sparsity:g}%" + (" tuned" if one.tuned else "")

    @cached_property
    def families(self) -> tuple[str, ...]:
        """The dense nets that variants come from, in order."""
        return tuple(dict.fromkeys(one.family for one in self.varieties))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Class names in the data's order."""
        listed = self.data.get("classes")
        if isinstance(listed, list) and listed:
            return tuple(str(name) for name in listed)
        return tuple(dict.fromkeys(fact.item for fact in self.facts if fact.metric == "recall"))

    @property
    def data(self) -> Mapping[str, Any]:
        """What the manifest says of the data."""
        found = self.manifest.get("data")
        return found if isinstance(found, dict) else {}

    @cached_property
    def split(self) -> str:
        """The split that results are read on."""
        there = {fact.split for fact in self.facts if fact.metric in ("accuracy", "robust_accuracy")}
        wanted = (str(self.data.get("evaluation", "")), "test", "val", "all", "train")
        return next((name for name in wanted if name in there), next(iter(sorted(there)), ""))

    def jobs(self, kind: str, **labels: Any) -> list[Job]:
        """The finished jobs of one kind with these labels; folders that are gone are left out."""
        return [
            job
            for job in self._jobs
            if job.kind == kind and all(job.labels.get(name) == value for name, value in labels.items())
        ]

    @cached_property
    def _jobs(self) -> tuple[Job, ...]:
        store = (self.folder / str(self.manifest.get("store", "../.."))).resolve()
        found = []
        for one in self.manifest.get("jobs") or []:
            folder = str(one.get("folder", ""))
            # A manifest is data: it may point into its own store and nowhere else.
            if JOB.fullmatch(folder) and (store / folder).is_dir():
                found.append(Job(str(one.get("key")), str(one.get("kind")), one.get("labels") or {}, store / folder))
        return tuple(found)


def read(folder: Path) -> Context:
    """A run folder. Raises InputError when it is none."""
    manifest = folder / "run.json"
    refuse_attack(folder)
    try:
        said = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"expected the folder of a finished run, with run.json, got {folder}: {error}") from error
    if not isinstance(said, dict):
        raise InputError(f"expected {manifest} to hold a mapping, got {type(said).__name__}")
    for key in ("jobs", "variants"):
        listed = said.get(key) or []
        if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
            raise InputError(f"expected {key!r} of {manifest} to be a list of mappings, it is damaged; run it again")
    return Context(folder, said, tuple(fact_table.load(folder / "facts.parquet")))


def refuse_attack(folder: Path) -> None:
    """Raise InputError for a folder that `bantam attack` left: it has an answer and no facts to make panels of."""
    answered = (folder / "result.json").is_file() and (folder / "verdicts.parquet").is_file()
    if (folder / "run.json").exists() or not (answered or (folder / "question.json").is_file()):
        return
    raise InputError(
        f"expected the folder of a finished run, and {folder} is an attack's: its answer is result.json and its rows "
        "are verdicts.parquet; panels and facts come from `bantam run STUDY`"
    )


def _variety(one: Mapping[str, Any]) -> Variety:
    sparsity = one.get("sparsity")
    return Variety(
        name=str(one["name"]),
        family=str(one.get("family") or str(one["name"]).partition("/")[0]),
        parent=str(one.get("parent") or ""),
        criterion=str(one.get("criterion") or ""),
        sparsity=None if sparsity is None else float(sparsity),
        tuned=bool(one.get("tuned")),
    )


def _named_sparsity(name: str) -> float | None:
    """0.5 of `net/magnitude-0.5/tuned`, for runs without a manifest of variants."""
    found = re.search(r"/[^/]*-(0?\.\d+)", name)
    return float(found[1]) if found else None
