"""Vega-Lite specifications, made with Altair. Colours come from the page's theme, so none is named here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

__all__ = ["dots", "heat", "lines", "stack"]

Row = Mapping[str, Any]

HEIGHT = 260


def lines(
    rows: Sequence[Row],
    *,
    x: str,
    y: str,
    colour: str,
    dash: str = "",
    percent_x: bool = False,
    percent_y: bool = False,
    from_zero: bool = False,
    band: bool = False,
    level: float | None = None,
) -> dict[str, Any]:
    """Lines with points and, where rows have `low` and `high`, intervals. Rows are mappings with those columns.

    Colour, dash and shape all tell the lines apart, so no reader needs the colours. With `band` intervals are areas
    instead of bars; `level` draws a line across.
    """
    rows = _plain(rows)
    order = list(dict.fromkeys(row[colour] for row in rows))
    across = alt.X("x:Q", title=x, axis=_axis(percent_x), scale=alt.Scale(zero=False, nice=False, padding=12))
    up = alt.Y("y:Q", title=y, axis=_axis(percent_y), scale=_range(rows, percent_y, from_zero))
    several = alt.Legend(symbolType="stroke") if len(order) > 1 or not dash else None
    hue = alt.Color("colour:N", title=None, sort=order, legend=several)
    dashes = list(dict.fromkeys(row[dash] for row in rows)) if dash else []
    stroke = alt.Legend(symbolType="stroke") if len(dashes) > 1 else None
    values = [_kept(row, colour, dash) for row in rows]
    base = alt.Chart(alt.Data(values=values)).encode(x=across, color=hue)
    tips = _tips(values, x, y, colour, dash, percent_x, percent_y)
    line_marks = {"strokeDash": alt.StrokeDash("dash:N", title=None, sort=dashes, legend=stroke)} if dash else {}
    point_marks = {"shape": alt.Shape("dash:N", title=None, sort=dashes, legend=None)} if dash else {}
    layers: list[Any] = [base.mark_line(strokeWidth=2).encode(y=up, **line_marks)]
    held = any(row.get("low") is not None for row in rows)
    if held and band:
        each = {"detail": "dash:N"} if dash else {}
        layers.insert(0, base.mark_area(opacity=0.13).encode(y=alt.Y("low:Q", title=y), y2="high:Q", **each))
    elif held:
        layers.append(base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(y=alt.Y("low:Q", title=y), y2="high:Q"))
    if level is not None:
        layers.insert(0, _across(level))
    layers.append(
        base.mark_point(size=20 if band else 46, filled=True, opacity=1).encode(y=up, tooltip=tips, **point_marks)
    )
    return _spec(alt.layer(*layers))


def _across(level: float) -> Any:
    return alt.Chart(alt.Data(values=[{"y": level}])).mark_rule(strokeDash=[4, 4], opacity=0.7).encode(y="y:Q")


def stack(
    rows: Sequence[Row],
    *,
    x: str,
    y: str,
    colour: str,
    parts: Sequence[str],
    quiet: Mapping[str, str],
    percent_x: bool = False,
) -> dict[str, Any]:
    """One bar per name, made of `parts` laid end to end in this order, then those of `quiet`, which are no one's
    doing and have the colour of the theme that is given there."""
    rows = _plain(rows)
    loud = [_printable(part) for part in parts]
    shown = [*loud, *(part for part in quiet if any(row["part"] == part for row in rows))]
    hues = {**quiet, **{part: f"@c{at % 8 + 1}" for at, part in enumerate(loud)}}
    values = [{key: row[key] for key in ("name", "part", "value")} | {"at": shown.index(row["part"])} for row in rows]
    scale = alt.Scale(domain=shown, range=[hues[part] for part in shown])
    form = ".1%" if percent_x else ",.0f"
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("value:Q", title=x, axis=_axis(percent_x), stack="zero", scale=alt.Scale(nice=False)),
        y=alt.Y("name:N", title=None, sort=list(dict.fromkeys(row["name"] for row in rows))),
        color=alt.Color("part:N", title=None, sort=shown, scale=scale, legend=alt.Legend(symbolType="square")),
        order=alt.Order("at:Q"),
        tooltip=[
            alt.Tooltip("name:N", title=y),
            alt.Tooltip("part:N", title=colour),
            alt.Tooltip("value:Q", title=x, format=form),
        ],
    )
    count = len({row["name"] for row in rows})
    return _spec(alt.layer(base.mark_bar(height={"band": 0.75})), height=max(80, 26 * count + 30))


def dots(
    rows: Sequence[Row],
    *,
    x: str,
    y: str,
    colour: str,
    percent_x: bool = False,
    from_zero: bool = False,
    mark_at: float | None = None,
) -> dict[str, Any]:
    """One line per name with a dot and its interval, side by side for each colour; `mark_at` draws a rule there."""
    rows = _plain(rows)
    order = list(dict.fromkeys(row[y] for row in rows))
    hues = list(dict.fromkeys(row[colour] for row in rows))
    values = [
        {"name": row[y], "colour": row[colour], **{key: row.get(key) for key in ("x", "low", "high", "n")}}
        for row in rows
    ]
    tips = [
        alt.Tooltip("name:N", title=y),
        alt.Tooltip("colour:N", title=colour),
        alt.Tooltip("x:Q", title=x, format=".1%" if percent_x else ".4g"),
        alt.Tooltip("low:Q", title="from", format=".1%" if percent_x else ".4g"),
        alt.Tooltip("high:Q", title="to", format=".1%" if percent_x else ".4g"),
        alt.Tooltip("n:Q", format=","),
    ]
    several = alt.Legend(symbolType="circle") if len(hues) > 1 else None
    base = alt.Chart(alt.Data(values=values)).encode(
        y=alt.Y("name:N", title=None, sort=order),
        yOffset=alt.YOffset("colour:N", sort=hues),
        color=alt.Color("colour:N", title=None, sort=hues, legend=several),
    )
    scale = alt.Scale(domain=[0, 1]) if percent_x else alt.Scale(zero=from_zero)
    across = alt.X("x:Q", title=x, axis=_axis(percent_x), scale=scale)
    layers: list[Any] = []
    if mark_at is not None:
        layers.append(
            alt.Chart(alt.Data(values=[{"x": mark_at}])).mark_rule(strokeDash=[4, 4], opacity=0.7).encode(x="x:Q")
        )
    layers += [
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(x=alt.X("low:Q", title=x), x2="high:Q"),
        base.mark_point(size=52, filled=True, opacity=1).encode(
            x=across, shape=alt.Shape("colour:N", title=None, sort=hues, legend=None), tooltip=tips
        ),
    ]
    return _spec(alt.layer(*layers), height=max(90, len(order) * max(24, 13 * len(hues)) + 30))


def heat(
    rows: Sequence[Row], *, x: str, y: str, value: str, across: Sequence[str], down: Sequence[str]
) -> dict[str, Any]:
    """Shares in [0, 1] as a grid, darker for more, the number in each cell and under it the row's `interval`; columns
    and rows in the order of `across` and `down`."""
    rows = _plain(rows)
    across, down = ([_printable(name) for name in names] for names in (across, down))
    values = [{key: row.get(key) for key in ("x", "y", "value", "said", "interval")} for row in rows]
    tips = [
        alt.Tooltip("y:N", title=y),
        alt.Tooltip("x:N", title=x),
        alt.Tooltip("said:N", title=value),
    ]
    base = alt.Chart(alt.Data(values=values)).encode(
        x=alt.X("x:N", title=x, sort=across, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("y:N", title=y, sort=down),
    )
    fill = base.mark_rect().encode(
        color=alt.Color("value:Q", title=value, scale=alt.Scale(domain=[0, 1]), legend=alt.Legend(format=".0%")),
        tooltip=tips,
    )
    ink = alt.condition("datum.value > 0.55", alt.value("@on-strong"), alt.value("@on-weak"))
    text = base.mark_text(fontSize=11, style="cell", dy=-6).encode(
        text=alt.Text("value:Q", format=".0%"), opacity=alt.value(1), color=ink
    )
    below = base.mark_text(fontSize=9, dy=7).encode(text="interval:N", opacity=alt.value(0.85), color=ink)
    return _spec(alt.layer(fill, text, below), height=60 + 38 * len(down))


def _plain(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows whose texts hold no line breaks or control characters: Vega puts names into expressions of its own, and
    its reader of expressions refuses those."""
    return [{key: _printable(value) if isinstance(value, str) else value for key, value in row.items()} for row in rows]


