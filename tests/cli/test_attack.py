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
from bantamweight.attacks._selftest import SelfTest
from bantamweight.cli import _code
from bantamweight.cli._attack_said import sentences
from bantamweight.errors import InputError
from bantamweight.oracle import oracle
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
    assert json.loads((folder / "result.json").read_text()) == again
    assert again["classes"] == [str(digit) for digit in range(10)]
    with pytest.raises(InputError, match=r"is an attack's: its answer is result\.json"):
        bw.report(folder)


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
    told = attack("--eps", "0.3", "--n", 20, "--attack", "pgd", "--self-test")
    assert said["telling"] == ("to find these proves nothing" not in told)


@pytest.mark.parametrize(
    ("planted", "found", "lucky", "telling"),
    [(10, 10, 7, False), (10, 10, 5, True), (64, 61, 2, True), (64, 0, 0, True), (64, 64, 33, False), (4, 4, 0, False)],
)
def test_a_self_test_that_luck_passes_too_tells_nothing(planted, found, lucky, telling):
    assert SelfTest(planted, planted, found, lucky).telling == telling


def test_the_gradients_of_a_self_test_are_those_of_a_run(attack, monkeypatch):
    asked = []

    def spied(module, *, precision="fp32", **settings):
        asked.append(precision)
        return oracle(module, precision=precision, **settings)

    monkeypatch.setattr("bantamweight.attacks._selftest.oracle", spied)
    monkeypatch.setattr("bantamweight.recipes._precision.describe", lambda: "AVX-512 BF16")
    for more in ((), ("--precision", "fp32")):
        attack("--eps", "0.3", "--n", 4, "--attack", "fgsm", "--self-test", *more)
    assert asked == ["bf16", "fp32"]


def test_without_a_budget_distances_are_told_and_no_accuracy(attack):
    given = ("--norm", "l2", "--attack", "ddn", "--set", "steps=30", "--checks", "none")
    said = attack(*given, "--n", 40, "-o", "out")
    told = json.loads((Path("out") / "result.json").read_text())
    n, right = told["n"], told["clean"]["correct"]
    assert right < n == 40
    assert "accuracy" not in said
    assert re.search(rf"median distance \S+ \(\S+ to \S+ at 95%, n = {n}\), counting images that were wrong", said)
    assert re.search(rf"median distance of images right before \S+ \(\S+ to \S+ at 95%, n = {right}\)", said)
    assert re.search(rf"queries until half of the {right} images attacked were broken: \d+", said)
    assert f"{told['survives_8bit']} of {told['successes']} successes survive rounding to 8 bits" in said
    few = attack(*given, "--n", 4)
    assert re.search(r"median distance of images right before \S+ \(n = [1-4]\)", few)
    assert "more" not in few


def said_of(**changes):
    """An answer, as plain JSON, with something changed."""
    robust = {"correct": 50, "low": 0.4, "high": 0.6}
    usual = {"n": 100, "left_out": 0, "clean": {"correct": 90}, "robust": robust, "targeted": False, "attacks": []}
    usual |= {"protocol": "fast", "threat": "linf 8/255", "checks": [], "audit": None, "escalated": "", "seconds": 1.0}
    return "\n".join(sentences({**usual, "folder": "out", **changes}))


def test_an_audit_of_all_survivors_leaves_nothing_to_infer():
    counts = {"n": 50, "broken": 0, "bound": 0.0, "survivors": 50}
    assert "audit: 0 of all 50 survivors broken by the reference ensemble\n" in said_of(audit=counts)
    counts |= {"n": 40, "broken": 1, "bound": 0.04}
    assert "audit: 1 of 40 of 50 survivors broken by the reference ensemble: at 95% at most 4.0%" in said_of(
        audit=counts
    )
    counts |= {"n": 0, "broken": 0, "bound": 0.0, "survivors": 0}
    assert "audit: no survivor was left" in said_of(audit=counts)


def test_who_else_was_asked_is_named():
    assert "under linf 8/255 by fast\n" in said_of()
    assert "under linf 8/255 by fast, then the reference ensemble\n" in said_of(escalated="the audit broke 1 of 40")


def test_a_median_beyond_what_was_tried_is_more():
    half = {"n": 8, "median": None, "low": 0.25, "high": None}
    said = said_of(distance=half, distance_right=half, queries_for_half=None, successes=0, survives_8bit=0)
    assert "median distance of images right before more (0.25 to more at 95%, n = 8)" in said
    assert "fewer than half of the 8 images attacked were broken" in said
    assert "survive" not in said


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
