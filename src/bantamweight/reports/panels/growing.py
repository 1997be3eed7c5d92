"""One image as the budget grows: what it takes to change each variant's mind, to be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Fragment, Panel, Prose
from bantamweight.reports._pictures import album
from bantamweight.reports._run import Context
from bantamweight.reports._shown import Shown, shown

__all__ = ["growing"]

MOST_ROWS = 8


def growing(context: Context, *, most_images: int = 2, most_bytes: int = 600_000) -> Panel | None:
    """The same image under the same protocol at every budget, a row per variant; None without pictures at two
    budgets or more. At most `most_images` images are shown, those whose fate changes as the budget grows."""
    cells: dict[tuple[str, str, str], dict[str, dict[float, Shown]]] = {}
    for one in shown(context, "protocol"):
        eps = _words.eps(one.threat)
        if eps is not None:
            cells.setdefault((one.attack, one.norm, one.target), {}).setdefault(one.variant, {})[eps] = one
    found = {cell: rows for cell, rows in cells.items() if len({eps for row in rows.values() for eps in row}) > 1}
    if not found:
        return None
    drawn = [(cell, index, rows) for cell, rows in found.items() for index in _telling(rows)[:most_images]]
    paths = [path for _, index, rows in drawn for path in _paths(index, rows)]
    pictures = album(paths, most=most_bytes)
    values = [_grid(context, cell, index, rows, pictures.pictures) for cell, index, rows in drawn]
    lead = (
        "The adversarial image that the protocol ended with at each budget: the first one that fooled, else the one "
        "that came closest. Examples, not evidence."
    )
    blocks: list[Block] = [Fragment("{% include 'growing.html' %}", {"grids": values})]
    blocks += [Prose(pictures.note, "note")] if pictures.note else []
    return Panel("One image over growing eps", 132, blocks, lead)


def _telling(rows: Mapping[str, Mapping[float, Shown]]) -> list[int]:
    """Numbers of the images, those first whose fate changes most often with the budget."""
    turns: dict[int, int] = {}
    for row in rows.values():
        for item in next(iter(row.values())).items:
            fates = {one["success"] for made in row.values() if (one := made.item(item["index"])) and one["right"]}
            turns[item["index"]] = turns.get(item["index"], 0) + len(fates)
    return sorted(turns, key=lambda index: -turns[index])


def _paths(index: int, rows: Mapping[str, Mapping[float, Shown]]) -> list[Path]:
    found = []
    for row in list(rows.values())[:MOST_ROWS]:
        for one in row.values():
            item = one.item(index)
            if item is not None:
                found += [path for key in ("original", "adversarial") if (path := one.path(item, key))]
    return found


def _grid(
    context: Context,
    cell: tuple[str, str, str],
    index: int,
    rows: Mapping[str, Mapping[float, Shown]],
    pictures: Mapping[Path, str],
) -> dict[str, Any]:
    attack, norm, target = cell
    budgets = sorted({eps for row in rows.values() for eps in row})
    made = [_row(context, name, [row.get(eps) for eps in budgets], index, pictures) for name, row in rows.items()]
    made = [row for row in made if row["cells"]]
    label = next((row["label"] for row in made), "")
    aimed = f", towards {target}" if target not in ("", "none") else ""
    return {
        "title": f"Image {index}, class {label}: {attack}, {norm}{aimed}",
        "heads": [_named(rows, eps) for eps in budgets],
        "rows": made[:MOST_ROWS],
    }


def _named(rows: Mapping[str, Mapping[float, Shown]], eps: float) -> str:
    """The budget as the study wrote it: `8/255`."""
    return next(row[eps].threat.partition(" ")[2] for row in rows.values() if eps in row)


def _row(
    context: Context, name: str, row: Sequence[Shown | None], index: int, pictures: Mapping[Path, str]
) -> dict[str, Any]:
    items = [(one, one.item(index)) for one in row if one is not None]
    if not any(item for _, item in items):
        return {"cells": []}
    one, first = next((one, item) for one, item in items if item)
    told = [_cell(one, item, pictures) if one and (item := one.item(index)) else None for one in row]
    return {
        "name": context.label(name),
        "label": str(first["label"]),
        "original": pictures.get(one.path(first, "original") or Path(), ""),
        "clean": str(first["clean"]),
        "right": bool(first["right"]),
        "cells": told,
    }


def _cell(one: Shown, item: Mapping[str, Any], pictures: Mapping[Path, str]) -> dict[str, Any]:
    return {
        "uri": pictures.get(one.path(item, "adversarial") or Path(), "") if item.get("attacked", True) else "",
        "said": str(item["adversarial"]),
        "confidence": _words.percent(float(item["confidence"])),
        "size": _words.figure(one.size(item)),
        "success": bool(item["success"]),
    }
