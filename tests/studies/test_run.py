"""A whole study, small: it runs, it resumes, it says the same again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bantamweight import facts as table
from bantamweight.errors import InputError
from bantamweight.facts import Fact, select
from bantamweight.parts import configure
from bantamweight.recipes import _campaign, robustness
from bantamweight.studies import Progress, Run, run
from bantamweight.studies.store import Store, clean

STUDY: dict[str, Any] = {
    "study": "tiny",
    "data": "digits",
    "train": [{"model": "small_cnn", "epochs": 2, "batch": 128, "rate": 5e-3}, {"model": "mlp", "epochs": 2}],
    "compress": [{"variants": "small_cnn", "use": "magnitude", "sparsity": 0.5, "finetune": {"epochs": 1}}],
    "attack": [
        {"use": "fgsm", "threats": ["linf 0.1", "linf 0.2"], "n": 32},
        {"use": {"use": "pgd", "steps": 3}, "threats": "linf 0.1", "targets": ["none", "3"], "n": 32, "transfer": {}},
        {"protocol": {"use": "fast", "steps": 3, "classes": 1}, "threats": "linf 0.1", "n": 32,
         "variants": ["small_cnn", "small_cnn/**"], "audit": 3, "transfer": {"sources": "small_cnn", "to": "mlp"}},
        {"protocol": {"use": "fast", "steps": 3, "classes": 1}, "threats": "linf 0.1", "n": 16, "variants": "mlp",
         "targeted": ["least-likely", "all"], "checks": "none"},
    ],
    "explain": [{"use": ["gradient", "grad_cam"], "attack": "fgsm", "threat": "linf 0.1", "n": 16, "show": 4}],
    "measure": [
        {"use": "sizes"},
        {"use": "sensitivity", "variants": "small_cnn", "criterion": "magnitude", "sparsity": [0.9], "n": 32},
        {"use": "minimum_eps", "variants": "*", "attack": {"use": "pgd", "steps": 2}, "threat": "linf 0.5", "rounds": 3,
         "n": 16},
        {"use": "minimum_norm", "variants": "*", "attack": {"use": "ddn", "steps": 8}, "norm": "l2", "n": 16,
         "show": 3},
        {"use": "latency", "variants": "*", "runtimes": ["torch"], "batches": 1, "runs": 20, "warmups": 1},
    ],
    "recommend": {"attack": {"use": "pgd", "steps": 3}, "threat": "linf 0.1"},
    "gates": ["accuracy[small_cnn, test].low >= 0.2", "accuracy[small_cnn, test] >= 1.5", "accuracy[small_cn] > 0"],
}  # fmt: skip

# Only data, one net, one cut, one attack: for the tests that run more than once.
BRIEF = {key: STUDY[key] for key in ("study", "data")} | {
    "train": [{"model": "mlp", "epochs": 3}],
    "attack": [{"use": {"use": "pgd", "steps": 4}, "threats": "linf 0.1", "n": 64}],
}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run, list[Progress]]:
    store = tmp_path_factory.mktemp("run") / "store"
    seen: list[Progress] = []
    with pytest.MonkeyPatch.context() as patch:  # the reference ensemble takes seconds per audit
        small = {"use": "autoattack", "steps": 4, "queries": 20}
        patch.setattr(robustness, "_reference", lambda budget: configure("protocols", small).make(budget))
        return store, run(STUDY, store=store, threads=1, progress=seen.append), seen


def _computed(facts: tuple[Fact, ...]) -> list[Fact]:
    return [fact for fact in facts if fact.origin == "computed" and fact.metric != "recommended"]


def test_every_kind_of_fact_is_there(done: tuple[Path, Run, list[Progress]]) -> None:
    _, result, _ = done
    metrics = {fact.metric for fact in result.facts}
    wanted = [
        "accuracy",
        "recall",
        "confusion",
        "epoch_loss",
        "training_seconds",
        "parameters",
        "macs",
        "size_bytes",
        "sparsity",
        "layer_sparsity",
        "recovery_rate",
        "accuracy_difference",
        "robust_accuracy_difference",
        "robust_accuracy",
        "attack_success",
        "targeted_success",
        "transfer_success",
        "eps_for_half",
        "cascade_broken",
        "cascade_share",
        "check",
        "audit_bound",
        "escalated",
        "warm_start_broken",
        "distance_l2",
        "accuracy_at_eps",
        "eps_for_chance",
        "map_correlation",
        "explainer_undefined",
        "latency_ms",
        "sensitivity_accuracy",
        "data_images",
        "recommended",
    ]
    assert set(wanted) <= metrics
    for fact in result.facts:
        assert fact.study == "tiny"
        assert fact.threads == 1
        assert fact.machine
        assert fact.job or fact.kind in ("paired", "ratio", "flag", "score")
    (undefined,) = select(result.facts, "explainer_undefined", variant="mlp", against="")
    assert undefined.item == "grad_cam"
    for fact in select(result.facts, "robust_accuracy"):
        assert fact.n == (16 if fact.protocol and fact.variant == "mlp" else 32)
        assert fact.attack
        assert fact.threat
        assert fact.seed == 0
    (moved,) = select(result.facts, "transfer_success", source="mlp", variant="small_cnn", target="")
    assert moved.threat == "linf 0.1"


def test_a_protocol_adds_up_and_begins_with_its_parent(done: tuple[Path, Run, list[Progress]]) -> None:
    store, result, _ = done
    name = "fast(steps=3, classes=1)"
    cells = select(result.facts, "robust_accuracy", protocol=name, target="")
    assert len(cells) == 3
    for robust in cells:
        cell = {"variant": robust.variant, "threat": robust.threat, "attack": name, "target": ""}
        (before,) = select(result.facts, "right_before", **cell)
        kills = select(result.facts, "cascade_broken", **cell)
        assert before.k - sum(fact.k for fact in kills) == robust.k
        assert sum(fact.value for fact in select(result.facts, "cascade_share", **cell)) == pytest.approx(1.0)
        (audited,) = select(result.facts, "audited", **cell)
        assert audited.value <= 3
        warm = select(result.facts, "warm_start_broken", **cell)
        assert bool(warm) == ("/" in robust.variant)
        first = min(kills, key=lambda fact: fact.step)
        assert (first.item == "transferred") == bool(warm)
        if warm:
            assert (warm[0].k, warm[0].n, warm[0].source) == (first.k, first.n, robust.variant.rpartition("/")[0])
    mine = ("small_cnn/magnitude-0.5", "small_cnn")
    paired = select(result.facts, "robust_accuracy_difference", attack=name, threat="linf 0.1", target="")
    assert mine in {(fact.variant, fact.other) for fact in paired}
    aimed = {fact.target for fact in select(result.facts, "targeted_success", attack=name)}
    assert aimed == {"least-likely", "all"}
    carried = select(result.facts, "transfer_success", attack=name, source="small_cnn", variant="mlp")
    assert [fact.threat for fact in carried] == ["linf 0.1"]
    manifest = json.loads((result.path / "run.json").read_text())
    for job in manifest["jobs"]:
        if job["kind"] in ("protocol", "minimum_norm"):
            shown = json.loads((store / job["folder"] / "shown.json").read_text())
            assert len(shown["items"]) in (3, 8)
            for item in shown["items"]:
                for picture in item["pictures"].values():
                    assert (store / job["folder"] / picture).read_bytes().startswith(b"\x89PNG")
            sizes = [item["sizes"]["l2"] for item in shown["items"]]
            assert job["kind"] == "protocol" or sizes == sorted(sizes)


def test_a_protocol_that_was_killed_goes_on_in_the_shard_it_was_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_campaign, "SHARD", 8)
    study = {
        **BRIEF,
        "attack": [{"protocol": {"use": "fast", "steps": 3, "classes": 1}, "threats": "linf 0.1", "n": 32}],
    }

    def die(event: Progress) -> None:
        if event.kind == "protocol" and event.done >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, store=tmp_path / "a", threads=1, progress=die)
    assert len(list(tmp_path.glob("a/scratch/*/verdicts/stages/main-*"))) == 2
    assert not list((tmp_path / "a" / "aside").iterdir())
    again, whole = (run(study, store=tmp_path / name, threads=1) for name in ("a", "b"))
    assert _computed(again.facts) == _computed(whole.facts)
    assert not list((tmp_path / "a" / "scratch").iterdir())


def test_the_folder_is_what_reports_read(done: tuple[Path, Run, list[Progress]]) -> None:
    store, result, _ = done
    manifest = json.loads((result.path / "run.json").read_text())
    assert manifest["study"] == "tiny"
    assert [one["name"] for one in manifest["variants"]][:2] == ["small_cnn", "mlp"]
    home = result.path / manifest["store"]
    for job in manifest["jobs"]:
        assert (home / job["folder"] / "job.json").is_file()
    kinds = {job["kind"]: home / job["folder"] for job in manifest["jobs"]}
    gallery = json.loads((kinds["explain"] / "gallery.json").read_text())
    for item in gallery["items"]:
        for picture in item["pictures"].values():
            assert (kinds["explain"] / picture).read_bytes().startswith(b"\x89PNG")
    sheet = json.loads((kinds["data"] / "sheet.json").read_text())
    assert sheet["n"] == len(sheet["labels"]) == manifest["data"]["counts"]["test"]
    assert (kinds["data"] / "sheet.png").is_file()
    assert table.load(result.path / "facts.parquet") == list(result.facts)
    assert clean(Store(store)).jobs == 0


def test_gates(done: tuple[Path, Run, list[Progress]]) -> None:
    _, result, _ = done
    assert [gate["passed"] for gate in result.gates] == [True, False, None]
    assert "small_cnn" in result.gates[2]["note"]
    assert not result.passed


def test_progress_counts_every_job_once(done: tuple[Path, Run, list[Progress]]) -> None:
    _, _, seen = done
    ended = [event for event in seen if event.done == 1.0]
    assert [event.number for event in ended] == list(range(1, ended[0].total + 1))
    assert not any(event.kept for event in ended)


def test_a_second_run_is_instant_and_equal(done: tuple[Path, Run, list[Progress]]) -> None:
    store, result, _ = done
    started, seen = time.monotonic(), []
    again = run(STUDY, store=store, threads=1, progress=seen.append)
    assert time.monotonic() - started < 10
    assert all(event.kept for event in seen)
    assert again.path == result.path
    assert again.facts == result.facts


def test_another_title_shares_all_jobs(done: tuple[Path, Run, list[Progress]]) -> None:
    store, result, _ = done
    before = set(os.listdir(store / "jobs"))
    other = run({**STUDY, "study": "renamed", "gates": []}, store=store, threads=1)
    assert set(os.listdir(store / "jobs")) == before
    assert other.path != result.path
    assert other.facts[0].study == "renamed"


_CHILD = """
import json, sys
from bantamweight.studies import run
print("up", flush=True)
run(json.loads(sys.argv[1]), store=sys.argv[2], threads=1, progress=lambda e: print(e.kind, e.done, flush=True))
"""


def _child(study: dict[str, Any], store: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, json.dumps(study), str(store)], stdout=subprocess.PIPE, text=True
    )


def _until(child: subprocess.Popen[str], start: str) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(start):
            return
    raise AssertionError(f"the study ended before {start!r}")


def test_killed_in_training_and_in_an_attack_it_goes_on_to_the_same_facts(tmp_path: Path) -> None:
    whole = run(BRIEF, store=tmp_path / "whole", threads=1)
    store = tmp_path / "killed"
    for moment in ("train 0.3", "attack 0.0"):
        child = _child(BRIEF, store)
        _until(child, moment)
        child.send_signal(signal.SIGKILL)
        child.communicate()
    again = run(BRIEF, store=store, threads=1)
    assert _computed(again.facts) == _computed(whole.facts)
    assert not list((store / "aside").iterdir())


def test_interrupted_it_leaves_nothing_half_written(tmp_path: Path) -> None:
    child = _child(BRIEF, tmp_path)
    _until(child, "train 0.3")
    child.send_signal(signal.SIGINT)
    child.communicate()
    assert child.returncode != 0
    assert not list((tmp_path / "aside").iterdir())
    assert not list((tmp_path / "runs").iterdir())
    assert clean(Store(tmp_path)).jobs == 0


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    children = [_child(BRIEF, tmp_path) for _ in range(2)]
    for child in children:
        child.communicate(timeout=100)
        assert child.returncode == 0
    assert not list((tmp_path / "aside").iterdir())
    assert len(list((tmp_path / "runs").iterdir())) == 1


def test_a_store_that_is_a_file_and_impossible_threads(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="folder"):
        run(BRIEF, store=tmp_path / "file", threads=1)
    with pytest.raises(InputError, match="threads"):
        run(BRIEF, store=tmp_path, threads=0)
