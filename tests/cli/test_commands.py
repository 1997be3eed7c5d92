"""Every command as a user would type it: what it prints and where, what it leaves, and its exit code."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import bantamweight as bw
from bantamweight.cli import _code
from bantamweight.errors import BantamError
from tests.cli.corpus.desk import BANTAM, Desk

STUDY = """
study: tiny
title: A net on digits
data: digits
train: {model: mlp, epochs: 3}
compress: {use: magnitude, sparsity: 0.5}
attack: {use: fgsm, threats: linf 0.1, n: 50}
gates: ["accuracy[mlp, test] >= 0.3"]
"""


class Said(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which is one JSON document."""
        return json.loads(self.out)


Bantam = Callable[..., Said]


@pytest.fixture
def bantam(capsys: pytest.CaptureFixture[str]) -> Bantam:
    """The command line, run in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = _code([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study and a store in which it was run."""
    path = tmp_path_factory.mktemp("home")
    (path / "tiny.yaml").write_text(STUDY)
    bw.report(bw.run(path / "tiny.yaml", store=path / "store", threads=1).path)
    return path


@pytest.fixture
def run(home: Path) -> Path:
    """The folder of the run; later runs with other gates lie beside it."""
    return min((home / "store" / "runs").glob("tiny-*"), key=lambda path: (path / "run.json").stat().st_mtime_ns)


@pytest.fixture
def saved(home: Path, run: Path) -> Path:
    """The folder of the trained net."""
    (variety,) = (one for one in json.loads((run / "run.json").read_text())["variants"] if one["name"] == "mlp")
    return home / "store" / "jobs" / variety["key"] / "variant"


def studied(home: Path, *more: object, store: Path | None = None) -> tuple[object, ...]:
    return ("run", home / "tiny.yaml", "--threads", 1, "--store", store or home / "store", *more)


def test_run_says_where_everything_is(bantam: Bantam, home: Path, tmp_path: Path) -> None:
    said = bantam(*studied(home, "--json", store=tmp_path / "store"))
    assert said.code == 0
    last = json.loads(said.out.splitlines()[-1])
    assert {"run", "report", "facts"} <= set(last)
    assert Path(last["report"]).parent == Path(last["run"])
    assert Path(last["report"]).read_text().startswith("<!doctype html>")
    assert last["facts"] == len(bw.load_facts(Path(last["run"]) / "facts.parquet")) > 50
    lines = said.err.splitlines()
    assert [line.split("]")[0] for line in lines] == [f"[{row + 1}/{len(lines)}" for row in range(len(lines))]
    assert not {"\x1b", "\r"} & set(said.err)


def test_run_again_does_nothing_again(bantam: Bantam, home: Path, run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (home / "store" / "jobs").rglob("*")}
    said = bantam(*studied(home))
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[0] == "pass  accuracy[mlp, test] >= 0.3"
    assert said.out.splitlines()[-2:] == [f"run     {run}", f"report  {run / 'report.html'}"]
    assert {path: path.stat().st_mtime_ns for path in (home / "store" / "jobs").rglob("*")} == before


def test_one_setting_is_overridden(bantam: Bantam, home: Path, tmp_path: Path) -> None:
    shorter = ("--set", "train.0.epochs=1", "--set", "attack.n=20", "--set", "study=other", "--json")
    said = bantam(*studied(home, *shorter, store=tmp_path / "store"))
    found = bw.load_facts(Path(json.loads(said.out)["run"]) / "facts.parquet")
    assert {fact.n for fact in found if fact.metric == "robust_accuracy"} == {20}
    assert {fact.study for fact in found} == {"other"}
    assert max(fact.step for fact in found if fact.metric == "epoch_loss") == 1


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("accuracy[mlp, test] >= 0.999", "1 of 1 gates failed: accuracy[mlp, test] >= 0.999"),
        ("acuracy[mlp] >= 0.1", "there is no fact 'acuracy'; did you mean 'accuracy'?"),
        ("accuracy >= 0.1", "facts match; say which with one of variant="),
    ],
)
def test_a_gate_that_fails(bantam: Bantam, home: Path, gate: str, says: str) -> None:
    said = bantam(*studied(home, "--set", f"gates=['{gate}']", "--json"))
    assert said.code == 1
    assert json.loads(said.out)["gates"][0]["gate"] == gate
    assert says in said.err.splitlines()[-1]
    assert said.err.splitlines()[-1].startswith("bantam: ")


def test_facts_in_every_form(bantam: Bantam, home: Path, run: Path) -> None:
    rows = bantam("facts", run, "--json").json
    assert [bw.Fact(**row) for row in rows] == bw.load_facts(run / "facts.parquet")
    text = bantam("facts", run, "--csv").out
    assert [row["metric"] for row in csv.DictReader(io.StringIO(text))] == [row["metric"] for row in rows]
    assert bantam("facts", "tiny", "--store", home / "store", "--json").json, "the latest run of the study"
    some = bantam("facts", run.name, "--store", home / "store", "--metric", "accuracy", "--json").json
    assert {row["metric"] for row in some} == {"accuracy"}
    assert {"variant", "value", "low", "high", "k", "n", "job"} <= set(some[0])
    table = bantam("facts", run, "--metric", "accuracy").out.splitlines()
    assert table[0].split()[:2] == ["metric", "variant"]
    assert len(table) == len(some) + 1


def test_report_is_written_again(bantam: Bantam, run: Path) -> None:
    page = run / "report.html"
    page.unlink()
    said = bantam("report", run)
    assert (said.code, said.out, said.err) == (0, f"{page}\n", "")
    assert page.is_file()


