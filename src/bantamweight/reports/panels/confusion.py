"""Which class is taken for which; every cell opens its images."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet as pq

from bantamweight.reports._blocks import Fragment, Panel
from bantamweight.reports._pictures import tiles
from bantamweight.reports._run import Context

__all__ = ["confusion"]


def confusion(context: Context) -> Panel | None:
    """Counts per variant as buttons; None where the images or the predictions are not in the store."""
    sheet = next(((job, said) for job in context.jobs("data") if (said := job.json("sheet.json"))), None)
    jobs = {str(job.labels.get("variant")): job for job in context.jobs("evaluate", split=context.split)}
    names = [one.name for one in context.varieties if one.name in jobs]
    if sheet is None or not names:
        return None
    job, said = sheet
    drawn = tiles(job.folder / "sheet.png", int(said["columns"]), tuple(said["tile"]))
    if drawn is None or said["split"] != context.split:
        return None
    predicted = [_predicted(jobs[name].folder / "predictions.parquet", len(said["labels"])) for name in names]
    data = {
        "variants": names,
        "split": said["split"],
        "classes": said["classes"],
        "labels": said["labels"],
        "names": said["names"],
        "predicted": predicted,
        "tiles": {"columns": drawn.columns, "width": drawn.width, "height": drawn.height},
    }
    values = {
        "data": data,
        "uri": drawn.uri,
        "note": drawn.note,
        "grids": [_grid(data, at) for at in range(len(names))],
    }
    lead = "Rows are the true classes, columns the answers; a cell opens its images."
    return Panel("Confusion", 24, [Fragment(SOURCE, values)], lead)


def _predicted(path: Any, count: int) -> list[int]:
    table = pq.read_table(path, columns=["index", "predicted"])
    answers = [-1] * count
    for index, answer in zip(table["index"].to_pylist(), table["predicted"].to_pylist(), strict=True):
        if 0 <= index < count:
            answers[index] = answer
    return answers


def _grid(data: dict[str, Any], at: int) -> dict[str, Any]:
    size = len(data["classes"])
    counts = [[0] * size for _ in range(size)]
    for label, answer in zip(data["labels"], data["predicted"][at], strict=True):
        if 0 <= answer < size:
            counts[label][answer] += 1
    rows = []
    for truth, row in enumerate(counts):
        total = max(1, sum(row))
        cells = [{"count": count, "share": count / total, "answer": answer} for answer, count in enumerate(row)]
        rows.append({"truth": truth, "name": data["classes"][truth], "cells": cells})
    return {"at": at, "variant": data["variants"][at], "rows": rows}


SOURCE = """
<div class="picker" hidden><label for="confusion-of">Variant</label>
<select id="confusion-of" data-picks="confusion">
{% for grid in grids %}<option value="{{ grid.at }}">{{ grid.variant }}</option>{% endfor %}
</select></div>
{% for grid in grids %}
<div class="confusion scroll" data-group="confusion" data-pick="{{ grid.at }}" tabindex="0" role="region"
  aria-label="Confusion of {{ grid.variant }}">
<table><caption>{{ grid.variant }}, {{ data.split }}</caption>
<thead><tr><td></td>{% for name in data.classes %}<th scope="col">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in grid.rows %}
<tr><th scope="row">{{ row.name }}</th>
{% for cell in row.cells %}<td{% if cell.answer == row.truth %} class="right"{% endif %}>
{%- if cell.count %}<button type="button" data-cell="{{ grid.at }},{{ row.truth }},{{ cell.answer }}"
 class="{{ 'strong' if cell.share > 0.6 }}" style="--share:{{ '%.3f'|format(cell.share) }}"
 aria-label="{{ cell.count }} of {{ row.name }} answered {{ data.classes[cell.answer] }}">{{ cell.count }}</button>
{%- else %}<span class="none" aria-hidden="true">0</span>{% endif %}</td>{% endfor %}
</tr>
{% endfor %}
</tbody></table></div>
{% endfor %}
{% if note %}<p class="note">{{ note }}</p>{% endif %}
<img id="sheet" src="{{ uri }}" alt="Every image of the split, small" hidden>
<dialog id="cell" aria-labelledby="cell-title">
  <div class="head"><div><h2 id="cell-title">Images</h2><p class="said"></p></div>
  <button type="button" class="close">Close</button></div>
  <div class="tiles"></div>
</dialog>
<script type="application/json" id="confusion-data">{{ data|tojson }}</script>
"""
