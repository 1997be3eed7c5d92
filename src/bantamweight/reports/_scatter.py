"""Points with intervals on both axes, told apart by shape as well as colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from bantamweight.reports._charts import HEIGHT, _plain, _spec

__all__ = ["scatter"]


def scatter(
    rows: Sequence[Mapping[str, Any]], *, x: str, y: str, colour: str, percent_x: bool = False, percent_y: bool = False
) -> dict[str, Any]:
    """One point per row (`x`, `y`, `name`) with whiskers where it has `low` and `high`, coloured by `colour`."""
    rows = _plain(rows)
    kinds = list(dict.fromkeys(row[colour] for row in rows))
    keys = ("x", "y", "low", "high", "name", "n")
    values = [{key: row[key] for key in keys if row.get(key) is not None} | {"kind": row[colour]} for row in rows]
    shape = ".1%" if percent_y else ".4g"
    tips = [
        alt.Tooltip("name:N", title="variant"),
        alt.Tooltip("x:Q", title=x, format=".1%" if percent_x else ".4g"),
        alt.Tooltip("y:Q", title=y, format=shape),
        alt.Tooltip("low:Q", title="from", format=shape),
        alt.Tooltip("high:Q", title="to", format=shape),
    ]
    across = alt.X("x:Q", title=x, axis=alt.Axis(format="%") if percent_x else alt.Axis(), scale=alt.Scale(zero=False))
    up = alt.Y("y:Q", title=y, axis=alt.Axis(format="%") if percent_y else alt.Axis(), scale=alt.Scale(zero=False))
    base = alt.Chart(alt.Data(values=values)).encode(
        x=across, color=alt.Color("kind:N", title=None, sort=kinds, legend=alt.Legend(symbolType="circle"))
    )
    layers: list[Any] = []
    if any("low" in row for row in values):
        layers.append(base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=alt.Y("low:Q", title=y), y2="high:Q"))
    mark = alt.Shape("kind:N", title=None, sort=kinds, legend=None)
    layers.append(base.mark_point(size=60, filled=True, opacity=1).encode(y=up, shape=mark, tooltip=tips))
    return _spec(alt.layer(*layers), HEIGHT)
