"""Runs a study: plan, jobs in order, facts, manifest. Killed at any moment it goes on where it was."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bantamweight import facts as fact_table
from bantamweight.errors import InputError
from bantamweight.facts import Fact
from bantamweight.machine import describe, device_of
from bantamweight.studies import _manifest, spec
from bantamweight.studies._blocks import Study
from bantamweight.studies._sources import closure, fingerprint
from bantamweight.studies.plan import KINDS, Job, Plan, machine, plan, subject
from bantamweight.studies.store import Busy, Store, canonical

if TYPE_CHECKING:
    from bantamweight.data import Data

__all__ = ["Progress", "Run", "prepare", "run"]

STORE = ".bantam"
"""Where results are kept unless said otherwise (also by the environment variable BANTAM_STORE)."""


OWN = {"attack", "threat", "target", "seed"}
"""Columns that the job `explain` fills itself: only some of its facts are about attacked images."""


class Progress(NamedTuple):
    """What is happening: job `number` of `total` (from 1), how much of it is `done` (0 to 1); `seconds` since it
    began. `kept` means that its result was there already."""

    number: int
    total: int
    kind: str
    name: str
    done: float
    text: str
    kept: bool
    seconds: float


@dataclass(frozen=True)
class Run:
    """A finished study: its folder, every fact, and the outcome of each gate."""

    path: Path
    study: str
    facts: tuple[Fact, ...]
    gates: tuple[Mapping[str, Any], ...]

    @property
    def passed(self) -> bool:
        """Whether every gate passed."""
        return all(gate["passed"] for gate in self.gates)

    @property
    def report(self) -> Path:
        """Where the report of this run belongs."""
        return self.path / "report.html"


def run(
    study: str | os.PathLike[str] | Mapping[str, Any],
    *,
    overrides: Iterable[str] = (),
    store: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    device: str = "auto",
    trust: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Run:
    """Run a study (a path, a bundled name or a mapping) to its facts; what is finished already is not done again.

    `overrides` are lines such as `train.0.epochs=2`; `threads` come before what the study says; `device` is where
    models are attacked (`auto`: CUDA where there is some, else the processor; trainings take the best there is). Raises
    InputError for whatever is wrong with the study or the data, StoreError when the store can't be used;
    KeyboardInterrupt leaves everything finished in place.
    """
    if threads is not None and not 1 <= threads <= 1024:
        raise InputError(f"expected 1 to 1024 threads, got {threads}")
    checked = spec.read(study, overrides=overrides, trust=trust)
    with pinned(threads or checked.threads) as count:
        planned, data = prepare(checked, threads=count, device=device, trust=trust)
        home = Store(store or os.environ.get("BANTAM_STORE") or STORE)  # no folder for a study that can't be meant
        name = _name(planned)
        with home.planned(name, planned.keys):
            _perform(planned, home, data, progress or (lambda _event: None))
            return _finish(planned, home, name)


@contextmanager
def pinned(threads: int | None) -> Iterator[int]:
    """Torch on a stated number of threads (one per core this process may use, unless said), as before afterwards."""
    import torch

    before, count = torch.get_num_threads(), threads or describe().cores
    torch.set_num_threads(count)
    try:
        yield count
    finally:
        torch.set_num_threads(before)


def prepare(study: Study, *, threads: int, device: str = "auto", trust: bool = False) -> tuple[Plan, Data]:
    """The data of a study, read, and the plan of its jobs."""
    from bantamweight.data import load

    home = str(device_of(device))
    data = load(study.data, trust=trust)
    return plan(study, subject(data), threads=threads, device=home, trust=trust), data


def _name(planned: Plan) -> str:
    """A run is named by its study and by everything that decides its facts."""
    said = {
        "jobs": [[job.key, sorted(job.labels.items())] for job in planned.jobs],
        "study": _manifest.said(planned.study),
        "source": fingerprint(closure(["bantamweight.studies._derive", "bantamweight.studies._manifest"])),
    }
    return f"{planned.study.study}-{blake2b(canonical(said).encode(), digest_size=4).hexdigest()}"


def _perform(planned: Plan, store: Store, data: Data, progress: Callable[[Progress], None]) -> None:
    """Every job once. What another process is working on is left for later, and waited for at the end."""
    unique = {job.key: job for job in reversed(planned.jobs)}
    waiting = [unique[key] for key in planned.keys]
    total, finished, wait = len(waiting), 0, False
    while waiting:
        postponed = []
        for job in waiting:
            ready = all(store.has(key) for key in job.inputs.values() if key in unique)
            desk = _Desk(planned, store, data, progress, finished + 1, total)
            try:
                done = ready and desk.do(job, wait=wait)
            except Busy:
                done = False
            finished, wait = finished + done, wait and not done
            postponed += [] if done else [job]
        wait, waiting = len(postponed) == len(waiting), postponed


@dataclass(frozen=True)
class _Desk:
    """Does one job: in the store's aside folder, with its inputs at hand, and says how far it is."""

    planned: Plan
    store: Store
    data: Data
    progress: Callable[[Progress], None]
    number: int
    total: int

    def do(self, job: Job, *, wait: bool) -> bool:
        name, kept = _title(job), self.store.has(job.key)
        started = time.monotonic()

        def say(done: float, text: str = "") -> None:
            event = Progress(self.number, self.total, job.kind, name, done, text, kept, time.monotonic() - started)
            self.progress(event)

        def work(out: Path, scratch: Path) -> None:
            from bantamweight.studies._place import Place

            place = Place(
                out=out,
                scratch=scratch,
                inputs={key: self.store.job(value) for key, value in job.inputs.items()},
                data=self.data,
                threads=self.planned.threads,
                device=self.planned.device,
                trust=self.planned.trust,
                path=str(job.labels.get("path", "")),
                tell=lambda done, text: say(min(done, 0.999), text),
            )
            function = getattr(importlib.import_module(f"{KINDS}.{job.kind}"), job.kind)
            fact_table.save(function(place, **job.settings), out / "facts.parquet")

        say(0.0)
        self.store.perform(job.key, work, record={"kind": job.kind, **job.record}, wait=wait)
        say(1.0)
        return True


