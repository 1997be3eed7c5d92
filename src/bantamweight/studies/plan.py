"""A study becomes an ordered list of jobs; chains that share a prefix share its jobs.

Nothing runs here. The data are looked at once, because their content is part of every key and because a study may
name their classes; no model is made.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from bantamweight.errors import InputError, near
from bantamweight.machine import describe
from bantamweight.parts import Part, find
from bantamweight.studies._blocks import NO_TARGET, Study
from bantamweight.studies.store import job_key

if TYPE_CHECKING:
    from bantamweight.data import Data

__all__ = ["Job", "Plan", "Planner", "Subject", "Variety", "machine", "plan", "select", "subject"]

KINDS = "bantamweight.studies.jobs"
TIMED = frozenset({"latency", "explain_cost", "anatomy"})
"""Jobs whose results belong to one machine."""

ORDER = (
    "data",
    "variant",
    "evaluate",
    "attack",
    "protocol",
    "transfer",
    "minimum_eps",
    "minimum_norm",
    "explain",
    "score",
    "inversion",
    "sensitivity",
    "sizes",
    "latency",
    "explain_cost",
    "anatomy",
)
"""Variants first, each after its parent; clocks last, when nothing else has to be done."""


@dataclass(frozen=True)
class Subject:
    """What planning has to know about the data."""

    name: str
    content: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    evaluation: str
    channels: int
    size: tuple[int, int]
    masks: bool = False


@dataclass(frozen=True)
class Job:
    """One function on one key. `labels` are columns that its facts get in this study; they are not in the key."""

    key: str
    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    labels: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Variety:
    """One variant of the study: which job makes it, and what it descends from; `whole` where an average can hold
    it: a net of this package that lost nothing but single weights."""

    name: str
    family: str
    parent: str
    key: str
    criterion: str = ""
    sparsity: float | None = None
    tuned: bool = False
    seed: int = 0
    whole: bool = True


@dataclass(frozen=True)
class Plan:
    """Everything a study will do, in an order that works."""

    study: Study
    subject: Subject
    variants: tuple[Variety, ...]
    jobs: tuple[Job, ...]
    threads: int
    trust: bool = False
    device: str = "cpu"

    @property
    def keys(self) -> list[str]:
        """Each job's key once, in order."""
        return list(dict.fromkeys(job.key for job in self.jobs))


def subject(data: Data) -> Subject:
    """Look at the data: its names and sizes."""
    from bantamweight.data import evaluation_split

    name, _ = evaluation_split(data)
    return Subject(
        name=data.name,
        content=data.content,
        classes=data.classes,
        counts=dict(data.counts),
        evaluation=name,
        channels=data.preprocessing.channels,
        size=data.preprocessing.size,
        masks=all(split.masks is not None for split in data.splits.values()),
    )


@cache
def machine() -> str:
    """This machine in words; timings on different machines are different facts."""
    return str(describe())


def select(patterns: tuple[str, ...], names: list[str], where: str) -> list[str]:
    """The names that match: `*` stays within one step of a path, `**` crosses them, a leading `!` takes away.

    Raises InputError when a pattern matches nothing.

    >>> select(("*", "!mlp"), ["cnn", "mlp", "cnn/magnitude-0.5"], "attack.0")
    ['cnn']
    """
    chosen: dict[str, None] = {}
    for pattern in patterns:
        found = [name for name in names if _matches(name, pattern.removeprefix("!"))]
        if not found:
            raise InputError(f"{where}: no variant is called {pattern!r}{near(pattern, names)}")
        for name in found:
            if pattern.startswith("!"):
                chosen.pop(name, None)
            else:
                chosen[name] = None
    if not chosen:
        raise InputError(f"{where}: no variant is left by {list(patterns)}{near('', names)}")
    return [name for name in names if name in chosen]


def _matches(name: str, pattern: str) -> bool:
    if "**" in pattern:
        return fnmatch.fnmatchcase(name, pattern)
    steps, wanted = name.split("/"), pattern.split("/")
    return len(steps) == len(wanted) and all(map(fnmatch.fnmatchcase, steps, wanted))


