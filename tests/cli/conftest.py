"""A working directory of its own for every command line, and no store, cache or data from outside."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.corpus.desk import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BANTAM_CACHE", "")
    for name in ("BANTAM_STORE", "BANTAM_DATA"):
        monkeypatch.delenv(name, raising=False)
    known = set(sys.modules)
    yield Desk(tmp_path)
    for name in set(sys.modules) - known:
        if name.endswith("_nets"):
            del sys.modules[name]