def _printable(name: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in name)


def _axis(percent: bool) -> Any:
    return alt.Axis(format="%") if percent else alt.Axis()


def _range(rows: Sequence[Row], percent: bool, from_zero: bool) -> Any:
    if not percent:
        return alt.Scale(zero=from_zero, nice=True)
    lowest = min((row["low"] if row.get("low") is not None else row["y"] for row in rows), default=0.0)
    # An axis of shares ends at 100%, and starts at 0 unless everything is in its upper part.
    return alt.Scale(domain=[0 if from_zero or lowest < 0.5 else max(0.0, int(lowest * 20 - 1) / 20), 1], nice=False)


def _kept(row: Row, colour: str, dash: str) -> dict[str, Any]:
    kept = {key: row[key] for key in ("x", "y", "low", "high", "n") if row.get(key) is not None}
    return kept | {"colour": row[colour]} | ({"dash": row[dash]} if dash else {})


def _tips(
    values: Sequence[Row], x: str, y: str, colour: str, dash: str, percent_x: bool, percent_y: bool
) -> list[alt.Tooltip]:
    tips = [alt.Tooltip("colour:N", title=colour)]
    tips += [alt.Tooltip("dash:N", title=dash)] if dash else []
    tips += [alt.Tooltip("x:Q", title=x, format=".0%" if percent_x else ".4g")]
    shape = ".1%" if percent_y else ".4g"
    tips += [alt.Tooltip("y:Q", title=y, format=shape)]
    for key, title, form in (("low", "from", shape), ("high", "to", shape), ("n", "n", ",")):
        if any(key in row for row in values):
            tips.append(alt.Tooltip(f"{key}:Q", title=title, format=form))
    return tips


def _spec(chart: Any, height: int = HEIGHT) -> dict[str, Any]:
    # The shape of a specification is this file's, whatever the data: a test checks it against the schema, once.
    made: dict[str, Any] = chart.properties(width="container", height=height).to_dict(validate=False)
    made.pop("config", None)  # the page's theme is the configuration
    made["autosize"] = {"type": "fit-x", "contains": "padding"}
    return made
