"""Facts of a bench: everything timed has its rows, files are weighed, and machines merge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bantamweight import facts as table
from bantamweight.errors import InputError, StoreError
from bantamweight.facts import Fact, select
from bantamweight.loading import untrained
from bantamweight.recipes.bench import bench, keep, merged
from bantamweight.reports import report


@pytest.fixture(scope="module")
def found() -> list[Fact]:
    """Two nets (one twice) on three runtimes."""
    patch = pytest.MonkeyPatch()
    patch.setattr("bantamweight.runtimes._latency.SETTLE_S", 0.0)
    nets = [untrained("mlp", size=8, channels=1), replace(untrained("mlp", size=8, channels=1), name="mlp/cut")]
    runtimes = ("torch", "onnxruntime", "onnxruntime-int8")
    images = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    made = bench(nets, runtimes=runtimes, batches=(1, 3), threads=1, runs=10, calibrate=images)
    patch.undo()
    return made


def test_everything_is_timed_beside_the_first(found: list[Fact]) -> None:
    timed = select(found, "latency_ms")
    cells = {(fact.variant, fact.runtime, fact.batch) for fact in timed}
    assert len(timed) == len(cells) == 2 * 3 * 2
    assert all(fact.origin == "measured" and fact.machine and fact.threads == 1 for fact in timed)
    over = select(found, "speedup_over")
    assert {(fact.variant, fact.runtime, fact.batch) for fact in over} == {
        cell for cell in cells if cell[:2] != ("mlp", "torch")
    }
    assert {(fact.other, fact.against) for fact in over} == {("mlp", "torch")}
    notes = {fact.note for fact in select(found, "latency_ms", runtime="onnxruntime_int8")}
    assert all("every product is integer" in note for note in notes)


def test_every_file_is_weighed(found: list[Fact]) -> None:
    sizes = {(fact.variant, fact.item): fact.value for fact in select(found, "size_bytes")}
    forms = {"dense_fp32", "bitmap", "gzip", "coded", "onnx", "onnx_int8"}
    assert set(sizes) == {(name, form) for name in ("mlp", "mlp/cut") for form in forms}
    assert {fact.runtime for fact in select(found, "parity_top1")} == {"onnxruntime", "onnxruntime_int8"}
    assert {fact.metric for fact in found} >= {"parameters", "macs"}


def test_machines_merge_into_one_report(found: list[Fact], tmp_path: Path) -> None:
    other = [fact.model_copy(update={"machine": "<another> machine"}) if fact.machine else fact for fact in found]
    first, second = keep(found, tmp_path / "one"), keep(other, tmp_path / "two")
    both = merged([first, second, first])
    timed = select(both, "latency_ms")
    assert len(timed) == 2 * len(select(found, "latency_ms"))
    assert len(select(both, "size_bytes")) == len(select(found, "size_bytes")), "what is equal is there once"
    page = report(keep(both, tmp_path / "both")).read_text()
    assert "Time for one image by machine" in page
    assert "<another> machine" not in page
    assert "&lt;another&gt; machine" in page
    assert table.load(tmp_path / "both" / "facts.parquet") == both
    keep(found, tmp_path / "both")


def test_what_can_not_be_merged_or_kept(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folder that bench has written"):
        merged([tmp_path])
    table.save([Fact(metric="macs", kind="count", value=3.0)], tmp_path / "facts.parquet")
    with pytest.raises(InputError, match="expected timings"):
        merged([tmp_path])
    with pytest.raises(InputError, match="empty or an earlier bench"):
        keep([], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="empty or an earlier bench"):
        keep([], tmp_path / "file")
    with pytest.raises(StoreError, match="able to write"):
        keep([], tmp_path / "file" / "below")


def test_names_and_runtimes_are_told_apart() -> None:
    net = untrained("mlp", size=8, channels=1)
    with pytest.raises(InputError, match="names of their own"):
        bench([net, net])
    with pytest.raises(InputError, match="torch twice"):
        bench([net], runtimes=("torch", "torch"), threads=1)
