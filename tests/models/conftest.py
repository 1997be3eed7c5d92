"""A harmless program, and the file that a harmful one would write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.models.archives import export, tiny


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Two spinning threads on a busy machine are slower than one, by far."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A harmless `.pt2`."""
    return export(tiny(), tmp_path_factory.mktemp("program") / "tiny.pt2")


@pytest.fixture
def sentinel(tmp_path: Path) -> Iterator[Path]:
    """The file that a payload would write."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "something in the file was executed"
