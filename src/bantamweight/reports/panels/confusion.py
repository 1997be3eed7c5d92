"""Which classes are taken for which; every cell opens the images that are in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Fragment, Panel
from bantamweight.reports._pictures import Tiles, tiles
from bantamweight.reports._run import Context, Job

__all__ = ["confusion"]

GRID = 24
PAIRS = 40


def confusion(context: Context) -> Panel | None:
    """A matrix per variant on the split that results are read on; None without counts."""
    facts = context.find("confusion", split=context.split)
    names = list(dict.fromkeys(fact.variant for fact in facts))
    if not facts:
        return None
    classes = list(context.classes)
    answers = {name: _predicted(context, name, len(classes)) for name in names}
    sheet, about = _sheet(context)
    opens = sheet is not None and any(answers.values())
    tables = [_matrix(classes, [fact for fact in facts if fact.variant == name], name) for name in names]
    values: dict[str, Any] = {
        "classes": classes,
        "tables": tables,
        "grid": len(classes) <= GRID,
        "opens": opens,
        "openable": [bool(answers[name]) for name in names],
        "uri": sheet.uri if sheet else "",
        "note": sheet.note if sheet else "",
        "stored": _stored(context, about, sheet, names, answers) if opens else None,
    }
    lead = "Rows are the true class, columns the answer; counts of images."
    more = " A cell opens its images." if opens else " The images were not kept in the store, so cells do not open."
    return Panel("Confusion", 40, [Fragment("{% include 'confusion.html' %}", values)], lead + more)


def _matrix(classes: Sequence[str], facts: Sequence[Fact], name: str) -> dict[str, Any]:
    """Counts by true class and answer, as numbers of classes; answer len(classes) is none at all."""
    places = {label: index for index, label in enumerate(classes)}
    cells: dict[tuple[int, int], int] = {}
    totals: dict[int, int] = {}
    for fact in facts:
        if fact.item in places and fact.value is not None:
            answer = places.get(fact.against, len(classes))
            cells[places[fact.item], answer] = int(fact.value)
            totals[places[fact.item]] = fact.n or int(fact.value)
    silent = any(answer == len(classes) for _, answer in cells)
    wrong = sorted(
        ((count, pair) for pair, count in cells.items() if pair[0] != pair[1]), key=lambda one: (-one[0], one[1])
    )
    grid = [
        [
            {
                "count": cells.get((truth, answer), 0),
                "share": cells.get((truth, answer), 0) / max(1, totals.get(truth, 0)),
            }
            for answer in range(len(classes) + silent)
        ]
        for truth in range(len(classes))
    ]
    pairs = [
        {"truth": pair[0], "answer": pair[1], "count": count, "of": totals[pair[0]]} for count, pair in wrong[:PAIRS]
    ]
    return {"name": name, "grid": grid, "silent": silent, "pairs": pairs, "more": max(0, len(wrong) - PAIRS)}


def _predicted(context: Context, variant: str, count: int) -> list[int]:
    """The answer to every image of the split, `count` for none; nothing where the job's file is gone."""
    for job in context.jobs("evaluate", variant=variant, split=context.split):
        try:
            column = pq.read_table(job.folder / "predictions.parquet", columns=["predicted"])["predicted"]
        except (OSError, pa.ArrowException, KeyError):
            continue
        return [int(code) if code is not None and 0 <= code < count else count for code in column.to_pylist()]
    return []


def _sheet(context: Context) -> tuple[Tiles | None, dict[str, Any]]:
    """The picture of all images of the split, and what is on it."""
    for job in context.jobs("data"):
        about = job.json("sheet.json")
        if isinstance(about, dict) and about.get("split") == context.split:
            found = _tiles(job, about)
            if found is not None:
                return found, about
    return None, {}


def _tiles(job: Job, about: dict[str, Any]) -> Tiles | None:
    for name in ("sheet.png", "sheet.jpg"):
        found = tiles(job.folder / name, int(about["columns"]), (int(about["tile"][0]), int(about["tile"][1])))
        if found is not None:
            return found
    return None


def _stored(
    context: Context, about: dict[str, Any], sheet: Tiles | None, names: Sequence[str], answers: dict[str, list[int]]
) -> dict[str, Any]:
    """What the page needs to fill the dialog."""
    assert sheet is not None
    return {
        "classes": list(context.classes),
        "split": f"{_words.whole(int(about.get('n', 0)))} {context.split} images",
        "variants": list(names),
        "labels": about.get("labels", []),
        "names": about.get("names", []),
        "predicted": [answers[name] for name in names],
        "tiles": {"columns": sheet.columns, "width": sheet.width, "height": sheet.height},
    }
