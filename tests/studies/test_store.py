"""The store: whole or absent, safe between processes, keys that follow what matters."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bantamweight.errors import InputError, StoreError
from bantamweight.studies import _sources
from bantamweight.studies.store import Busy, Store, canonical, clean, job_key

RECORD = {"kind": "fake"}


def _write(text: str, log: list[str] | None = None):
    def work(out: Path, _scratch: Path) -> None:
        if log is not None:
            log.append(text)
        (out / "result.txt").write_text(text)

    return work


def test_a_finished_job_is_not_done_again(tmp_path: Path) -> None:
    store, log = Store(tmp_path / "s"), []
    first = store.perform("k1", _write("one", log), record=RECORD)
    again = store.perform("k1", _write("two", log), record=RECORD)
    assert first == again
    assert log == ["one"]
    assert (first / "result.txt").read_text() == "one"
    assert json.loads((first / "job.json").read_text()) == RECORD
    assert not list((store.path / "aside").iterdir())
    assert not list((store.path / "scratch").iterdir())


def test_a_failed_job_leaves_nothing_but_its_scratch(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def work(out: Path, scratch: Path) -> None:
        (out / "half").write_text("x")
        (scratch / "checkpoint").write_text("3")
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        store.perform("k", work, record=RECORD)
    assert not store.has("k")
    assert not list((tmp_path / "aside").iterdir())
    assert (tmp_path / "scratch" / "k" / "checkpoint").read_text() == "3"


def test_a_rename_onto_a_finished_twin_is_success(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def work(out: Path, _scratch: Path) -> None:
        (out / "result.txt").write_text("ours")
        twin = store.job("k")  # another machine without a shared lock finishes first
        twin.mkdir()
        (twin / "result.txt").write_text("theirs")

    final = store.perform("k", work, record=RECORD)
    assert (final / "result.txt").read_text() == "theirs"
    assert not list((tmp_path / "aside").iterdir())


_CHILD = """
import sys, time
from pathlib import Path
from bantamweight.studies.store import Store
store = Store(sys.argv[1])
def work(out, scratch):
    (scratch / "checkpoint").write_text("7")
    (out / "half").write_text("x")
    with open(Path(sys.argv[1]) / "ran", "a") as log:
        log.write("x")
    print("started", flush=True)
    time.sleep(float(sys.argv[2]))
    (out / "result.txt").write_text("whole")
