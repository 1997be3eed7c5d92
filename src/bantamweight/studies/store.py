"""The store: every job's result is a folder under the hash of all that it depends on.

A result is written aside and renamed into place, so it is whole or absent; a rename onto a finished twin is
success. One lock per job lets several processes share a store. Checkpoints live in a scratch area under the same
key and outlive a kill. Nothing is removed but on request (`clean`).

    STORE/jobs/KEY/     results            STORE/scratch/KEY/  checkpoints of unfinished jobs
    STORE/aside/KEY.x/  being written      STORE/plans/        what running or interrupted studies need
    STORE/runs/NAME-k/  finished runs      STORE/locks/        one file per job
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bantamweight.errors import InputError, StoreError
from bantamweight.studies._sources import code
from bantamweight.whole import put, readable

__all__ = ["Busy", "Cleaned", "Store", "canonical", "clean", "job_key"]

AREAS = ("jobs", "runs", "aside", "scratch", "locks", "plans")


class Busy(Exception):
    """Another process is working on this job right now."""


@dataclass(frozen=True)
class Cleaned:
    """What `clean` removed."""

    jobs: int
    size_bytes: int


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces, tuples as lists.

    >>> canonical({"b": 1, "a": (2, 0.5)})
    '{"a":[2,0.5],"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"a job's settings must be plain JSON so that they can be hashed: {error}") from error


def job_key(
    modules: tuple[str, ...],
    function: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    *,
    environment: Mapping[str, Any],
) -> tuple[str, dict[str, Any]]:
    """The key of a job and what went into it.

    `modules` are where the function lives and the parts its settings name (all that these import is followed);
    `inputs` maps names to content hashes or other jobs' keys; `environment` holds precision, device, threads, and
    the machine for timings. Batch size, paths and the commit never belong in here.
    """
    source, versions = code(modules)
    made_of = {
        "function": function,
        "source": source,
        "settings": json.loads(canonical(settings)),
        "inputs": dict(sorted(inputs.items())),
        "versions": versions,
        "environment": dict(sorted(environment.items())),
    }
    return blake2b(canonical(made_of).encode(), digest_size=16).hexdigest(), made_of


class Store:
    """A folder of results, safe to share between processes. Owns locks, so it is a class."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the store at `path`, making it when absent; `StoreError` when it can't be used."""
        self.path = Path(path).expanduser().absolute()
        with self._usable():
            if self.path.exists() and not self.path.is_dir():
                raise StoreError(
                    f"expected the store {self.path} to be a folder, got a file; give another with --store"
                )
            for area in AREAS:
                (self.path / area).mkdir(parents=True, exist_ok=True)

    def job(self, key: str) -> Path:
        """Where the result of a job is, or will be."""
        return self.path / "jobs" / key

    def has(self, key: str) -> bool:
        """Whether a job is finished."""
        return self.job(key).is_dir()

    def perform(
        self, key: str, work: Callable[[Path, Path], None], *, record: Mapping[str, Any], wait: bool = True
    ) -> Path:
        """The finished folder of a job: what is there, or what `work(out, scratch)` writes into `out` now.

        With `wait=False` raises `Busy` when another process works on the same job.
        """
        final = self.job(key)
        if final.is_dir():
            return final
        with self._usable(), self._locked(key, wait=wait):
            if final.is_dir():
                return final
            self._sweep(key)
            out = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=self.path / "aside"))
            scratch = self.path / "scratch" / key
            scratch.mkdir(exist_ok=True)
            try:
                work(out, scratch)
                (out / "job.json").write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")
                self._publish(out, final)
            except BaseException:
                shutil.rmtree(out, ignore_errors=True)
                raise
            shutil.rmtree(scratch, ignore_errors=True)
        return final

    def write_run(self, name: str, write: Callable[[Path], None]) -> Path:
        """A run's folder, written whole by `write(folder)`; an earlier run of the same name is replaced."""
        final = self.path / "runs" / name
        with self._usable(), self._locked(f"run-{name}", wait=True):
            self._sweep(f"run-{name}")
            out = Path(tempfile.mkdtemp(prefix=f"run-{name}.", dir=self.path / "aside"))
            try:
                write(out)
                if final.is_dir():  # twin: keep the folder (a report may be open), refresh each file in one move
                    for file in sorted(out.iterdir()):
                        _sync(file)
                        os.replace(file, final / file.name)
                    out.rmdir()
                else:
                    self._publish(out, final)
            except BaseException:
                shutil.rmtree(out, ignore_errors=True)
                raise
        return final

    @contextmanager
    def planned(self, name: str, keys: list[str]) -> Iterator[None]:
        """While a study runs (and after, if it is interrupted) its jobs count as used; `clean` leaves them."""
        note = self.path / "plans" / f"{name}.{os.getpid()}.json"
        with self._usable():
            put(note, json.dumps(sorted(keys)), "free some space or choose another store")
        yield
        for done in [note, *(old for old in note.parent.glob(f"{name}.*.json") if not _alive(old))]:
            with suppress(OSError):  # finished: the run's own manifest refers to the jobs from here on
                done.unlink()

    def _publish(self, out: Path, final: Path) -> None:
        """Make `out` durable, then visible under its final name in one step."""
        readable(out)
        for path in [*out.rglob("*"), out]:
            _sync(path)
        try:
            os.rename(out, final)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or not final.is_dir():
                raise
            shutil.rmtree(out, ignore_errors=True)  # a twin was faster; its result is ours
        _sync(final.parent)

    def _sweep(self, key: str) -> None:
        """Remove what a killed process left half-written; only the holder of the job's lock calls this."""
        for left in (self.path / "aside").glob(f"{key}.*"):
            shutil.rmtree(left, ignore_errors=True)

    @contextmanager
    def _locked(self, key: str, *, wait: bool) -> Iterator[None]:
        lock = FileLock(self.path / "locks" / f"{key}.lock", timeout=-1 if wait else 0)
        try:
            lock.acquire(poll_interval=0.1)
        except Timeout as error:
            raise Busy(key) from error
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _usable(self) -> Iterator[None]:
        """Turn what a full or read-only disk raises into one sentence; leave every other error alone."""
        try:
            yield
        except StoreError:
            raise
        except Exception as error:
            reason = _reason(error, self.path)
            if reason is None:
                raise
            raise StoreError(f"the store {self.path} {reason}") from error


