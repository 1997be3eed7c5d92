from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bantamweight.errors import StoreError
from bantamweight.whole import put, readable, whole


@pytest.fixture
def shared() -> Iterator[None]:
    before = os.umask(0o027)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_block_that_fails_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    path = put(tmp_path / "deep" / "kept.txt", "before")
    with pytest.raises(KeyError), whole(path) as aside:  # noqa: PT012
        aside.write_text("half")
        assert path.read_text() == "before"
        raise KeyError
    assert [entry.name for entry in path.parent.iterdir()] == ["kept.txt"]
    assert put(path, b"after").read_text() == "after"
    assert [entry.name for entry in path.parent.iterdir()] == ["kept.txt"]


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "one"
    with whole(path) as first, whole(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # whose block ended last
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_written_is_as_readable_as_the_umask_says(tmp_path: Path, shared: None) -> None:  # noqa: ARG001
    with whole(tmp_path / "weights") as aside:
        save_file({"one": torch.zeros(1)}, aside)
    assert mode(tmp_path / "weights") == 0o640
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    save_file({"one": torch.zeros(1)}, folder / "inner" / "weights")
    readable(folder)
    assert [mode(path) for path in (folder, folder / "inner", folder / "inner" / "weights")] == [0o750, 0o750, 0o640]
    assert [entry.name for entry in folder.iterdir()] == ["inner"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "below", tmp_path / "folder"):
        with pytest.raises(StoreError, match=r"can't be written \(.*\); move on$"):
            put(path, "text", "move on")
    assert not list((tmp_path / "folder").iterdir())
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
