"""A disk that is full or read-only: one sentence, nothing half-written, and on it goes once there is room."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bantamweight import facts
from bantamweight.cli import _code
from bantamweight.studies import run, store
from tests.cli.corpus.desk import Desk
from tests.kill.test_kill import SMALL, computed, only_run

SIZE = 24 << 20


class Disk:
    """A small file system of its own."""

    def __init__(self, path: Path) -> None:
        self.path, self.ballast = path, path / "ballast"

    def leave(self, kilobytes: int) -> None:
        """Fill the disk but for so much."""
        self.ballast.unlink(missing_ok=True)
        there = os.statvfs(self.path)
        self.ballast.write_bytes(b"x" * max(0, there.f_bavail * there.f_frsize - (kilobytes << 10)))

    def remount(self, how: str) -> None:
        """`ro` or `rw`."""
        subprocess.run(["mount", "-o", f"remount,{how}", str(self.path)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 24 MB."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs; the simulated disks below cover the rest")
    yield Disk(path)
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with every kind of large file."""
    path = tmp_path / "study.yaml"
    path.write_text(SMALL + "explain: {use: gradient, n: 8, show: 2}\nmeasure: {use: sizes}\n")
    return path


def refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and one sentence after the lines that say what was done until then."""
    capsys.readouterr()
    code = _code(arguments)
    *progress, last = capsys.readouterr().err.splitlines()
    assert code == 2, last
    assert all(line.startswith("[") for line in progress), progress
    assert last.startswith("bantam: ")
    assert said in last.lower(), last
    assert re.search("--store|choose another|make room", last), last


def whole(home: Path) -> int:
    """How many jobs are finished; each has all that a job has, and nothing is under way."""
    assert not list((home / "aside").iterdir())
    jobs = list((home / "jobs").iterdir())
    assert all((job / "job.json").is_file() and facts.load(job / "facts.parquet") is not None for job in jobs)
    return len(jobs)


def unused_job(home: Path) -> None:
    """Something that `clean` would remove."""
    shutil.copytree(next((home / "jobs").iterdir()), home / "jobs" / ("0" * 32))


def test_a_full_disk(disk: Disk, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, seen = disk.path / "store", set()
    command = ["run", str(study), "--threads", "1", "--store", str(home)]
    for kilobytes in (16, 48, 400, 4000):
        disk.leave(kilobytes)
        refused(command, "no space left", capsys)
        seen.add(whole(home))
    disk.leave(SIZE)
    train_only = tmp_path / "train.yaml"
    train_only.write_text(SMALL.partition("compress")[0])
    assert _code(["run", str(train_only), "--threads", "1", "--store", str(home)]) == 0
    for kilobytes in (60, 500, 3000):
        disk.leave(kilobytes)
        refused(command, "no space left", capsys)
        seen.add(whole(home))
    assert len(seen) >= 4
    disk.leave(SIZE)
    assert _code(command) == 0
    alone = run(study, store=tmp_path / "alone", threads=1)
    assert computed(home / "runs" / alone.path.name) == computed(alone.path)
    report = home / "runs" / alone.path.name / "report.html"
    before = report.read_bytes()
    disk.leave(8)
    refused(["report", str(report.parent)], "no space left", capsys)
    assert report.read_bytes() == before


def test_a_read_only_disk(disk: Disk, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = disk.path / "store"
    command = ["run", str(study), "--threads", "1", "--store", str(home)]
    disk.remount("ro")
    refused(command, "read-only", capsys)
    disk.remount("rw")
    assert _code(command) == 0
    unused_job(home)
    disk.remount("ro")
    refused(command, "read-only", capsys)
    refused(["report", str(only_run(home))], "read-only", capsys)
    refused(["clean", "--store", str(home)], "read-only", capsys)
    capsys.readouterr()
    assert _code(["facts", str(only_run(home)), "--csv"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 100


def test_a_disk_that_fills_while_a_result_is_made_durable(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, synced = tmp_path / "store", []

    def full(path: Path) -> None:
        synced.append(path)
        if len(synced) > 30:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    command = ["run", str(study), "--threads", "1", "--store", str(home)]
    with monkeypatch.context() as patch:
        patch.setattr(store, "_sync", full)
        refused(command, "no space left", capsys)
    assert whole(home) >= 1
    assert not list((home / "runs").iterdir())
    assert _code(command) == 0


@contextmanager
def nobody(*folders: Path, mode: int = 0o555) -> Iterator[None]:
    """Without root's right to read and write everywhere, and with these folders closed to it."""
    for folder in folders:
        folder.chmod(mode)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for folder in folders:
            folder.chmod(0o755)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Unlike pytest's own, a folder that everyone may enter."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_a_store_without_permission(open_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, study = open_folder / "store", open_folder / "study.yaml"
    study.write_text(SMALL)
    command = ["run", str(study), "--threads", "1", "--store", str(home)]
    assert _code(command) == 0
    unused_job(home)
    with nobody(home, *home.iterdir(), only_run(home)):
        refused(command, "can't be written", capsys)
        refused(["report", str(only_run(home))], "permission", capsys)
        refused(["clean", "--store", str(home)], "can't be written", capsys)


@pytest.mark.parametrize("closed", ["pets", "pets/test/cat", "pets/test/cat/0.png"])
def test_images_without_permission(
    closed: str, open_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BANTAM_CACHE", "")
    Desk(open_folder).pets()
    with nobody(open_folder / closed, mode=0o000):
        code = _code(["evaluate", "small_cnn", str(open_folder / "pets"), "--size", "16", "--classes", "2"])
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    assert re.fullmatch(r"bantam: .*can't be read \(Permission denied\); .*\n", said.err), said.err
