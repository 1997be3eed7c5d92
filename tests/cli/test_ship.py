"""Export, bench and attacks on a file, as a user would type them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bantamweight import variants
from bantamweight.cli import _code
from bantamweight.data import load
from bantamweight.training import fresh, train


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net that reads digits."""
    data = load("digits")
    made = train(fresh("small_cnn", data), data, epochs=3).variant
    assert made is not None
    variants.save(made, tmp_path_factory.mktemp("ship") / "net")
    return tmp_path_factory.getbasetemp() / "ship0" / "net"


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    code = _code([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return json.loads(out) if "--json" in arguments else out


def test_export_then_attack_what_was_exported(saved: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("bantamweight.recipes.export.RUNS", 10)
    monkeypatch.setattr("bantamweight.runtimes._latency.SETTLE_S", 0.0)
    path = tmp_path / "net.onnx"
    made = said(capsys, "export", saved, "-o", path, "--int8", "--calibrate", "digits", "--n", 64, "--json")
    assert (made["kind"], made["size_bytes"]) == ("onnx_int8", path.stat().st_size)
    assert made["int8"]["n"] > 300
    assert made["int8"]["right"][1] > 200
    assert set(made["int8"]["faster"]) == {"1", "16"}
    assert made["int8"]["fusion"]["integer"]["QLinearConv"] >= 1
    assert [file.name for file in tmp_path.iterdir()] == ["net.onnx"]
    attack = ("attack", saved, "digits", "--n", 30, "--artifact", path, "--eps", "0.1", "--json")
    through = said(capsys, *attack, "--attack", "pgd", "--set", "steps=5", "--checks", "none", "-o", tmp_path / "a")
    assert through["n"] == 30
    assert sum(part["backwards"] for part in through["attacks"]) > 0
    by_score = said(capsys, *attack, "--attack", "square", "--set", "queries=20", "-o", tmp_path / "b")
    assert sum(part["backwards"] for part in by_score["attacks"]) == 0
    assert by_score["checks"] == []
    assert by_score["clean"] == through["clean"]


def test_a_plain_export_in_words(saved: Path, tmp_path: Path, capsys) -> None:
    lines = said(capsys, "export", saved, "-o", tmp_path / "net.onnx").splitlines()
    assert lines[0] == f"{tmp_path / 'net.onnx'}  {(tmp_path / 'net.onnx').stat().st_size:,} bytes"
    assert "logits differ by at most" in lines[1]


def test_bench_keeps_facts_that_merge(saved: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("bantamweight.runtimes._latency.SETTLE_S", 0.0)
    asked = ("bench", saved, "--runtime", "torch,onnxruntime", "--batch", 1, "--threads", 1, "--runs", 10)
    lines = said(capsys, *asked, "-o", tmp_path / "here").splitlines()
    assert lines[0].split()[:4] == ["small_cnn", "torch", "batch", "1"]
    assert "times as fast as small_cnn on torch" in lines[1]
    assert lines[-1] == f"report  {tmp_path / 'here' / 'report.html'}"
    facts = said(capsys, "bench", "--merge", tmp_path / "here", tmp_path / "here", "-o", tmp_path / "all", "--json")
    assert {fact["metric"] for fact in facts} >= {"latency_ms", "speedup_over", "size_bytes", "parity_top1", "macs"}
    assert (tmp_path / "all" / "report.html").is_file()
