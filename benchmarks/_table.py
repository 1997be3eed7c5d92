"""How the compression benchmarks print: a dated head, Markdown tables, progress beside them."""

from __future__ import annotations

import os
import sys
from datetime import date

import torch

from bantamweight.machine import describe, versions

__all__ = ["columns", "head", "note", "row"]


def head(title: str, *said: str) -> None:
    """When, where and with what: the lines above a table."""
    load = f"load at start {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    libraries = versions(["torch", "torch-pruning", "numpy", "bantamweight"])
    where = f"{describe()}; {torch.get_num_threads()} threads; {load}"
    told = [word for at, word in enumerate(sys.argv) if at and "--home" not in sys.argv[at - 1 : at + 1]]
    command = " ".join(f"'{word}'" if " " in word else word for word in told)
    print(f"\n## {title}\n\n`python benchmarks/compression.py {command}`\n")
    print("; ".join([date.today().isoformat(), where, libraries, *said]) + "\n", flush=True)


def columns(*names: str) -> None:
    """The head of a table; a name that begins with a blank is a column of numbers."""
    print("| " + " | ".join(name.strip() for name in names) + " |")
    print("|" + "|".join("---:" if name.startswith(" ") else "---" for name in names) + "|", flush=True)


def row(*cells: object) -> None:
    """One line of a table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def note(text: str) -> None:
    """Progress, beside the tables."""
    print(text, file=sys.stderr, flush=True)