def _modules(value: Any, trust: bool) -> Iterator[str]:
    """Where the parts named in settings live."""
    if isinstance(value, Part):
        yield find(value.room, value.name, trust=trust).__module__
        for _, inner in value.values:
            yield from _modules(inner, trust)
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _modules(inner, trust)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _modules(inner, trust)


def _plain(value: Any) -> Any:
    """Settings as JSON: parts as their specs."""
    if isinstance(value, Part):
        return _plain(value.spec)
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


class Planner:
    """Collects jobs and variants while the blocks of a study are gone through."""

    def __init__(self, study: Study, subject: Subject, threads: int, device: str, trust: bool) -> None:
        self.study, self.subject, self.threads, self.device, self.trust = study, subject, threads, device, trust
        self.variants: dict[str, Variety] = {}
        self.jobs: list[Job] = []

    def add(
        self,
        kind: str,
        settings: Mapping[str, Any],
        inputs: Mapping[str, str] | None = None,
        labels: Mapping[str, Any] | None = None,
        *,
        data: bool = True,
        parts: tuple[Part, ...] = (),
    ) -> str:
        """A job of a kind; returns its key. The same job asked for twice is one job."""
        module = f"{KINDS}.{kind}"
        environment: dict[str, Any] = {"threads": self.threads, "device": self.device}
        if kind in TIMED or settings.get("kind") == "latency_ms":
            environment["machine"] = machine()
        plain = _plain(settings)
        contents = {**(inputs or {}), **({"data": self.subject.content} if data else {})}
        modules = tuple(sorted({module, *_modules([settings, parts], self.trust)}))
        key, record = job_key(modules, f"{module}:{kind}", plain, contents, environment=environment)
        job = Job(key, kind, plain, dict(inputs or {}), {k: v for k, v in (labels or {}).items() if v != ""}, record)
        if not any(job.key == old.key and job.labels == old.labels for old in self.jobs):
            self.jobs.append(job)
        return key

    def grow(self, variety: Variety) -> None:
        """A further variant; its name must be new."""
        known = self.variants.get(variety.name)
        if known is not None and known.key != variety.key:
            raise InputError(
                f"two blocks would make {variety.name!r}, each in its own way; keep one, or name the finetune of one"
            )
        self.variants[variety.name] = variety

    def chosen(self, patterns: tuple[str, ...], where: str) -> list[Variety]:
        """The variants that a block selects."""
        return [self.variants[name] for name in select(patterns, list(self.variants), where)]

    def split(self, name: str | None, where: str) -> str:
        """A split that exists."""
        if name is None:
            return self.subject.evaluation
        if name not in self.subject.counts and name != "all":
            raise InputError(f"{where}: {self.subject.name} has no split {name!r}{near(name, self.subject.counts)}")
        return name

    def count(self, n: int | None, split: str) -> int:
        """How many images are meant: all, or at most as many as there are."""
        total = sum(self.subject.counts.values()) if split == "all" else self.subject.counts[split]
        return total if n is None else min(n, total)

    def target(self, name: str, where: str) -> str:
        """A class that exists, or none."""
        if name != NO_TARGET and name not in self.subject.classes:
            raise InputError(f"{where}: {name!r} is not a class{near(name, [*self.subject.classes, NO_TARGET])}")
        return name


def plan(study: Study, subject: Subject, *, threads: int, device: str = "cpu", trust: bool = False) -> Plan:
    """The jobs of a study, each after those whose results it needs; raises InputError for what can't be meant."""
    from bantamweight.studies import _chains, _questions

    planner = Planner(study, subject, threads, device, trust)
    planner.add("data", {"split": subject.evaluation})
    for grow in (_chains.train, _chains.compress, _chains.combine):
        grow(planner)
    for ask in (_questions.evaluate, _questions.attack, _questions.explain, _questions.measure):
        ask(planner)
    jobs = sorted(planner.jobs, key=lambda job: ORDER.index(job.kind if job.kind in ORDER else "variant"))
    return Plan(study, subject, tuple(planner.variants.values()), tuple(jobs), threads, trust, device)
