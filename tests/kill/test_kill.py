"""Killed at any moment, or two at a time, a study comes to the same facts; nothing is ever half there."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bantamweight import facts
from bantamweight.studies import Store, clean, run

STUDY = str(Path(__file__).with_name("study.yaml"))
ROOT = Path(__file__).parents[2]
BANTAM = (sys.executable, "-c", "from bantamweight.cli import main; main()")
SMALL = """
study: small
data: digits
train: {model: mlp, epochs: 4}
compress: {use: magnitude, sparsity: 0.5, finetune: {epochs: 2}}
attack: {use: {use: pgd, steps: 20}, threats: linf 0.1, n: 64, transfer: {to: "**"}}
"""


def computed(folder: Path) -> list[dict[str, Any]]:
    """Every fact that no clock has a part in, in the order of the file."""
    found = [fact.model_dump() for fact in facts.load(folder / "facts.parquet") if fact.origin == "computed"]
    assert len(found) > 100
    return found


def contents(store: Path) -> Iterator[tuple[str, Any]]:
    """Every file of every finished job, without what a clock said."""
    for path in sorted((store / "jobs").rglob("*")):
        name = str(path.relative_to(store))
        if path.name == "facts.parquet":
            found = (fact.model_dump() for fact in facts.load(path))
            yield name, [{**fact, "value": 0, "low": 0} if fact["origin"] == "measured" else fact for fact in found]
        elif path.name == "history.json":
            yield name, untimed(json.loads(path.read_text()))
        elif path.is_file():
            yield name, path.read_bytes()


def untimed(value: Any) -> Any:
    """A history without its seconds."""
    if isinstance(value, dict):
        return {key: untimed(inner) for key, inner in value.items() if "seconds" not in key}
    return [untimed(inner) for inner in value] if isinstance(value, list) else value


def tidy(store: Path) -> None:
    """Nothing is left of what was under way, and everything there is belongs to the run."""
    for area in ("aside", "scratch", "plans"):
        assert not list((store / area).iterdir()), area
    assert clean(Store(store)).jobs == 0


def only_run(store: Path) -> Path:
    (folder,) = (store / "runs").iterdir()
    return folder


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.peers) for seed in range(1, 6))])
def test_a_study_killed_again_and_again_comes_to_the_same_facts(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.kill.killed", STUDY, str(tmp_path), str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    inside = Counter(kind for _, kind, _, done, *_ in said["falls"] if done < 1.0)
    assert len(said["falls"]) >= 10, said
    assert inside["train"] + inside["finetune"] >= 3, said
    assert inside["attack"] >= 3, said
    whole = tmp_path / "whole"
    tidy(whole)
    for killed in (tmp_path / name for name in said["stores"]):
        assert only_run(whole).name == only_run(killed).name
        assert computed(only_run(whole)) == computed(only_run(killed))
        assert (only_run(whole) / "run.json").read_bytes() == (only_run(killed) / "run.json").read_bytes()
        for one, other in zip(contents(whole), contents(killed), strict=True):
            assert one == other
        tidy(killed)


def started(study: Path, store: Path) -> subprocess.Popen[str]:
    command = (*BANTAM, "run", str(study), "--threads", "1", "--json", "--store", str(store))
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_three_processes_on_one_store_of_which_one_is_killed(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(SMALL)
    victim = started(study, tmp_path / "shared")
    together = [victim]
    try:
        assert victim.stderr is not None
        while "train" not in victim.stderr.readline():
            assert victim.poll() is None
        # Only now, or one of them might be training and the victim waiting.
        others = [started(study, tmp_path / "shared") for _ in range(2)]
        together += others
        victim.kill()
        assert victim.wait() == -signal.SIGKILL
        alone = run(study, store=tmp_path / "alone", threads=1)
        ends = [child.communicate(timeout=300) for child in others]
    finally:
        for child in together:
            child.kill()
            child.communicate()
    assert [child.returncode for child in others] == [0, 0], ends
    first, second = (json.loads(out) for out, _ in ends)
    assert first == second
    assert first["facts"] == len(alone.facts)
    assert computed(alone.path) == computed(only_run(tmp_path / "shared"))
    for one, other in zip(contents(tmp_path / "alone"), contents(tmp_path / "shared"), strict=True):
        assert one == other
    tidy(tmp_path / "shared")
