"""Where each net looks, class by class, right and wrong, and how far cutting and attacks move it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bantamweight.facts import Fact
from bantamweight.reports._blocks import Block, Chart, Fragment, Panel, Prose, Table
from bantamweight.reports._charts import dots
from bantamweight.reports._galleries import FAILS, UNSHOWN, Gallery, galleries, marked, marks, named
from bantamweight.reports._pictures import Album, album
from bantamweight.reports._run import Context
from bantamweight.reports._tables import pivot

__all__ = ["explanations"]

FEW = 4
"""Images in the table of all methods; it has a row for each form of the net, clean and attacked."""


def explanations(context: Context, *, most_images: int = 420, most_bytes: int = 1_200_000) -> Panel | None:
    """Maps of the same clean images across the forms of a net, and rank correlations; None without explainers.

    At most about `most_images` pictures, which weigh at most `most_bytes`.
    """
    blocks: list[Block] = []
    by_family: dict[str, list[Gallery]] = {}
    for one in galleries(context):
        of_family = by_family.setdefault(context.variety(one.variant).family, [])
        # Clean maps do not depend on the attack: one gallery of each variant is enough.
        if one.variant not in {other.variant for other in of_family}:
            of_family.append(one)
    grids = [grid for family, found in by_family.items() if (grid := _grid(context, family, found, most_images))]
    if grids:
        pictures = album((path for grid in grids for path in grid["paths"]), most=most_bytes)
        blocks.append(Fragment("{% include 'maps.html' %}", {"grids": [_filled(grid, pictures) for grid in grids]}))
        blocks += [Prose(pictures.note, "note")] if pictures.note else []
    blocks += [
        chart
        for title, against in (("by the attack", "attacked"), ("by the cut", "dense"))
        if (chart := _moved(context, title, against))
    ]
    undefined = context.find("explainer_undefined")
    if undefined:
        rows = [[fact.variant, named(fact.item), fact.note] for fact in undefined]
        blocks.append(Table("Not defined", ["variant", "method", "why"], rows))
    flat = pivot(
        context,
        "Maps without information (constant up to rounding)",
        {"variant": "variant", "item": "method"},
        {"flat_maps": "flat"},
        folded=True,
    )
    blocks += [flat] if flat else []
    if not blocks:
        return None
    lead = "Maps of the predicted class on clean images, the same for every form of a net. A hatched map says nothing."
    return Panel("What the nets look at", 140, blocks, lead)


def _grid(context: Context, family: str, found: Sequence[Gallery], most: int) -> dict[str, Any] | None:
    """Rows are images, columns forms of the net, one table per explainer."""
    first = found[0]
    methods = [name for name in first.explainers if name not in first.undefined]
    count = max(6, most // max(1, len(found) * len(methods)))
    # Right and wrong in turn, so that a short list has both.
    right = [item for item in first.items if item.get("right")]
    wrong = [item for item in first.items if not item.get("right")]
    chosen = [item for pair in zip(right, wrong, strict=False) for item in pair]
    chosen += right[len(wrong) :] + wrong[len(right) :]
    chosen = sorted(chosen[:count], key=lambda item: not item.get("right"))
    if not methods or not chosen:
        return None
    mark = marks(context)
    tables: list[dict[str, Any]] = [
        {
            "name": named(method),
            "about": "original, then the map of each form",
            "heads": [marked(context.variety(one.variant).form, mark.get((one.variant, method))) for one in found],
            "rows": [_row(item, method, found) for item in chosen],
        }
        for method in methods
    ]
    if len(methods) > 1:
        tables.insert(0, _together(context, methods, found, chosen[:FEW]))
    paths = [
        path for table in tables for row in table["rows"] for path in (row["image"], *(c["path"] for c in row["cells"]))
    ]
    return {"family": family, "tables": tables, "paths": [path for path in paths if path is not None]}


def _together(
    context: Context, methods: Sequence[str], found: Sequence[Gallery], chosen: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Rows are a few images, each as every form of the net sees it, clean and attacked; columns are methods."""
    shown = {one.variant for one in found}
    # One head stands for several forms: that a method fails on one of them is the graver thing to say.
    said = {(method, text) for (variant, method), text in marks(context).items() if variant in shown}
    mark = {method: FAILS if (method, FAILS) in said else UNSHOWN for method, _ in said}
    rows = []
    for item in chosen:
        for one in found:
            same = next((other for other in one.items if other.get("index") == item.get("index")), None)
            if same is None:
                continue
            form = context.variety(one.variant).form
            rows.append(_state(one, same, methods, "original", "clean", form))
            if same.get("adversarial") and same.get("attacked", True):
                rows.append(_state(one, same, methods, "adversarial", "adversarial", f"{form}, attacked"))
    return {
        "name": "Methods side by side",
        "about": "the image as it was shown to each form, then the map of each method",
        "heads": [marked(named(method), mark.get(method)) for method in methods],
        "rows": rows,
    }


def _state(
    one: Gallery, item: Mapping[str, Any], methods: Sequence[str], shown: str, state: str, said: str
) -> dict[str, Any]:
    paths, answer = one.paths(item), item[state]
    right = str(answer["predicted"]) == str(item["label"])
    cells = [
        {"path": paths.get(f"{method} {state}"), "said": str(answer["predicted"]), "right": right} for method in methods
    ]
    label = f"{item['label']}: {said}"
    return {
        "name": str(item.get("name", "")),
        "label": label,
        "right": right,
        "image": paths.get(shown),
        "cells": cells,
    }


def _row(item: Mapping[str, Any], method: str, found: Sequence[Gallery]) -> dict[str, Any]:
    cells = []
    for one in found:
        same = next((other for other in one.items if other.get("index") == item.get("index")), None)
        cells.append(
            {
                "path": one.paths(same).get(f"{method} clean") if same else None,
                "said": str(same["clean"]["predicted"]) if same else "",
                "right": bool(same and same.get("right")),
            }
        )
    return {
        "name": str(item.get("name", "")),
        "label": str(item["label"]),
        "right": bool(item.get("right")),
        "image": found[0].paths(item).get("original"),
        "cells": cells,
    }


def _filled(grid: Mapping[str, Any], pictures: Album) -> dict[str, Any]:
    def uri(path: Any) -> str:
        return pictures.get(path) if path is not None else ""

    tables = [
        table
        | {
            "rows": [
                row
                | {"image": uri(row["image"]), "cells": [cell | {"uri": uri(cell["path"])} for cell in row["cells"]]}
                for row in table["rows"]
            ]
        }
        for table in grid["tables"]
    ]
    return {"family": grid["family"], "tables": tables}


def _moved(context: Context, title: str, against: str) -> Chart | None:
    facts: list[Fact] = [fact for fact in context.find("map_correlation", against=against) if fact.value is not None]
    if not facts:
        return None
    rows = [
        {
            "x": fact.value,
            "low": fact.low,
            "high": fact.high,
            "n": fact.n,
            "variant": context.label(fact.variant),
            "method": named(fact.item),
        }
        for fact in facts
    ]
    keys = {"variant": "variant", "item": "method", "attack": "attack", "threat": "threat"}
    caption = f"How far maps are moved {title}: mean rank correlation, 1 is unmoved"
    table = pivot(
        context, caption, keys, {"map_correlation": "rank correlation"}, where=lambda fact: fact.against == against
    )
    assert table is not None
    left_out = any(fact.note for fact in facts)
    note = (
        "A map without information has no ranks: such pairs are left out, and n counts those kept." if left_out else ""
    )
    spec = dots(rows, x="rank correlation", y="variant", colour="method", from_zero=True)
    return Chart(caption, spec, table, note)
