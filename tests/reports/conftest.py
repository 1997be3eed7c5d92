"""One made-up run and its page, shared by the tests of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from bantamweight.reports import report
from tests.reports.made import made
from tests.reports.tree import Node, parse


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run's folder in a store of its own."""
    return made(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def page(run: Path) -> Path:
    """Its report."""
    return report(run)


@pytest.fixture(scope="session")
def tree(page: Path) -> Node:
    """Its report, parsed."""
    return parse(page.read_text(encoding="utf-8"))
