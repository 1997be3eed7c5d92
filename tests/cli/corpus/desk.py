"""An empty working directory and the means to fill it with something wrong; payloads would write `executed`."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.torch import save_file

from bantamweight.loading import untrained
from tests.models.archives import Change, Payload, export, pickled, tampered, tiny

__all__ = ["BANTAM", "Case", "Cases", "Desk", "png_that_claims"]

BANTAM = (sys.executable, "-c", "from bantamweight.cli import main; main()")
"""The command in a process of its own."""


class Desk:
    """What a test writes and then hands to the command line; `executed` must never appear."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def payload(self) -> Payload:
        """Unpickling it writes `executed`."""
        return Payload(self.path / "executed")

    def file(self, name: str, content: bytes | str = b"") -> str:
        """A file, by its name in the working directory."""
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return name

    def picture(self, name: str, size: int = 16, seed: int | None = None) -> str:
        """A random picture, another one for every name."""
        return self.file(name, _picture(zlib.crc32(name.encode()) if seed is None else seed, size, Path(name).suffix))

    def pets(self, *, splits: Sequence[str] = ("train", "val", "test"), names: Sequence[str] = ("cat", "dog")) -> str:
        """A good folder of pictures, three of each class in each split."""
        for split in splits or ("",):
            for name in names:
                for row in range(3):
                    self.picture(f"pets/{split}/{name}/{row}.png")
        return "pets"

    def with_bad(self, name: str, content: bytes | str) -> str:
        """Pets with one more file, which is bad."""
        self.file(f"pets/train/cat/{name}", content)
        return self.pets()

    def parquet(
        self, labels: Sequence[Any], name: str = "pets.parquet", classes: Sequence[str] = ("cat", "dog")
    ) -> str:
        """Pictures with labels as the Hugging Face hub has them."""
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        cells = [{"bytes": _picture(row, 16, ".png"), "path": None} for row in range(len(labels))]
        features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": list(classes)}}
        about = json.dumps({"info": {"features": features}})
        table = pa.table({"image": pa.array(cells, kind), "label": pa.array(labels)})
        pq.write_table(table.replace_schema_metadata({"huggingface": about}), self.path / name)
        return name

    def cifar(self, changes: dict[str, bytes] | None = None, name: str = "cifar-10-python.tar.gz") -> str:
        """An archive in CIFAR-10's python form with two images per batch."""
        batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
        contents = {key: pickle.dumps(batch, 2) for key in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")}
        contents["batches.meta"] = pickle.dumps({"label_names": [str(n) for n in range(10)]}, 2)
        with tarfile.open(self.path / name, "w:gz") as archive:
            for key, content in {**contents, **(changes or {})}.items():
                member = tarfile.TarInfo(f"cifar-10-batches-py/{key}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return name

    def study(self, text: str) -> str:
        """A study file."""
        return self.file("study.yaml", text)

    def weights(self, model: str = "small_cnn", change: Callable[[dict[str, Any]], Any] = dict, **settings: Any) -> str:
        """Safetensors of a net of ours, changed."""
        tensors = dict(untrained(model, **settings).weights)
        save_file(change(tensors) or tensors, self.path / "w.safetensors")
        return "w.safetensors"

    def pickle(self, name: str, item: Any) -> str:
        """What `torch.save` makes of `item`."""
        return self.file(name, pickled(item))

    def program(self, name: str, change: Change) -> str:
        """An exported program that was tampered with."""
        tampered(io.BytesIO(_program()), self.path / name, change)
        return name


class Case(NamedTuple):
    """A command line that is refused: `make` writes what is wrong and says the arguments; `said` is in the sentence."""

    make: Callable[[Desk], Sequence[str]]
    said: str


Cases = dict[str, Case]


@cache
def _picture(seed: int, size: int, suffix: str) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG" if suffix == ".jpg" else "PNG")
    return buffer.getvalue()


@cache
def _program() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return export(tiny(), Path(folder) / "tiny.pt2").read_bytes()


def png_that_claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header promises many pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
