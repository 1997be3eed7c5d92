"""Several variants on several runtimes, timed in turns on this machine; timings of several machines in one place."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from bantamweight import facts as fact_table
from bantamweight.compression import sizes
from bantamweight.errors import InputError, StoreError
from bantamweight.facts import Fact
from bantamweight.judging.latency import latency_facts, over_facts
from bantamweight.judging.parity import parity_facts
from bantamweight.judging.sparsity import cost_facts, size_facts
from bantamweight.machine import describe
from bantamweight.models._profile import profile
from bantamweight.parts import configure
from bantamweight.runtimes._core import Session, compare, prepare, probe
from bantamweight.runtimes._latency import measure
from bantamweight.types import Images
from bantamweight.variants import Variant, build

__all__ = ["bench", "check_place", "keep", "merged"]

RUNTIMES = ("torch", "onnxruntime")


def bench(
    variants: Sequence[Variant],
    *,
    runtimes: Sequence[str | Mapping[str, Any]] = RUNTIMES,
    batches: Sequence[int] = (1, 16),
    threads: int | None = None,
    runs: int = 100,
    calibrate: Images | None = None,
    progress: Callable[[float], None] | None = None,
    trust: bool = False,
) -> list[Fact]:
    """Time every variant on every runtime in interleaved rounds, and say what it answers beside torch and weighs.

    Facts latency_ms (with mean, sd and p95), speedup over the dense ancestor on the same runtime, speedup_over the
    first variant on the first runtime, parity, size_bytes per format, parameters and macs. `calibrate` are images for
    runtimes of integers; `threads` are all cores when None. Raises InputError when a runtime can't express a variant.
    """
    names = [variant.name for variant in variants]
    if not names or len(set(names)) < len(names):
        raise InputError(f"expected variants with names of their own, got {', '.join(names) or 'none'}; rename one")
    count = describe().cores if threads is None else threads
    ranges = None if calibrate is None else calibrate.detach().cpu().float().contiguous().numpy()
    facts: list[Fact] = []
    with tempfile.TemporaryDirectory(prefix="bantamweight-") as folder, ExitStack() as stack:
        sessions: dict[tuple[str, str], Session] = {}
        for number, variant in enumerate(variants):
            counted = profile(build(variant, trust=trust), variant.input_shape)
            costs = {"parameters": counted.parameters, "macs": counted.macs}
            facts += [*cost_facts(costs, variant=variant.name), *size_facts(sizes(variant), variant=variant.name)]
            for spec in runtimes:
                part = configure("runtimes", spec, trust=trust)
                home = Path(folder) / f"{number}-{len(sessions)}"
                home.mkdir()
                session = stack.enter_context(
                    prepare(part, variant, threads=count, folder=home, images=ranges, trust=trust)
                )
                if (variant.name, session.runtime) in sessions:
                    raise InputError(f"expected each runtime once, got {session.runtime} twice; leave one out")
                sessions[variant.name, session.runtime] = session
                facts += _told(session, variant, count, home, trust)
        seconds = measure(sessions, threads=count, batches=batches, runs=runs, progress=progress)
        notes = {key: session.note for key, session in sessions.items()}
    timed = [*latency_facts(seconds, threads=count), *over_facts(seconds, next(iter(seconds)), threads=count)]
    return facts + [fact.model_copy(update={"note": notes[fact.variant, fact.runtime]}) for fact in timed]


def _told(session: Session, variant: Variant, threads: int, folder: Path, trust: bool) -> list[Fact]:
    """What an exported file weighs, and how it answers 64 random images beside torch."""
    if session.artifact is None:
        return []
    images = probe(variant.input_shape, 64, "bench")
    with prepare("torch", variant, threads=threads, folder=folder, trust=trust) as reference:
        parity = compare(session, reference, np.ascontiguousarray(images))
    weighed = {session.artifact.kind: session.artifact.size_bytes}
    return [
        *parity_facts(parity, runtime=session.runtime, variant=variant.name),
        *size_facts(weighed, runtime=session.runtime, variant=variant.name),
    ]


def merged(folders: Sequence[Path | str]) -> list[Fact]:
    """The facts of several benches as one list, each once. Raises InputError when a folder holds none."""
    found: dict[str, Fact] = {}
    for folder in map(Path, folders):
        path = folder / "facts.parquet" if folder.is_dir() else folder
        if not path.is_file():
            raise InputError(f"expected a folder that bench has written, with facts.parquet, got {str(folder)!r}")
        found.update({fact.model_dump_json(): fact for fact in fact_table.load(path)})
    facts = list(found.values())
    if not any(fact.metric == "latency_ms" for fact in facts):
        raise InputError(f"expected timings in {', '.join(map(str, folders))}, got none; give folders of bench")
    return facts


def check_place(folder: Path | str) -> None:
    """Raise InputError where something else lies than an earlier bench, before anything is measured."""
    folder = Path(folder)
    if folder.exists() and not (folder.is_dir() and ((folder / "run.json").is_file() or not any(folder.iterdir()))):
        raise InputError(f"expected {folder} to be empty or an earlier bench; choose another folder")


def keep(facts: Sequence[Fact], folder: Path | str) -> Path:
    """Write facts as a run's folder, of which a report can be made. Raises InputError where something else lies."""
    folder = Path(folder)
    check_place(folder)
    names = list(dict.fromkeys(fact.variant for fact in facts if fact.variant))
    machines = list(dict.fromkeys(fact.machine for fact in facts if fact.machine))
    manifest = {"study": "bench", "title": "Time and bytes", "variants": [{"name": name} for name in names]}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fact_table.save(facts, folder / "facts.parquet")
        text = json.dumps({**manifest, "jobs": [], "machine": "; ".join(machines)}, indent=1)
        (folder / "run.json").write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"expected to be able to write {folder}, got: {error.strerror}; choose another place"
        ) from error
    return folder