def test_evaluate_counts_what_the_study_counted(bantam: Bantam, run: Path, saved: Path) -> None:
    (fact,) = (
        fact
        for fact in bw.load_facts(run / "facts.parquet")
        if (fact.metric, fact.variant, fact.split) == ("accuracy", "mlp", "test")
    )
    said = bantam("evaluate", saved, "digits", "--json")
    assert said.code == 0
    assert said.out.count("\n") == 1
    found = said.json
    assert {"n", "correct", "low", "high", "per_class"} <= set(found)
    assert (found["n"], found["correct"], found["low"], found["high"]) == (fact.n, fact.k, fact.low, fact.high)
    assert sorted(found["per_class"]) == list("0123456789")
    assert sum(one["n"] for one in found["per_class"].values()) == found["n"]
    assert sum(one["correct"] for one in found["per_class"].values()) == found["correct"]
    first = bantam("evaluate", saved, "digits", "--n", 50, "--split", "train").json
    assert (first["n"], first["split"]) == (50, "train")


def test_profile_counts(bantam: Bantam) -> None:
    assert bantam("profile", "simple_cnn", "--json").json["parameters"] == 620_810
    small = bantam("profile", "mlp", "--size", 8, "--channels", 1, "--classes", 3).json
    assert set(small) == {"parameters", "macs", "size_bytes"}
    assert all(isinstance(value, int) and value > 0 for value in small.values())


@pytest.mark.parametrize(
    ("kind", "one"),
    [
        ("models", "resnet20"),
        ("attacks", "pgd"),
        ("compressions", "magnitude"),
        ("explainers", "grad_cam"),
        ("runtimes", "onnxruntime"),
        ("data", "folder"),
        ("studies", "digits"),
    ],
)
def test_list_says_what_there_is(bantam: Bantam, kind: str, one: str) -> None:
    said = bantam("list", kind)
    names = [line.split()[0] for line in said.out.splitlines()]
    assert one in names
    assert names == sorted(names)
    assert all(len(line.split()) > 2 for line in said.out.splitlines()), "each has a word about it"
    rows = bantam("list", kind, "--json").json
    assert [row["name"] for row in rows] == names == [name for name, _ in bw.list_parts(kind)]


def test_clean_removes_what_no_run_needs(bantam: Bantam, home: Path, tmp_path: Path) -> None:
    assert bantam("clean", "--store", home / "store").out.startswith("removed 0 unused jobs")
    bantam(*studied(home, store=tmp_path / "store"))
    for file in next((tmp_path / "store" / "runs").iterdir()).iterdir():
        file.unlink()
    next((tmp_path / "store" / "runs").iterdir()).rmdir()
    found = bantam("clean", "--store", tmp_path / "store", "--json").json
    assert found["jobs"] > 5
    assert found["size_bytes"] > 100_000
    assert not list((tmp_path / "store" / "jobs").iterdir())


def test_version_and_no_arguments(bantam: Bantam) -> None:
    assert bantam("--version").out == f"{bw.__version__}\n"
    assert version("bantamweight") == bw.__version__
    said = bantam()
    assert said.code == 0
    assert said.out.startswith("Usage: bantam [OPTIONS]")


def test_a_bug_of_ours_shows_its_traceback(bantam: Bantam, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("bantamweight.recipes.evaluate.logits_of", broken)
    said = bantam("evaluate", saved, "digits")
    assert (said.code, said.out) == (3, "")
    assert said.err.startswith("Traceback (most recent call last)")
    assert "ZeroDivisionError: planted" in said.err
    assert said.err.splitlines()[-1].startswith("bantam: this is a bug of ours")

    def checked(*_: object, **__: object) -> None:
        raise BantamError("a sum that\nmust be one is two")

    monkeypatch.setattr("bantamweight.recipes.evaluate.logits_of", checked)
    said = bantam("evaluate", saved, "digits")
    assert said.code == 3
    assert said.err.count("\n") == 1
    assert "a sum that must be one is two" in said.err


def test_what_is_skipped_is_logged_and_stdout_stays_json(
    bantam: Bantam, desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    data = f"{{use: folder, path: {desk.with_bad('bad.png', 'hello')}, size: 8, channels: 1, on_bad: skip}}"
    study = desk.study(f"study: pets\ndata: {data}\ntrain: {{model: mlp, epochs: 1}}\n")
    said = bantam("run", study, "--threads", 1, "--json")
    assert said.code == 0, said.err
    assert "skipped 1 of the files, the first is train/cat/bad.png: expected an image" in caplog.text
    facts = bw.load_facts(Path(said.json["run"]) / "facts.parquet")
    assert [fact.value for fact in facts if fact.metric == "data_skipped"] == [1]


def test_interrupted_it_keeps_what_was_finished(home: Path, tmp_path: Path) -> None:
    command = [*BANTAM, *map(str, studied(home, "--set", "train.0.epochs=2000", store=tmp_path / "store"))]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    assert child.stderr.readline().startswith("[1/")
    scratch = tmp_path / "store" / "scratch"
    while not list(scratch.rglob("*.safetensors")):
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=300)
    assert (child.returncode, out) == (130, "")
    assert err == "bantam: interrupted; what was finished is kept, run it again to go on\n"
    assert len(list((tmp_path / "store" / "jobs").iterdir())) == 1
    assert not list((tmp_path / "store" / "aside").iterdir())


def test_a_reader_that_leaves_early(run: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*BANTAM, "facts", str(run), "--json"], stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