def _title(job: Job) -> str:
    """A job in a few words, for people."""
    labels = job.labels
    source = f"{labels['source']} ->" if "source" in labels else ""
    aimed = f"to {labels['target']}" if labels.get("target") else ""
    parts = (source, labels.get("variant", ""), labels.get("attack", ""), labels.get("threat", ""), aimed)
    split = labels.get("split", "") if job.kind == "evaluate" else ""
    return " ".join(str(part) for part in (*parts, split) if part)


def _finish(planned: Plan, store: Store, name: str) -> Run:
    """Gather facts, derive what follows, judge the gates, write the run."""
    from bantamweight.studies._derive import derived, judged

    gathered = _distinct(fact for job in planned.jobs for fact in _labelled(planned, store, job))
    further = [_stamped(planned, fact, {}) for fact in derived(planned, store, gathered)]
    found = (*gathered, *further)
    gates = judged(planned.study.gates, found)

    def write(folder: Path) -> None:
        fact_table.save(found, folder / "facts.parquet")
        _manifest.write(folder / "run.json", planned, gates)

    return Run(store.write_run(name, write), planned.study.study, found, tuple(gates))


def _distinct(facts: Iterable[Fact]) -> list[Fact]:
    """Two jobs may say the same of a variant (that a method is not defined for it); once is enough."""
    found: dict[Fact, Fact] = {}
    for fact in facts:
        found.setdefault(fact.model_copy(update={"job": ""}), fact)
    return list(found.values())


def _labelled(planned: Plan, store: Store, job: Job) -> Sequence[Fact]:
    """A job's facts with what this study calls things; a column that the job filled itself stays."""
    rows = fact_table.load(store.job(job.key) / "facts.parquet")
    known = set(Fact.model_fields) - (OWN if job.kind == "explain" else set())
    labels = {key: value for key, value in job.labels.items() if key in known}
    labels |= {"job": job.key, "versions": _manifest.versions(job.record)}
    return [_stamped(planned, fact, labels) for fact in rows]


def _stamped(planned: Plan, fact: Fact, labels: Mapping[str, Any]) -> Fact:
    columns = {"study": planned.study.study, "machine": machine(), "threads": planned.threads, **labels}
    return fact.model_copy(update={key: value for key, value in columns.items() if getattr(fact, key) in ("", None)})
