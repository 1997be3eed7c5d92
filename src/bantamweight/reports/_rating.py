"""A rating sheet: one offline page that shows maps side by side, blind and in random order, and saves the answers."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from bantamweight.errors import InputError
from bantamweight.reports._page import policy_of, text_of

__all__ = ["Item", "rating_page"]

TITLE = "Which map convinces you?"
STATEMENT = "This map shows what the answer rests on."
QUESTION = "If you had to rely on one map, which would it be?"


@dataclass(frozen=True)
class Item:
    """One image with its maps, all as PNG; maps by keys that don't give the method away."""

    id: str
    said: str
    image: bytes
    maps: Mapping[str, bytes]


def rating_page(
    sheet: str, items: Sequence[Item], *, title: str = "Which map convinces you", legend: bytes = b""
) -> str:
    """The page as one string; it needs no network, works from a file and keeps nothing outside the file it saves.

    `sheet` names the sheet in the answers. Text is escaped everywhere. Raises InputError where there is nothing to
    compare.
    """
    counts = {len(item.maps) for item in items}
    if not items or counts != {max(counts)} or not 2 <= max(counts) <= 8:
        raise InputError(f"expected images with 2 to 8 maps each, got {len(items)} images with {sorted(counts)} maps")
    environment = Environment(
        loader=PackageLoader("bantamweight.reports", "templates"), autoescape=True, undefined=StrictUndefined
    )
    script = text_of("rating.js")
    values = {
        "id": sheet,
        "statement": STATEMENT,
        "question": QUESTION,
        "items": [
            {
                "id": item.id,
                "said": item.said,
                "image": _uri(item.image),
                "maps": {key: _uri(one) for key, one in item.maps.items()},
            }
            for item in items
        ],
    }
    scale = Markup('<p class="legend"><span>little</span><img alt="colour scale" src="{}"><span>much</span></p>')
    return environment.get_template("rating.html").render(
        title=title,
        count=len(items),
        methods=max(counts),
        sheet=values,
        style=Markup(text_of("style.css")),
        more=Markup(text_of("rating.css")),
        script=Markup(script),
        legend=scale.format(_uri(legend)) if legend else "",
        policy=policy_of([script]),
    )


def _uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
