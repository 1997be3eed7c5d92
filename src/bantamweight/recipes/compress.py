"""From a model to a lighter one that meets a target: cut, train what is left, judge both beside the parent.

Every stage is kept in a folder beside the result until that is whole, so a run that was killed goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from pydantic import ValidationError

from bantamweight import variants
from bantamweight.compression import measure, save_coded, sizes
from bantamweight.data import Data, Preprocessing, align, evaluation_split
from bantamweight.data import load as load_data
from bantamweight.errors import InputError, StoreError, near
from bantamweight.facts import proportion
from bantamweight.judging.accuracy import paired_facts
from bantamweight.machine import describe
from bantamweight.models._profile import profile
from bantamweight.parts import Part, complaint, configure
from bantamweight.parts import settings as settings_of
from bantamweight.recipes import FINETUNE, FINETUNES
from bantamweight.recipes._cuts import Cut, latency_on, target_of
from bantamweight.recipes._rounds import ROUNDS, Schedule
from bantamweight.recipes._stages import Job, made
from bantamweight.recipes.prune import right_on
from bantamweight.training import train
from bantamweight.variants import Variant

__all__ = ["Compressed", "compress"]

SCHEDULES = get_args(Schedule)
ANSWER = "compress.json"
CODED = "coded.safetensors"
"""The smallest file of the result, beside the folder's own; `compression.load_coded` reads it back to the bit."""


@dataclass(frozen=True, eq=False)
class Compressed:
    """A lighter variant, what was asked and achieved (plain JSON, as the command prints it), and its folder."""

    variant: Variant
    summary: Mapping[str, Any]
    folder: Path | None


def compress(
    model: Variant | str | Path,
    data: Data | str | Path | Mapping[str, Any],
    use: str | Mapping[str, Any] | Part = "magnitude",
    *,
    target: Mapping[str, float],
    schedule: Schedule = "one-shot",
    finetune: str | Mapping[str, Any] | None = FINETUNE,
    rounds: int | None = None,
    allocate: str | None = None,
    round_to: int = 1,
    layers: Iterable[str] | None = None,
    skip: Iterable[str] = (),
    uncut: Literal["refuse", "say"] = "refuse",
    runtime: str | Mapping[str, Any] = "onnxruntime",
    threads: int | None = None,
    split: str | None = None,
    seed: int = 0,
    out: Path | str | None = None,
    trust: bool = False,
    heard: Callable[[str, int, int], None] | None = None,
    **model_settings: Any,
) -> Compressed:
    """Compress `model` by the criterion `use` until it meets `target`, fine-tune it, and judge it beside its parent.

    `target` is one of `sparsity` (zeros among the weights; of channels, the share that goes), `macs` or `parameters` (a
    share below 1 or a count), `size_bytes` (of the smallest file; of channels, the dense float32 one), `latency_ms`
    (one image on `runtime`). `schedule` cuts once, in `rounds` that are scored anew (stepwise: 10) or trained as well
    (iterative: 3), or gradually inside one training. `finetune` is a name in FINETUNES, settings of `training.train`
    laid over FINETUNE, or None. The result, a variant folder with the smallest file beside it, goes to `out`; a run
    that was killed goes on from there. Raises InputError for whatever can't be done as asked.
    """
    configured = configure("compression", use, trust=trust)
    rule, spec = configured.make(), configured.spec
    kind, value = target_of(target, rule)
    recipe = _recipe(finetune, seed)
    if schedule not in SCHEDULES:
        raise InputError(f"{schedule!r} is no schedule{near(str(schedule), SCHEDULES)}")
    parent = model if isinstance(model, Variant) else _loaded(model, trust, model_settings)
    loaded = _images(data, parent, trust)
    if recipe is not None and not len(loaded.splits.get("train", ())):
        raise InputError(f"expected a split 'train' in {loaded.name!r} to fine-tune on, got none; pass finetune=None")
    where, judged = evaluation_split(loaded, split)
    count = torch.get_num_threads() if threads is None else threads
    clock = latency_on(runtime, count, data=loaded, trust=trust) if kind == "latency_ms" else None
    settings = {
        "allocate": allocate,
        "round_to": round_to,
        "layers": layers if layers is None else _listed(layers),
        "skip": _listed(skip),
        "uncut": uncut,
    }
    question = {
        "parent": parent.hash,
        "data": loaded.content,
        "use": spec,
        "asked": {kind: value},
        "schedule": schedule,
        "rounds": rounds or ROUNDS[schedule] if schedule in ROUNDS else None,
        "finetune": recipe,
        "split": where,
        "runtime": [runtime, count, str(describe())] if clock else None,
        **settings,
    }
    folder = None if out is None else Path(out)
    home = None if folder is None else _home(folder, question)
    if folder is not None and home == folder:
        return Compressed(variants.load(folder), _said(folder)["summary"], folder)
    job = Job(parent, loaded, rule, spec, kind, value, schedule, recipe, rounds, settings, clock, home, trust, heard)
    with _cleared(parent, home):
        cut, result = made(job)
        tried = {"dense": parent, **({} if result is cut.variant else {"cut": cut.variant}), "result": result}
        right = {name: right_on(variant, judged, trust) for name, variant in tried.items()}
    summary = {
        **_told(parent, cut, result, where, right, trust),
        **{key: question[key] for key in ("use", "asked", "schedule", "finetune")},
    }
    if folder is not None and home is not None:
        _keep(result, {"question": question, "summary": summary}, home, folder)
    return Compressed(result, summary, folder)


