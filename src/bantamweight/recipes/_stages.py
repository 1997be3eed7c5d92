"""The stages of a compression, cuts and training after them, each kept in a folder until the whole is done."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bantamweight import variants
from bantamweight.compression import ChannelCriterion, Factorisation
from bantamweight.data import Data
from bantamweight.errors import InputError
from bantamweight.parts import configure
from bantamweight.recipes._cuts import Cut, Rule, cut_to, value_of
from bantamweight.recipes._rounds import ROUNDS, Schedule, rounds
from bantamweight.recipes.prune import tune
from bantamweight.training import train
from bantamweight.training._job import learns_from_a_teacher
from bantamweight.variants import Variant

__all__ = ["Job", "made"]


@dataclass(frozen=True, eq=False)
class Job:
    """What was asked, checked: `use` is the criterion's spec, `home` where stages are kept (nowhere when None),
    `teacher` who teaches where an objective learns from one (the parent when None)."""

    parent: Variant
    data: Data
    rule: Rule
    use: Mapping[str, Any]
    kind: str
    value: float
    schedule: Schedule
    finetune: Mapping[str, Any] | None
    rounds: int | None
    settings: Mapping[str, Any]
    clock: Callable[[Variant], float] | None
    home: Path | None
    trust: bool
    heard: Callable[[str, int, int], None] | None
    teacher: Variant | None = None

    @property
    def name(self) -> str:
        """What the cut is called, below its parent."""
        kind = "" if self.kind == "sparsity" else f"{self.kind}-"
        way = "" if self.schedule == "one-shot" else f"-{self.schedule}"
        return f"{self.parent.name}/{self.rule.name}-{kind}{self.value:g}{way}"

    def folder(self, stage: str) -> Path | None:
        """Where a stage is kept."""
        return None if self.home is None else self.home / stage

    def tell(self, what: str) -> Callable[[int, int], None] | None:
        """How a training says how far it is."""
        heard = self.heard
        return None if heard is None else lambda done, total: heard(what, done, total)


COUNTS = ("macs", "parameters", "size_bytes")


def made(job: Job) -> tuple[Cut, Variant]:
    """The last cut, and what training made of it; stages that are done already are read, not done again."""
    if job.schedule == "gradual":
        return _gradual(job)
    here, cut, kept, dense = job.parent, Cut(job.parent, 0.0), 1.0, _dense(job)
    if job.kind in COUNTS and job.value > 1 and job.value >= (has := value_of(job.parent, job.kind, trust=job.trust)):
        raise InputError(f"the model has {has:,.0f} {job.kind} as it is, and {job.value:,.0f} were asked; ask for less")
    channels = isinstance(job.rule, ChannelCriterion) and job.kind == "sparsity"
    stages = rounds(job.schedule, job.kind, job.value, dense, job.finetune, job.rounds)
    for number, stage in enumerate(stages, start=1):
        # A share of channels is one of those still there.
        value = 1 - (1 - stage.value) / kept if channels else stage.value
        cut = _cut(job, here, value, number)
        here = cut.variant
        if stage.finetune is not None:
            here = _tuned(job, here, stage.finetune, number, len(stages))
        if number < len(stages):
            kept *= 1 - cut.reached if channels else 1
    if channels:
        return cut.seen(lambda gone: 1 - kept * (1 - gone)), here
    share = job.schedule in ROUNDS and job.kind in ("macs", "parameters") and job.value <= 1
    return cut.seen(lambda count: count / dense) if share else cut, here


def _dense(job: Job) -> float:
    """The target's value before any cut, where a schedule has to know it."""
    if job.schedule == "one-shot" or (job.kind == "sparsity" and isinstance(job.rule, ChannelCriterion)):
        return 0.0
    if job.kind == "sparsity":
        return value_of(job.parent, job.kind, layers=job.settings["layers"], skip=job.settings["skip"], trust=job.trust)
    return job.clock(job.parent) if job.clock is not None else value_of(job.parent, job.kind, trust=job.trust)


def _cut(job: Job, here: Variant, value: float, number: int) -> Cut:
    folder = job.folder(f"cut-{number}")
    beside = None if folder is None else folder.with_suffix(".json")
    if folder is not None and beside is not None and folder.is_dir():
        return Cut(variants.load(folder), **json.loads(beside.read_text()))
    found = cut_to(
        here,
        job.rule,
        job.kind,
        value,
        job.data,
        name=job.name,
        latency=job.clock,
        trust=job.trust,
        **job.settings,
    )
    if folder is not None and beside is not None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        said = {key: kept for key, kept in asdict(replace(found, variant=None)).items() if key != "variant"}  # type: ignore[arg-type]
        beside.write_text(json.dumps(said))
        variants.save(found.variant, folder)  # last: a stage whose variant is there is whole
    return found


def _tuned(job: Job, cut: Variant, finetune: Mapping[str, Any], number: int, of: int) -> Variant:
    folder = job.folder(f"tuned-{number}")
    if folder is not None and folder.is_dir():
        return variants.load(folder)
    what = "fine-tuning" if of == 1 else f"round {number} of {of}"
    training = job.folder(f"training-{number}")
    tuned, _ = tune(
        cut,
        job.data,
        finetune,
        folder=training,
        progress=job.tell(what),
        teacher=job.teacher or job.parent,
        trust=job.trust,
    )
    if folder is not None:
        variants.save(tuned, folder)
    return tuned


def _gradual(job: Job) -> tuple[Cut, Variant]:
    """Weights go during training; what is left at its end is the cut and the result in one."""
    refusal = _not_gradual(job)
    if refusal or job.finetune is None:
        raise InputError(refusal or "gradual compression cuts while it trains; leave finetune in, or use one-shot")
    # A recipe may say when weights go (end, every, ...); how many and which is the job's.
    asked = {"use": "gradual", "sparsity": job.value, "criterion": job.use, "allocate": job.settings["allocate"]}
    pruning = {**(job.finetune.get("compress") or {}), **asked}
    objective = configure("objectives", job.finetune.get("objective", "standard"), trust=job.trust)
    trained = train(
        replace(job.parent, name=job.name),
        job.data,
        job.folder("training"),
        progress=job.tell("pruning and training"),
        trust=job.trust,
        teacher=(job.teacher or job.parent) if learns_from_a_teacher(objective) else None,
        **{**job.finetune, "compress": pruning},
    ).variant
    assert trained is not None  # a variant went in
    return Cut(trained, value_of(trained, "sparsity", trust=job.trust)), trained


def _not_gradual(job: Job) -> str:
    """Why a job can't be done gradually, or nothing."""
    if isinstance(job.rule, ChannelCriterion | Factorisation) or job.kind != "sparsity":
        return "gradual compression sets weights to zero up to a sparsity; use iterative for other targets"
    if job.settings["layers"] is not None or job.settings["skip"]:
        return "gradual compression thins every layer; leave out layers and skip, or use iterative"
    return ""
