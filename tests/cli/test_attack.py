"""`bantam attack` as a user would type it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import bantamweight as bw
from bantamweight.cli import _code
from tests.cli.corpus.desk import BANTAM

KEYS = {"n", "clean", "robust", "seconds", "forwards", "backwards", "attacks", "checks", "audit", "survivors"}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """A net that knows its digits, saved."""
    digits = bw.load_data("digits")
    folder = tmp_path_factory.mktemp("net") / "mlp"
    bw.save(bw.train(bw.fresh("mlp", digits), digits, epochs=4, rate=3e-3).variant, folder)
    return folder


@pytest.fixture
def attack(net, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        code = _code(["attack", str(net), "digits", *map(str, arguments)])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return call


def test_the_answer_for_scripts(attack):
    said = json.loads(attack("--eps", "0.1", "--n", 80, "--json"))
    assert set(said) >= KEYS
    assert said["n"] == 80
    assert 0 < said["clean"]["correct"] - said["robust"]["correct"] == sum(part["broken"] for part in said["attacks"])
    assert set(said["attacks"][0]) >= {"name", "broken", "forwards", "backwards", "seconds"}
    assert set(said["checks"][0]) >= {"name", "state", "detail"}
    folder = Path(said["folder"])
    rows = pq.read_table(folder / "verdicts.parquet").to_pylist()
    assert len(rows) == 80
    assert [row["index"] for row in rows if row["right"] and not row["success"]] == said["survivors"]
    again = json.loads(attack("--eps", "0.1", "--n", 80, "--json"))
    assert again["survivors"] == said["survivors"]
    assert again["folder"] == said["folder"]


def test_the_answer_for_people(attack):
    said = attack("--eps", "0.1", "--n", 40, "--attack", "pgd", "--set", "steps=5", "-o", "out")
    assert "robust accuracy" in said
    assert "pgd" in said
    assert "verdicts and images in out" in said


def test_from_another_variant_and_without_a_budget(attack):
    first = json.loads(attack("--eps", "0.2", "--n", 40, "-o", "first", "--json"))
    second = json.loads(attack("--eps", "0.2", "--n", 40, "--from", "first", "-o", "second", "--json"))
    assert second["attacks"][0]["name"] == "transferred"
    broken = sum(part["broken"] for part in first["attacks"])
    assert second["attacks"][0]["broken"] == broken > 0
    homes = [
        json.loads(attack("--eps", "0.2", "--n", 5, "--json", *more))["folder"] for more in ((), ("--from", "first"))
    ]
    assert homes[0] != homes[1]
    sizes = json.loads(attack("--norm", "l2", "--attack", "ddn", "--set", "steps=30", "--n", 30, "--json"))
    assert sizes["distance"]["low"] <= sizes["distance"]["median"] <= sizes["distance"]["high"]
    assert sizes["curve"][0]["robust"] >= sizes["curve"][-1]["robust"] == 0


def test_targeted(attack):
    said = json.loads(attack("--eps", "0.3", "--n", 40, "--targeted", "3", "--attack", "pgd", "--json"))
    rows = pq.read_table(Path(said["folder"]) / "verdicts.parquet").to_pylist()
    hit = [row for row in rows if row["success"]]
    assert hit
    assert all(row["adversarial"] == 3 for row in hit)


def test_the_self_test_plants_and_finds(attack):
    said = json.loads(attack("--eps", "0.3", "--n", 20, "--attack", "pgd", "--self-test", "--json"))
    assert said["planted"] > 0
    assert said["low"] <= said["found"] / said["planted"] <= said["high"]


def test_killed_it_goes_on_to_the_same_verdicts(net, tmp_path):
    arguments = ["attack", str(net), "digits", "--split", "train", "--n", "700", "--eps", "0.08", "--checks", "none"]
    arguments += ["-o", "out"]
    arguments += ["--protocol", "autoattack", "--set", "steps=4", "--set", "queries=20", "--json"]
    running = subprocess.Popen([*BANTAM, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 100
    while not list(tmp_path.glob("out/stages/main-00000")) and running.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if running.poll() is None:
        os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert list(tmp_path.glob("out/stages/main-00000"))
    resumed = subprocess.run([*BANTAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    arguments[arguments.index("out")] = "whole"
    whole = subprocess.run([*BANTAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(resumed.stdout)["survivors"] == json.loads(whole.stdout)["survivors"]
    tables = [pq.read_table(tmp_path / name / "verdicts.parquet") for name in ("out", "whole")]
    assert tables[0].equals(tables[1])


def test_the_attack_of_the_docs_runs_from_a_file_of_ones_own(net, tmp_path):
    page = (Path(__file__).resolve().parents[2] / "docs" / "adding-an-attack.md").read_text(encoding="utf-8")
    (tmp_path / "ni_fgsm.py").write_text(max(re.findall(r"```python\n(.*?)```", page, re.DOTALL), key=len))
    arguments = ["attack", str(net), "digits", "--n", "8", "--eps", "0.1", "--attack", "ni_fgsm:ni_fgsm", "--json"]
    refused = subprocess.run([*BANTAM, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    done = subprocess.run([*BANTAM, *arguments, "--trust"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["attacks"][0]["name"] == "ni_fgsm"
