"""A labelled picture of maps side by side: rows are images, columns methods, with the colour scales below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bantamweight import pictures
from bantamweight.data._text import clean
from bantamweight.pictures import Picture

__all__ = ["Row", "figure"]

CELL = 160
"""Side of one picture in pixels."""

_GAP, _HEAD, _SIDE, _LINE, _SCALE = 8, 40, 176, 18, 240
_INK, _PAPER = (16, 16, 16), (255, 255, 255)


@dataclass(frozen=True)
class Row:
    """What stands left of a row (one line each) and its pictures, one per column."""

    lines: Sequence[str]
    cells: Sequence[Picture]


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _fitted(text: str, width: int, size: int) -> str:
    """The text without control characters, cut so that it is no wider than `width` pixels."""
    said = clean(text)
    if _font(size).getlength(said) <= width:
        return said
    while said and _font(size).getlength(said + "...") > width:
        said = said[:-1]
    return said + "..."


def _wrapped(text: str, width: int, size: int) -> list[str]:
    """The text without control characters on as many lines as it needs."""
    lines = [""]
    for word in clean(text).split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and _font(size).getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def figure(heads: Sequence[str], rows: Sequence[Row], *, signs: Sequence[bool], notes: Sequence[str] = ()) -> Picture:
    """All rows under their heads; `signs` says which colour scales (signed, one-sided) belong below: none, no maps.

    Text is drawn dark on white, names from strangers without control characters and cut to their column.
    """
    width = max(_SIDE + len(heads) * (CELL + _GAP) + _GAP, _SIDE + _SCALE + 3 * _GAP)
    scaled = ["each map to its own scale; hatched: the map says nothing"] if signs else []
    lines = [line for note in (*scaled, *notes) for line in _wrapped(note, width - 2 * _GAP, 13)]
    bottom = len(set(signs)) * (_LINE + _GAP) + len(lines) * _LINE + 2 * _GAP
    whole = Image.new("RGB", (width, _HEAD + len(rows) * (CELL + _GAP) + bottom), _PAPER)
    pen = ImageDraw.Draw(whole)
    for column, head in enumerate(heads):
        left = _SIDE + column * (CELL + _GAP)
        pen.text((left, _HEAD - _LINE - 4), _fitted(head, CELL, 14), fill=_INK, font=_font(14))
    for number, row in enumerate(rows):
        top = _HEAD + number * (CELL + _GAP)
        for at, line in enumerate(row.lines):
            pen.text((_GAP, top + at * _LINE), _fitted(line, _SIDE - 2 * _GAP, 13), fill=_INK, font=_font(13))
        for column, drawn in enumerate(row.cells):
            cell = Image.fromarray(pictures.fit(drawn, (CELL, CELL)))
            whole.paste(cell, (_SIDE + column * (CELL + _GAP), top))
    _below(pen, whole, _HEAD + len(rows) * (CELL + _GAP), sorted(set(signs)), lines)
    return np.asarray(whole)


def _below(pen: Any, whole: Image.Image, top: int, signs: Sequence[bool], lines: Sequence[str]) -> None:
    for signed in signs:
        low, high = ("against the class", "for the class") if signed else ("nothing", "most")
        pen.text((_SIDE - _GAP, top), low, fill=_INK, font=_font(13), anchor="ra")
        whole.paste(Image.fromarray(pictures.legend(signed=signed, width=_SCALE, height=_LINE - 2)), (_SIDE, top))
        pen.text((_SIDE + _SCALE + _GAP, top), high, fill=_INK, font=_font(13))
        top += _LINE + _GAP
    for line in lines:
        text = _fitted(line, whole.width - 2 * _GAP, 13)
        pen.text((_GAP, top), text, fill=_INK, font=_font(13))
        top += _LINE
