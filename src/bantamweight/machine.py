"""The machine a number was measured on, in words that name no host: what a timing needs beside it to be doubted.

And which of its devices does the work.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bantamweight.errors import InputError

if TYPE_CHECKING:
    import torch

__all__ = ["LIBRARIES", "Machine", "describe", "device_of", "integer_units", "versions"]

LIBRARIES = ("torch", "onnxruntime", "onnx", "numpy")
"""The libraries whose version changes what a model costs or answers."""

_FLAGS = (
    # The first of each group that the processor has is said; a wider unit implies the narrower ones.
    (("amx_int8", "AMX"),),
    (("avx512_bf16", "AVX-512 BF16"), ("avx512f", "AVX-512"), ("avx2", "AVX2"), ("sve", "SVE"), ("asimd", "NEON")),
    (("avx512_vnni", "VNNI"), ("avx_vnni", "VNNI"), ("i8mm", "I8MM"), ("asimddp", "DOTPROD")),
)

_INTEGER = ("AMX", "VNNI", "I8MM", "DOTPROD")


@dataclass(frozen=True)
class Machine:
    """`cores` and `memory_gib` are what this process may use (affinity and container limits counted)."""

    architecture: str
    cores: int
    features: tuple[str, ...]
    memory_gib: int
    system: str

    def __str__(self) -> str:
        """`x86_64, 2 cores, AVX-512 BF16, VNNI, 8 GiB, Linux`."""
        cores = "1 core" if self.cores == 1 else f"{self.cores} cores"
        memory = (f"{self.memory_gib} GiB",) if self.memory_gib else ()
        return ", ".join((self.architecture, cores, *self.features, *memory, self.system))


@cache
def describe() -> Machine:
    """This machine; read once per process.

    >>> describe().cores >= 1
    True
    """
    said = _read("/proc/cpuinfo").lower()
    return Machine(
        architecture=platform.machine() or "unknown",
        cores=_cores(),
        features=features_in(said),
        memory_gib=round(_memory_bytes() / 2**30),
        system=platform.system() or "unknown",
    )


def integer_units(features: Iterable[str] | None = None) -> tuple[str, ...]:
    """Those of this machine's features that multiply bytes: without one, int8 seldom pays.

    >>> integer_units(("AVX-512", "VNNI"))
    ('VNNI',)
    """
    return tuple(one for one in (describe().features if features is None else features) if one in _INTEGER)


def versions(names: Iterable[str] = LIBRARIES) -> str:
    """Python and the installed ones of the named distributions: `python 3.11.7, torch 2.13.0+cpu`.

    >>> versions([]).startswith("python 3.")
    True
    """
    said = [f"python {platform.python_version()}"]
    for name in names:
        try:
            said.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(said)


def features_in(cpuinfo: str) -> tuple[str, ...]:
    """The vector units that matter for a network's speed, from the flags the kernel lists.

    >>> features_in("flags : fpu avx2 avx512f avx512_bf16 avx_vnni")
    ('AVX-512 BF16', 'VNNI')
    """
    words = set(cpuinfo.split())
    found = (next((said for flag, said in group if flag in words), "") for group in _FLAGS)
    return tuple(said for said in found if said)


def _cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    quota, _, period = _read("/sys/fs/cgroup/cpu.max").partition(" ")
    if quota.isdigit() and period.strip().isdigit():
        cores = min(cores, max(1, math.ceil(int(quota) / int(period))))
    return cores


def _memory_bytes() -> int:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    limit = _read("/sys/fs/cgroup/memory.max").strip()
    return min(total, int(limit)) if limit.isdigit() else total


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def device_of(name: str | torch.device) -> torch.device:
    """Where to attack: `auto` is a CUDA device where there is one, else the processor.

    Raises InputError for a device that this machine does not have.

    >>> device_of("cpu")
    device(type='cpu')
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        home = torch.device(name)
        torch.empty(1, device=home)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"expected a device that this machine has, such as cpu, got {str(name)[:40]!r}") from error
    if home.type == "meta":
        raise InputError("expected a device that computes, got 'meta'; use cpu")
    return home