store.perform("k", work, record={})
print("done", flush=True)
"""


def _child(store: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", _CHILD, str(store), str(seconds)], stdout=subprocess.PIPE, text=True)


def _end(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.communicate()


def test_kill_in_the_middle_keeps_checkpoints_and_nothing_half_written(tmp_path: Path) -> None:
    child = _child(tmp_path, 60)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    _end(child)
    store = Store(tmp_path)
    assert not store.has("k")
    assert len(list((tmp_path / "aside").iterdir())) == 1
    seen = []

    def work(out: Path, scratch: Path) -> None:
        seen.append((scratch / "checkpoint").read_text())
        (out / "result.txt").write_text("second")

    final = store.perform("k", work, record=RECORD)
    assert seen == ["7"]
    assert (final / "result.txt").read_text() == "second"
    assert not (final / "half").exists()
    assert not list((tmp_path / "aside").iterdir())


def test_two_processes_share_one_job(tmp_path: Path) -> None:
    children = [_child(tmp_path, 0.5) for _ in range(2)]
    said = [child.communicate(timeout=30)[0] for child in children]
    assert all(text.endswith("done\n") for text in said)
    assert (tmp_path / "ran").read_text() == "x"
    assert (tmp_path / "jobs" / "k" / "result.txt").read_text() == "whole"


def test_busy_when_not_waiting(tmp_path: Path) -> None:
    child = _child(tmp_path, 60)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    try:
        store = Store(tmp_path)
        with pytest.raises(Busy):
            store.perform("k", _write("x"), record=RECORD, wait=False)
        assert clean(store).jobs == 0
        assert list((tmp_path / "aside").iterdir())
    finally:
        _end(child)


@pytest.mark.parametrize(
    ("code", "says"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "read-only"), (errno.EDQUOT, "no space left")]
)
def test_disk_trouble_is_one_sentence(tmp_path: Path, code: int, says: str) -> None:
    def work(_out: Path, _scratch: Path) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(StoreError, match=says) as caught:
        Store(tmp_path).perform("k", work, record=RECORD)
    assert "\n" not in str(caught.value)
    assert "--store" in str(caught.value)
    assert not list((tmp_path / "aside").iterdir())


def test_a_library_that_words_the_full_disk_its_own_way(tmp_path: Path) -> None:
    def work(_out: Path, _scratch: Path) -> None:
        raise ValueError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(StoreError, match="no space left"):
        Store(tmp_path).perform("k", work, record=RECORD)


def test_errors_that_are_not_the_stores_pass_through(tmp_path: Path) -> None:
    def work(_out: Path, _scratch: Path) -> None:
        (tmp_path / "no-such-image.png").read_bytes()

    with pytest.raises(FileNotFoundError):
        Store(tmp_path / "store").perform("k", work, record=RECORD)


def test_a_store_path_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="to be a folder, got a file"):
        Store(tmp_path / "file")
    with pytest.raises(StoreError, match="--store"):
        Store(tmp_path / "file" / "below")


def test_a_real_full_disk_and_a_read_only_one(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs the right to mount a tmpfs; the simulated cases above cover the rest")
    try:
        store = Store(small / "s")

        def work(out: Path, _scratch: Path) -> None:
            (out / "big").write_bytes(b"x" * 1_000_000)

        with pytest.raises(StoreError, match="no space left"):
            store.perform("k", work, record=RECORD)
        assert not store.has("k")
        assert not list((store.path / "aside").iterdir())
        subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
        with pytest.raises(StoreError, match="read-only"):
            store.perform("k2", _write("x"), record=RECORD)
        with pytest.raises(StoreError, match="read-only"):
            Store(small / "other")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_runs_are_whole_and_replaced_file_by_file(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def write(text: str):
        def work(folder: Path) -> None:
            (folder / "run.json").write_text(json.dumps({"jobs": [{"key": text}]}))

        return work

    run = store.write_run("study-1", write("a"))
    (run / "report.html").write_text("kept")
    assert store.write_run("study-1", write("b")) == run
    assert json.loads((run / "run.json").read_text())["jobs"][0]["key"] == "b"
    assert (run / "report.html").read_text() == "kept"
    assert not list((tmp_path / "aside").iterdir())

    def fails(_folder: Path) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(StoreError):
        store.write_run("study-2", fails)
    assert not (tmp_path / "runs" / "study-2").exists()


def test_clean_keeps_what_runs_and_plans_need(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for key in ("used", "unused", "planned"):
        store.perform(key, _write(key), record=RECORD)
    (tmp_path / "scratch" / "orphan").mkdir()
    (tmp_path / "aside" / "gone.x1").mkdir()
    store.write_run("r", lambda folder: (folder / "run.json").write_text('{"jobs": [{"key": "used"}]}') and None)
    with pytest.raises(KeyboardInterrupt), store.planned("other", ["planned"]):
        raise KeyboardInterrupt
    done = clean(store)
    assert done.jobs == 1
    assert done.size_bytes > 0
    assert store.has("used")
    assert store.has("planned")
    assert not store.has("unused")
    assert not list((tmp_path / "scratch").iterdir())
    assert not list((tmp_path / "aside").iterdir())
    plan = next((tmp_path / "plans").glob("*.json"))
    plan.rename(plan.with_name("other.999999999.json"))  # its process is gone
    assert clean(store).jobs == 0
    assert clean(store, interrupted=True).jobs == 1
    assert not list((tmp_path / "plans").iterdir())


def _key(module: str, settings: dict, inputs: dict[str, str], **environment: object) -> str:
    return job_key((module,), f"{module}:work", settings, inputs, environment=environment)[0]


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own module on the path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "users_part.py").write_text("def work():\n    '''doc'''\n    return 1\n")
    _forget()
    yield tmp_path / "users_part.py"
    _forget()


def _forget() -> None:
    for cached in (_sources.code, _sources._tree, _sources._meaning, _sources._imports, _sources._foreign):
        cached.cache_clear()


def test_key_follows_source_settings_inputs_and_environment(part: Path) -> None:
    base = _key("users_part", {"a": 1}, {"x": "h"}, threads=2)
    assert base == _key("users_part", {"a": 1}, {"x": "h"}, threads=2)
    assert base != _key("users_part", {"a": 2}, {"x": "h"}, threads=2)
    assert base != _key("users_part", {"a": 1}, {"x": "g"}, threads=2)
    assert base != _key("users_part", {"a": 1}, {"x": "h"}, threads=1)
    part.write_text("# a comment\ndef work():\n    '''other doc'''\n    return (1)\n")
    _forget()
    assert base == _key("users_part", {"a": 1}, {"x": "h"}, threads=2)
    part.write_text("def work():\n    return 2\n")
    _forget()
    assert base != _key("users_part", {"a": 1}, {"x": "h"}, threads=2)


def test_closure_follows_lazy_imports_and_stays_out_of_package_inits() -> None:
    reached = _sources.closure(["bantamweight.facts"])
    assert {"bantamweight.facts", "bantamweight.errors"} <= set(reached)
    assert any(name.startswith("bantamweight.stats") for name in reached)
    assert "bantamweight" not in reached
    assert "pydantic" in _sources.libraries(reached)
    assert "python" in _sources.libraries(reached)


def test_settings_must_be_plain_json() -> None:
    assert canonical({"b": (1, 2), "a": None}) == '{"a":null,"b":[1,2]}'
    for bad in (float("nan"), {1, 2}, object()):
        with pytest.raises(InputError, match="plain JSON"):
            canonical({"x": bad})


def test_waiting_takes_over_when_the_holder_dies(tmp_path: Path) -> None:
    child = _child(tmp_path, 60)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    second = _child(tmp_path, 0.0)
    time.sleep(0.3)
    _end(child)
    assert second.communicate(timeout=30)[0].endswith("done\n")
    assert (tmp_path / "jobs" / "k" / "result.txt").read_text() == "whole"
