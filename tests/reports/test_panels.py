"""Panels by themselves: each copes with any fact that is missing, and with a store that is gone or hostile."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bantamweight import facts as table
from bantamweight import parts
from bantamweight.facts import Fact, proportion
from bantamweight.reports import _charts, report
from bantamweight.reports._blocks import Block, Cell, Chart, Fragment, Group, Panel, Prose, Table
from bantamweight.reports._core import panels
from bantamweight.reports._run import Context, read
from bantamweight.reports.panels.checks import checks
from bantamweight.reports.panels.training import training
from tests.reports.made import NAMES, SCRIPT
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
    few = [fact for fact in context.facts if not fact.variant.startswith(("net/magnitude-0.2", "net/magnitude-0.8"))]
    # Drawing is the slow part, and no part of this; a panel that never asks for a metric can't miss it.
    monkeypatch.setattr(_charts, "_spec", lambda _chart, height=0: {"height": height})
    find, metrics = Context.find, sorted({fact.metric for fact in few})
    asked: dict[str, set[str]] = {"summary": set(metrics), "provenance": set(metrics)}
    for name in set(parts.names("panels")) - set(asked):
        wanted: set[str] = set()
        with monkeypatch.context() as spied:
            spied.setattr(
                Context, "find", lambda self, one, wanted=wanted, **at: wanted.add(one) or find(self, one, **at)
            )
            assert parts.configure("panels", name).make(Context(context.folder, context.manifest, tuple(few)))
        asked[name] = wanted
    for metric in metrics:
        left = Context(context.folder, context.manifest, tuple(fact for fact in few if fact.metric != metric))
        for name in (name for name, wanted in asked.items() if metric in wanted):
            panel = parts.configure("panels", name).make(left)
            assert panel is None or panel.blocks, (metric, name)


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


Built = dict[str, Panel]


@pytest.fixture(scope="module")
def built(context: Context) -> Built:
    """Every panel of the made-up run, by name."""
    return dict(panels(context))


def blocks_of(panel: Panel) -> list[Block]:
    """Every block of a panel, groups opened."""

    def opened(blocks: Sequence[Block]) -> Iterator[Block]:
        for block in blocks:
            yield from opened(block.blocks) if isinstance(block, Group) else [block]

    return list(opened(panel.blocks))


def charts_of(panel: Panel) -> list[Chart]:
    return [block for block in blocks_of(panel) if isinstance(block, Chart)]


def values_of(spec: Mapping[str, Any], *keys: str) -> list[dict[str, Any]]:
    """The rows with these columns that a specification draws."""
    held = [spec.get("data", {}), *(layer.get("data", {}) for layer in spec["layer"])]
    found = [row for data in held for row in data.get("values", ()) if set(keys) <= row.keys()]
    return [row for at, row in enumerate(found) if row not in found[:at]]  # layers repeat their data


def test_curves_begin_at_what_was_right_and_carry_bands_and_chance(built: Built) -> None:
    charts = charts_of(built["curves"])
    (fast,) = [chart for chart in charts if chart.table.caption == "Still right, net, fast, linf"]
    assert [layer["mark"]["type"] for layer in fast.spec["layer"]].count("area") == 1
    (chance,) = [row["y"] for row in values_of(fast.spec) if list(row) == ["y"]]
    assert chance == pytest.approx(1 / 5)
    rows = [row for row in values_of(fast.spec, "x", "low", "high") if row["colour"] == "as trained"]
    assert [(row["x"], row["y"]) for row in rows] == [(0.0, 0.8), (0.03, 0.68), (0.1, 0.4)]
    (ddn,) = [chart for chart in charts if chart.table.caption == "Still right, net, ddn, l2"]
    assert [row[1] for row in ddn.table.rows][:4] == ["0", "0.2000", "0.4000", "0.6000"]
    (table,) = [block for block in blocks_of(built["curves"]) if isinstance(block, Table)]
    assert "98.8% [93.3, 99.8], n\xa0=\xa080" in table.rows[0]


def test_every_image_of_a_protocol_is_in_one_part_of_its_bar(built: Built) -> None:
    images, queries, *_ = charts_of(built["cascade"])
    rows = [row for row in values_of(images.spec, "name", "part", "value") if row["name"] == "net 20%"]
    found = {row["part"]: row["value"] for row in rows}
    assert found == {"transferred": 10, "pgd": 12, "audit": 0, "stands": 58, "wrong before": 20}
    for name in {row["name"] for row in values_of(queries.spec, "name")}:
        shares = [row["value"] for row in values_of(queries.spec, "name", "part", "value") if row["name"] == name]
        assert sum(shares) == pytest.approx(1.0)
    tables = [block for block in blocks_of(built["cascade"]) if isinstance(block, Table)]
    line = next(row for row in tables[0].rows if row[0] == "net" and row[1] == "pgd")
    assert list(line[2:7]) == ["80", "15.0% [8.8, 24.4], n\xa0=\xa080", "100.0%", "720", "640"]


def test_checks_and_audit_are_said_in_a_line_each(context: Context, built: Built) -> None:
    overview, failed, *_ = [block for block in blocks_of(built["checks"]) if isinstance(block, Table)]
    lines = {row[0]: row for row in overview.rows if row[1] == "fast, linf\xa00.03"}
    assert lines["net"][2] == Cell("2 / 0 / 1")
    assert lines["net"][3] == "broken: 0 of 4; at 95% at most 52.7% of survivors"
    assert lines["small"][3] == "broken: 1 of 4; at 95% at most 52.7% of survivors"
    assert lines["net"][4] == "no"
    escalated = lines[NAMES[2]][4]
    assert isinstance(escalated, Cell)
    assert SCRIPT in escalated.text
    assert {row[0] for row in failed.rows} == {NAMES[2]}
    (missing,) = [block for block in blocks_of(built["checks"]) if isinstance(block, Prose)]
    assert "doubling (it runs at level full only)" in missing.text
    sound = tuple(fact for fact in context.facts if fact.variant != NAMES[2])
    alone = checks(Context(context.folder, context.manifest, sound))
    assert alone is not None
    assert "No check failed." in [block.text for block in alone.blocks if isinstance(block, Prose)]


def test_curves_say_against_what_they_are(context: Context, built: Built) -> None:
    (robust,) = [one for one in charts_of(built["hardening"]) if one.table.caption == "Validation accuracy by epoch"]
    assert {"net, under pgd at linf 0.1", "net, clean"} <= set(map(str, robust.table.head))
    facts = [one.model_copy(update={"attack": "pgd_at", "threat": "linf 0.1"}) if one.split == "train" else one
             for one in context.facts if one.metric == "epoch_loss"]  # fmt: skip
    panel = training(Context(context.folder, context.manifest, tuple(facts)))
    assert panel is not None
    (loss,) = [one for one in charts_of(panel) if one.table.caption == "Loss by epoch, net"]
    assert list(loss.table.head) == ["epoch", "train, pgd_at at linf 0.1", "val"]


def test_the_diagonal_of_the_transfer_matrix_is_the_attack_at_home(built: Built) -> None:
    over_all, given, *_ = charts_of(built["transfer"])
    home = {row[0]: row[2] for row in over_all.table.rows}["small"]
    assert home == "31.2% [22.2, 42.1], n\xa0=\xa080"  # attack_success of pgd on small at linf 0.03
    assert {row[0]: row[2] for row in given.table.rows}.get("small", "\N{EN DASH}") == "\N{EN DASH}"
    (cell,) = [row for row in values_of(over_all.spec, "x", "y", "interval") if row["x"] == row["y"] == "small"]
    assert cell["interval"] == "22\N{EN DASH}42"
    (warm,) = [block for block in blocks_of(built["transfer"]) if isinstance(block, Table)]
    assert list(warm.rows[0][:2]) == ["net/magnitude-0.2", "net"]
    assert "12.5% [6.9, 21.5], n\xa0=\xa080" in warm.rows[0]


def test_images_grow_with_eps_and_are_sorted_by_distance(built: Built) -> None:
    (growing,) = [block for block in blocks_of(built["growing"]) if isinstance(block, Fragment)]
    grid, other = growing.values["grids"]
    assert grid["title"].startswith("Image 1,")  # the one whose fate changes
    assert [float(head) for head in grid["heads"]] == [0.03, 0.1]
    assert [[cell["success"] for cell in row["cells"]] for row in grid["rows"]] == [[False, True]] * 2
    assert all(cell["uri"].startswith("data:image/png") for row in grid["rows"] for cell in row["cells"])
    assert other["title"].startswith("Image 0,")
    (nearest,) = [block for block in blocks_of(built["nearest"]) if isinstance(block, Fragment)]
    assert len(nearest.values["strips"]) == 2
    for strip in nearest.values["strips"]:
        assert [float(one["distance"]) for one in strip["items"]] == pytest.approx([0.3, 0.6, 0.9])


def test_pictures_of_protocols_stay_inside_their_job(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(run.parents[1], store)
    (store / "secret.png").write_bytes(b"\x89PNG secret")
    for path in store.glob("jobs/*/shown.json"):
        said = json.loads(path.read_text(encoding="utf-8"))
        for item in said["items"]:
            item["pictures"]["adversarial"] = "../../secret.png"
        said["items"].append({"index": 9})
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


def test_seeds_of_one_protocol_are_not_added_up(context: Context) -> None:
    metrics = ("cascade_", "check", "audit", "escalated", "right_before", "robust_accuracy")
    once = [fact for fact in context.facts if fact.metric.startswith(metrics)]
    seeds = [fact.model_copy(update={"seed": seed}) for seed in (0, 1) for fact in once]
    twice = Context(context.folder, context.manifest, tuple(seeds))
    alone, both = (dict(panels(Context(context.folder, context.manifest, tuple(once)))), dict(panels(twice)))
    captions = [chart.table.caption for chart in charts_of(both["cascade"])]
    assert captions == [chart.table.caption for chart in charts_of(alone["cascade"])] * 2
    drawn = values_of(charts_of(both["cascade"])[0].spec, "name", "part", "value")
    assert drawn == values_of(charts_of(alone["cascade"])[0].spec, "name", "part", "value")
    titles = [block.title for block in both["cascade"].blocks if isinstance(block, Group)]
    assert sum(title.endswith("seed 1") for title in titles) == len(titles) // 2
    rows = next(block for block in blocks_of(both["checks"]) if isinstance(block, Table)).rows
    assert len(rows) == 2 * len(next(block for block in blocks_of(alone["checks"]) if isinstance(block, Table)).rows)
