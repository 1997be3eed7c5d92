"""Panels by themselves: each copes with any fact that is missing, and with a store that is gone or hostile."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from bantamweight import facts as table
from bantamweight import parts
from bantamweight.facts import Fact, proportion
from bantamweight.reports import _charts, report
from bantamweight.reports._core import panels
from bantamweight.reports._run import Context, read
from tests.reports.tree import parse


@pytest.fixture(scope="module")
def context(run: Path) -> Context:
    return read(run)


def shown(context: Context) -> set[str]:
    return {name for name, _ in panels(context)}


def test_every_panel_has_a_place_of_its_own(context: Context) -> None:
    orders = [panel.order for _, panel in panels(context)]
    assert len(set(orders)) == len(orders) == len(parts.names("panels"))


def test_one_metric_alone_is_enough_for_a_page(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_charts, "_spec", lambda _chart, height=0: {"height": height})
    for metric in sorted({fact.metric for fact in context.facts}):
        facts = tuple(fact for fact in context.facts if fact.metric == metric)[:40]
        assert {"summary", "provenance"} <= shown(Context(context.folder, {}, facts)), metric


def test_any_one_metric_may_be_missing(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _charts, "_spec", lambda _chart, height=0: {"height": height}
    )  # the slow part, and no part of this
    few = [fact for fact in context.facts if not fact.variant.startswith(("net/magnitude-0.2", "net/magnitude-0.8"))]
    for metric in sorted({fact.metric for fact in few}):
        facts = tuple(fact for fact in few if fact.metric != metric)
        assert "provenance" in shown(Context(context.folder, context.manifest, facts)), metric


def test_unknown_values_are_said_not_drawn(context: Context) -> None:
    blank = [fact.model_copy(update={"value": None, "low": None, "high": None}) for fact in context.facts]
    facts = tuple(fact for fact in blank if fact.kind != "proportion")
    assert "provenance" in shown(Context(context.folder, context.manifest, facts))


def test_a_run_of_one_fact_is_a_page(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    table.save([proportion("accuracy", 31, 50, variant="net", split="test")], run / "facts.parquet")
    (run / "run.json").write_text("{}", encoding="utf-8")
    tree = parse(report(run).read_text(encoding="utf-8"))
    assert [node.attributes["id"] for node in tree.all("section", cls="panel")] == ["summary", "accuracy", "provenance"]
    assert "62.0% [48.2, 74.1]" in tree.text


def test_a_run_without_facts_is_a_page(tmp_path: Path) -> None:
    table.save([], tmp_path / "facts.parquet")
    (tmp_path / "run.json").write_text('{"jobs": null, "gates": null}', encoding="utf-8")
    assert parse(report(tmp_path).read_text(encoding="utf-8")).all("h2")


def test_without_the_store_the_facts_still_make_a_page(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "runs" / "alone"
    shutil.copytree(run, alone)
    tree = parse(report(alone).read_text(encoding="utf-8"))
    assert not tree.all("img")
    assert not tree.all("dialog")
    assert "cells do not open" in tree.all("section", id="confusion")[0].text
    assert not tree.all("section", id="gallery")


def test_a_manifest_reads_nothing_outside_its_store(context: Context) -> None:
    outside = [
        job.labels | {"folder": folder} for job in context.jobs("data") for folder in ("../secret", "/etc", "jobs")
    ]
    manifest = dict(context.manifest) | {"jobs": [{"kind": "data", **one} for one in outside]}
    assert replace(context, manifest=manifest).jobs("data") == []


def test_a_gallery_shows_nothing_outside_its_job(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(run.parents[1], store)
    (store / "secret.png").write_bytes(b"\x89PNG secret")
    for path in store.glob("jobs/*/gallery.json"):
        said = json.loads(path.read_text(encoding="utf-8"))
        for item in said["items"]:
            item["pictures"]["original"] = "../../secret.png"
        path.write_text(json.dumps(said), encoding="utf-8")
    html = report(store / "runs" / run.name).read_text(encoding="utf-8")
    assert "iVBORyBzZWNyZXQ" not in html  # base64 of the secret


def test_many_classes_become_a_list_of_pairs(context: Context) -> None:
    names = [f"class {index}" for index in range(100)]
    facts = tuple(
        Fact(
            metric="confusion",
            kind="count",
            value=index + 1,
            n=200,
            item=name,
            against=names[index - 1],
            variant="net",
            split="test",
        )
        for index, name in enumerate(names)
    )
    rates = (proportion("accuracy", 1, 2, variant="net", split="test"),)
    manifest = {"data": {"classes": names, "evaluation": "test"}}
    found = dict(panels(Context(context.folder, manifest, facts + rates)))
    (fragment,) = found["confusion"].blocks
    pairs = fragment.values["tables"][0]["pairs"]  # type: ignore[union-attr]
    assert len(pairs) == 40
    assert pairs[0]["count"] == 100