def _told(
    parent: Variant, cut: Cut, result: Variant, where: str, right: Mapping[str, np.ndarray], trust: bool
) -> dict[str, Any]:
    """What was achieved, what both cost, and who is right how often, before and after fine-tuning."""
    return {
        "variant": result.name,
        "hash": result.hash,
        "parent": parent.name,
        "achieved": {
            "reached": cut.reached,
            "below": cut.below,
            "above": cut.above,
            **_costs(result, trust),
            "uncut": dict(cut.uncut or {}),
        },
        "dense": _costs(parent, trust),
        "accuracy": {"split": where, **{name: _proportion(row) for name, row in right.items()}},
        "against_parent": _paired(right, "result", "dense"),
        **(
            {"cut_against_parent": _paired(right, "cut", "dense"), "tuned_against_cut": _paired(right, "result", "cut")}
            if "cut" in right
            else {}
        ),
    }


@contextmanager
def _cleared(parent: Variant, home: Path | None) -> Iterator[None]:
    """What can't be done as asked leaves nothing behind; a model that is the user's own may raise anything."""
    try:
        yield
    except Exception as error:
        own = ":" in parent.factory and not isinstance(error, StoreError)
        if home is not None and (own or isinstance(error, InputError)):
            shutil.rmtree(home, ignore_errors=True)
        if not own or isinstance(error, InputError):
            raise
        said = f"{type(error).__name__}: {error}"
        raise InputError(f"{parent.factory!r} raised {said} on images of {parent.input_shape}; mend it") from error


def _recipe(finetune: str | Mapping[str, Any] | None, seed: int) -> dict[str, Any] | None:
    """Settings of `training.train`; a named recipe, or settings laid over the default one."""
    if isinstance(finetune, str):
        if finetune not in FINETUNES:
            raise InputError(f"{finetune!r} is no recipe of fine-tuning{near(finetune, FINETUNES)}")
        finetune = FINETUNES[finetune]
    if finetune is None:
        return None
    # Plain JSON: a recipe is part of the question that a folder answers.
    given = {key: value.spec if isinstance(value, Part) else value for key, value in finetune.items()}
    recipe, known = {**FINETUNE, "seed": seed, **given}, settings_of(train)
    try:
        known.model_validate(recipe)
    except ValidationError as error:
        raise InputError(complaint(error, "train", known)) from error
    return recipe


def _loaded(model: str | Path, trust: bool, settings: Mapping[str, Any]) -> Variant:
    from bantamweight.loading import load_model

    return load_model(str(model), trust=trust, **settings)


def _images(data: Data | str | Path | Mapping[str, Any], parent: Variant, trust: bool) -> Data:
    preprocessing = Preprocessing.from_dict(parent.preprocessing) if parent.preprocessing else None
    loaded = data if isinstance(data, Data) else load_data(data, trust=trust, preprocessing=preprocessing)
    return align(loaded, parent.classes) if parent.classes else loaded


def _listed(names: Iterable[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _home(out: Path, question: Mapping[str, Any]) -> Path:
    """Where this question's stages are kept, beside the result; the result itself when it is there already."""
    try:
        answered = (out / ANSWER).is_file()
        same = answered and _said(out).get("question") == json.loads(json.dumps(question))
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except (OSError, ValueError) as error:
        raise InputError(f"expected a folder for the result at {str(out)[:80]!r}, got: {error}") from error
    if same:
        return out
    if answered:
        raise InputError(f"{str(out)!r} holds the answer to another question; choose another folder")
    if taken:
        raise InputError(f"expected a new or an empty folder for the result, got {str(out)!r}; choose another")
    name = hashlib.blake2b(json.dumps(question, sort_keys=True).encode(), digest_size=8).hexdigest()
    return out.absolute().parent / f".{out.name}-{name}"


def _said(out: Path) -> dict[str, Any]:
    found = json.loads((out / ANSWER).read_text())
    return found if isinstance(found, dict) else {}


def _keep(result: Variant, said: Mapping[str, Any], home: Path, out: Path) -> None:
    """The result at its place, whole or not at all; then the stages are no longer needed."""
    try:
        variants.save(result, home / "result")
        save_coded(result, home / "result" / CODED)
        (home / "result" / ANSWER).write_text(json.dumps(said, indent=1))
        os.rename(home / "result", out)
        shutil.rmtree(home, ignore_errors=True)
    except OSError as error:
        raise StoreError(f"expected to be able to write {out}, got: {error.strerror}; choose another place") from error


def _costs(variant: Variant, trust: bool) -> dict[str, Any]:
    """MACs, FLOPs, parameters, non-zeros, the share of zeros among prunable weights, bytes of every file format."""
    module = variants.build(variant, trust=trust)
    counted, zeros = profile(module, variant.input_shape), measure(module)
    return {
        "macs": counted.macs,
        "flops": 2 * counted.macs,
        "parameters": counted.parameters,
        "nonzeros": zeros.nonzeros,
        "zeros": zeros.sparsity,
        "size_bytes": sizes(variant),
    }


def _proportion(right: np.ndarray) -> dict[str, Any]:
    fact = proportion("accuracy", int(right.sum()), right.size)
    return {"correct": fact.k, "n": fact.n, "value": fact.value, "low": fact.low, "high": fact.high}


def _paired(right: Mapping[str, np.ndarray], one: str, other: str) -> dict[str, Any]:
    """One of them against the other on the same images: exact McNemar, Tango's interval."""
    (fact,) = paired_facts(right, [(one, other)])
    return {key: getattr(fact, key) for key in ("value", "low", "high", "p", "gained", "lost", "n", "detectable")}
