"""A program made here, and the means to tamper with it: every payload writes a file that must never appear."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import nn


class Tiny(nn.Module):
    """Two layers that use most of what programs are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4 * 4 * 4, 5)
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        inner = torch.relu_(self.bn(self.conv(images - self.mean)))
        return self.linear(nn.functional.dropout(inner.view(images.shape[0], -1), 0.5, self.training))


def tiny() -> Tiny:
    torch.manual_seed(0)
    net = Tiny()
    net.bn.running_mean.uniform_(-1, 1)
    net.bn.running_var.uniform_(0.5, 2)
    return net.eval()


def export(module: nn.Module, path: Path, shape: tuple[int, ...] = (3, 8, 8), *, decompose: bool = False) -> Path:
    """`torch.export.save` with a free number of images."""
    batch = torch.export.Dim("batch")
    program = torch.export.export(module, (torch.rand(4, *shape),), dynamic_shapes=({0: batch},))
    torch.export.save(program.run_decompositions() if decompose else program, path)
    return path


class Payload:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


def pickled(item: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(item, buffer)
    return buffer.getvalue()


Change = Callable[[dict[str, bytes]], None]


def tampered(program: Path | IO[bytes], path: Path, change: Change) -> Path:
    """The program with its members changed; names are without the archive's own folder."""
    with zipfile.ZipFile(program) as archive:
        members = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(f"tiny/{name}", data)
    return path


def rewrite(member: str, change: Callable[[Any], None]) -> Change:
    """A change to one JSON member."""

    def apply(members: dict[str, bytes]) -> None:
        said = json.loads(members[member])
        change(said)
        members[member] = json.dumps(said).encode()

    return apply
