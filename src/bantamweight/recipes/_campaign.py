"""Cascades over many images, stage upon stage, in shards that are attacked, written and forgotten, or found and read.

A verdict depends on its own image alone, so shards change nothing but how much is in memory and how much is lost
when the process is killed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bantamweight import rng
from bantamweight.attacks._cascade import Cascade, Part, added, credited, fall, overlaid, sized
from bantamweight.attacks._verdicts import Verdicts, load, save
from bantamweight.errors import InputError, StoreError
from bantamweight.oracle import Oracle
from bantamweight.recipes._fingerprint import fingerprint
from bantamweight.threats import Threat
from bantamweight.types import Images, Int64, Labels, Logits
from bantamweight.whole import put, whole

__all__ = ["SHARD", "Campaign", "Heard", "Question", "adversarial", "claim"]

SHARD = 512
"""Images attacked at a time: a few megabytes, and full tiles for most of the way."""

Heard = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Question:
    """Images (floats or bytes) with all that an attack on them needs to know."""

    oracle: Oracle
    images: Tensor
    labels: Labels
    threat: Threat
    clean: Logits
    targets: Labels | None = None
    starts: Tensor | None = None
    seed: int = 0
    batch: int = 256

    def floats(self, index: Int64[Tensor, " b"]) -> Images:
        """Copies of some images, in [0, 1]; bytes are widened only here, a shard at a time."""
        return _floats(self.images[index])

    def keys(self) -> Int64[Tensor, " n"]:
        """One key per image, from its content."""
        few = torch.arange(len(self.images)).split(SHARD // 8)
        return torch.cat([rng.image_keys(self.floats(part)) for part in few])


@dataclass
class Campaign:
    """Stages on one question. `columns` and `parts` are the verdicts so far; pictures stay in their shards.

    With a folder, each shard of a stage is kept there when it is done; `earlier` are the seconds that those took which
    were found. `heard(part, done, total)` is told, in images,
    how far a stage is.
    """

    question: Question
    folder: Path | None = None
    heard: Heard | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    pictures: list[tuple[np.ndarray, Images | Path]] = field(default_factory=list)
    earlier: float = 0.0

    def stage(self, name: str, protocol: Cascade, index: Int64[Tensor, " m"]) -> None:
        """Run a cascade on the images of `index` and lay its verdicts over those there are."""
        said: list[list[Part]] = []
        smallest = sized(self.question.threat) if protocol.until == "converged" else None
        for number, rows in enumerate(index.split(SHARD) if len(index) else ()):
            place = None if self.folder is None else self.folder / f"{name}-{number:05d}"
            if place is None or not place.exists():
                verdicts, parts = _attacked(protocol, self.question, rows, self._teller(number * SHARD, len(index)))
                if place is not None:
                    _keep(verdicts, parts, place)
            else:
                verdicts, parts = _kept(place)
                self.earlier += sum(part.seconds for part in parts)
            said.append(credited(parts, self._lay(verdicts, rows.numpy(), place, smallest)))
            del verdicts  # its pictures, before the next shard makes its own
        prefix = "" if name == "main" else f"{name}/"
        self.parts += [replace(part, name=prefix + part.name) for part in (added(said) if said else [])]

    def again(self, name: str, protocol: Cascade, index: Int64[Tensor, " m"]) -> None:
        """A stage that draws other random numbers than those before it: what stood against these says little."""
        question = self.question
        self.question = replace(question, seed=rng.stream(question.seed, name))
        self.stage(name, protocol, index)
        self.question = question

    def _lay(self, verdicts: Verdicts, rows: np.ndarray, place: Path | None, smallest: str | None) -> np.ndarray:
        """Lay verdicts over those there are; which part of the stage broke each row that stood before it, -1: none."""
        new = {**verdicts.columns, "part": np.where(verdicts["success"], verdicts["part"] + len(self.parts), -1)}
        if not self.columns:
            total = len(self.question.images)
            self.columns = {key: np.zeros(total, value.dtype) for key, value in new.items()}
        stood = ~self.columns["success"][rows]
        if not self.parts:
            for key, value in new.items():
                self.columns[key][rows] = value
            changed = np.ones(len(rows), dtype=bool)
        else:
            self.columns, changed = overlaid(self.columns, new, rows, smallest)
        broken: np.ndarray = np.where(stood, verdicts["part"], -1)
        self.pictures.append((np.where(changed, rows, -1), verdicts.images if place is None else place))
        return broken

    def _teller(self, done: int, total: int) -> Callable[[str, int], None] | None:
        heard = self.heard
        return None if heard is None else lambda part, _: heard(part, done, total)

    def recount(self) -> None:
        """Credit each image to the attack whose perturbation of it is the smallest of all stages."""
        part = self.columns["part"]
        broken = np.bincount(part[part >= 0], minlength=len(self.parts))
        self.parts = [replace(one, broken=int(count)) for one, count in zip(self.parts, broken, strict=True)]

    def unbroken(self) -> Int64[Tensor, " m"]:
        """Images that nothing has broken, those not attacked yet among them; before the first stage all."""
        if not self.columns:
            return torch.arange(len(self.question.images))
        return torch.from_numpy(np.flatnonzero(~self.columns["success"]))

    def standing(self) -> Int64[Tensor, " m"]:
        """Images attacked and not broken."""
        return torch.from_numpy(np.flatnonzero(self.columns["attacked"] & ~self.columns["success"]))

    def sample(self, size: int, purpose: str, among: np.ndarray) -> Int64[Tensor, " m"]:
        """At most `size` of these images, chosen by their content and the seed, not by their place."""
        rows = torch.from_numpy(np.flatnonzero(among))
        if len(rows) <= size:
            return rows
        keys = torch.cat([rng.image_keys(self.question.floats(part)) for part in rows.split(SHARD)])
        ranks = rng.fold(keys, torch.full_like(keys, rng.stream(self.question.seed, purpose)))
        return rows[ranks.argsort(stable=True)[:size]].sort().values

    def images(self, index: Int64[Tensor, " m"] | None = None) -> Images:
        """The adversarial images of some rows (all, when None), in their order."""
        wanted = np.arange(len(self.question.images)) if index is None else index.numpy()
        found = self.question.floats(torch.from_numpy(wanted))
        spot = np.full(len(self.question.images), -1)
        spot[wanted] = np.arange(len(wanted))
        for rows, held in self.pictures:
            mine = np.flatnonzero((rows >= 0) & (spot[np.maximum(rows, 0)] >= 0))
            if len(mine):
                images = load_file(held / "images.safetensors")["images"] if isinstance(held, Path) else held
                found[torch.from_numpy(spot[rows[mine]])] = images[torch.from_numpy(mine)]
        return found

    def verdicts(self, index: Int64[Tensor, " m"]) -> Verdicts:
        """The verdicts of some rows, with their pictures."""
        columns = {key: values[index.numpy()] for key, values in self.columns.items()}
        return Verdicts("", str(self.question.threat), columns, self.images(index))

    def write(self, out: Path, summary: dict[str, Any]) -> None:
        """The answer as files: `result.json` last, so that its presence means the rest is there."""
        total = len(self.question.images)
        keys = self.question.keys()
        for number, rows in enumerate(torch.arange(total).split(SHARD)):
            held = {"keys": keys[rows], "index": rows, "images": self.images(rows)}
            with whole(out / f"images-{number:05d}.safetensors", HINT) as aside:
                save_file(held, aside)
        table = pa.table({"index": np.arange(total), "key": keys.numpy(), **self.columns})
        with whole(out / "verdicts.parquet", HINT) as aside:
            pq.write_table(table, aside)
        put(out / "result.json", json.dumps(summary, indent=1), HINT)
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


HINT = "choose another folder"


@contextmanager
def _writing(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{place} can't be written: {error.strerror or error}; {HINT}") from error


def _attacked(
    protocol: Cascade, question: Question, rows: Tensor, heard: Callable[[str, int], None] | None
) -> tuple[Verdicts, list[Part]]:
    return fall(
        protocol,
        question.oracle,
        question.floats(rows),
        question.labels[rows],
        question.threat,
        targets=None if question.targets is None else question.targets[rows],
        seed=question.seed,
        batch=question.batch,
        clean=question.clean[rows],
        starts=None if question.starts is None else _floats(question.starts[rows]),
        on_part=heard,
    )


def _floats(images: Tensor) -> Images:
    return images.to(torch.float32).div_(255.0) if images.dtype == torch.uint8 else images


def _keep(verdicts: Verdicts, parts: list[Part], place: Path) -> None:
    """Written aside and renamed: a shard is there whole or not at all."""
    aside = place.with_name(place.name + ".aside")
    shutil.rmtree(aside, ignore_errors=True)
    with _writing(place):
        aside.mkdir(parents=True)
        save(verdicts, aside)
        (aside / "parts.json").write_text(json.dumps([asdict(part) for part in parts]))
        aside.rename(place)


def _kept(place: Path) -> tuple[Verdicts, list[Part]]:
    parts = [Part(**plain) for plain in json.loads((place / "parts.json").read_text())]
    return load(place), parts


def claim(out: Path, question: Question, spec: dict[str, Any], plan: Cascade) -> None:
    """Make the folder this question's own; raises InputError when it holds anything else.

    The question is also what the attacks are made of, and the form of the model that they ask: a run does not go on
    where one with other settings, or another surrogate, has stopped.
    """
    content = hashlib.blake2b(digest_size=16)
    for tensor in (question.images, question.labels, question.clean, question.targets, question.starts):
        if tensor is not None:
            content.update(tensor.contiguous().numpy().data)
    asked = {
        "content": content.hexdigest(),
        "threat": [str(question.threat), repr(question.threat.eps)],
        "attacks": spec,
        "made of": fingerprint(plan),
        "seed": question.seed,
        "precision": question.oracle.precision,
        "access": question.oracle.access,
        "device": question.oracle.device.type,
        "asked": fingerprint([type(question.oracle.proposer).__qualname__, question.oracle.proposer.state_dict()]),
    }
    path = out / "question.json"
    if path.exists():
        if _told(path) != asked:
            raise InputError(f"{out} holds the answer to another question; choose another folder")
        return
    if out.exists() and (not out.is_dir() or any(not entry.name.endswith(".aside") for entry in out.iterdir())):
        raise InputError(f"expected {out} to be empty or to hold an earlier run of the same question; choose another")
    put(path, json.dumps(asked, indent=1), HINT)


def _told(path: Path) -> object:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def adversarial(folder: Path, images: Tensor) -> Images:
    """The images that a finished run left for these same images, found by content; the image itself where none is.

    Raises InputError when the folder holds no finished run, or one of quite other images.
    """
    if not (folder / "result.json").is_file():
        raise InputError(f"expected the folder of a finished attack, and {folder} has no result.json")
    held = [_held(path) for path in sorted(folder.glob("images-*.safetensors"))]
    place = {int(key): (part, row) for part in held for row, key in enumerate(part["keys"].tolist())}
    floats = torch.cat([_floats(part) for part in images.split(SHARD)])
    found = floats.clone()
    hits = 0
    for row, key in enumerate(rng.image_keys(floats).tolist()):
        if key in place and place[key][0]["images"].shape[1:] == found.shape[1:]:
            part, at = place[key]
            found[row], hits = part["images"][at], hits + 1
    if not hits:
        raise InputError(f"{folder} holds adversarial images of other pictures; none of these {len(images)} is there")
    return found


def _held(path: Path) -> dict[str, Tensor]:
    """What `write` left in one file; raises InputError for anything else."""
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        said = f"{path} is no whole file of adversarial images ({error}); attack that variant again"
        raise InputError(said) from error
    keys, images = found.get("keys"), found.get("images")
    whole = keys is not None and images is not None and keys.ndim == 1 and len(keys) == len(images)
    whole = whole and keys is not None and keys.dtype == torch.int64
    if keys is None or images is None or not whole or images.dtype != torch.float32 or images.ndim != 4:
        raise InputError(f"{path} holds no adversarial images with their keys; attack that variant again")
    if not bool(((images >= 0.0) & (images <= 1.0)).all()):
        raise InputError(f"{path} holds images outside [0, 1]; attack that variant again")
    return found