_FULL = "has no space left; free some, or give another with --store"
_CLOSED = "can't be written (read-only or no permission); give another with --store"


def _reason(error: BaseException, home: Path) -> str | None:
    """What is wrong with the store, if this error is about the store."""
    text, code = str(error), error.errno if isinstance(error, OSError) else None
    if code in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in text:
        return _FULL
    if code == errno.EROFS or "Read-only file system" in text:
        return _CLOSED
    ours = isinstance(error, OSError) and str(error.filename or "").startswith(str(home))
    if code in (errno.EACCES, errno.EPERM) and (ours or not getattr(error, "filename", None)):
        return _CLOSED
    if code in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG) and ours:
        return f"is not usable as a folder ({error.strerror}); give another with --store"  # type: ignore[attr-defined]
    return None


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk, so that a rename never outlives the bytes it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _alive(note: Path) -> bool:
    """Whether the process that wrote a plan still runs (on this machine)."""
    try:
        os.kill(int(note.name.split(".")[-2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def clean(store: Store, *, interrupted: bool = False) -> Cleaned:
    """Remove the jobs that no run refers to, and what killed processes left behind.

    Jobs of studies that are running or were interrupted stay, so that they can go on; with `interrupted` the
    latter go too. A job that some process is working on is never touched.
    """
    notes = list((store.path / "plans").glob("*.json"))
    kept = [note for note in notes if not interrupted or _alive(note)]
    used = _used(store, kept)
    removed, freed = 0, 0
    with store._usable():
        for area in ("jobs", "scratch", "aside"):
            for folder in sorted((store.path / area).iterdir()):
                key = folder.name.partition(".")[0] if area == "aside" else folder.name
                if area != "aside" and key in used:
                    continue
                try:
                    with store._locked(folder.name.rpartition(".")[0] if area == "aside" else key, wait=False):
                        freed += _weight(folder)
                        shutil.rmtree(folder)
                        removed += area == "jobs"
                except Busy:
                    continue
        for note in set(notes) - set(kept):
            note.unlink()
    return Cleaned(removed, freed)


def _used(store: Store, notes: list[Path]) -> set[str]:
    used: set[str] = set()
    for manifest in (store.path / "runs").glob("*/run.json"):
        try:
            used |= {job["key"] for job in json.loads(manifest.read_text(encoding="utf-8"))["jobs"]}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{manifest} is damaged ({error}), so unused jobs can't be told; remove that run"
            ) from error
    for note in notes:
        used |= set(json.loads(note.read_text(encoding="utf-8")))
    return used


def _weight(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
