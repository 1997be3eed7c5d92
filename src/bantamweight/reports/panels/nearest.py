"""Adversarial images from the smallest distance to the largest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Fragment, Panel, Prose
from bantamweight.reports._pictures import album
from bantamweight.reports._run import Context
from bantamweight.reports._shown import Shown, shown

__all__ = ["nearest"]

PICTURES = ("adversarial", "perturbation")


def nearest(context: Context, *, most_bytes: int = 1_200_000) -> Panel | None:
    """A row of images per variant and minimum-norm attack, sorted by distance; None without any."""
    found = shown(context, "minimum_norm")
    if not found:
        return None
    paths = [path for one in found for item in one.items for path in _paths(one, item).values()]
    pictures = album(paths, most=most_bytes)
    values = [_strip(context, one, pictures.pictures) for one in found]
    blocks: list[Block] = [Fragment("{% include 'nearest.html' %}", {"strips": values})]
    blocks += [Prose(pictures.note, "note")] if pictures.note else []
    lead = (
        "For each image the smallest change that was found to fool the variant, at even steps from the easiest to the "
        "hardest of those attacked. Under each image its change, drawn around grey and enlarged by the factor stated."
    )
    return Panel("Adversarial images by distance", 134, blocks, lead)


def _paths(one: Shown, item: Mapping[str, Any]) -> dict[str, Path]:
    return {key: path for key in PICTURES if (path := one.path(item, key))}


def _strip(context: Context, one: Shown, pictures: Mapping[Path, str]) -> dict[str, Any]:
    items = []
    for item in sorted(one.items, key=one.size):
        paths = _paths(one, item)
        items.append(
            {
                "distance": _words.figure(one.size(item)),
                "label": str(item["label"]),
                "said": str(item["adversarial"]),
                "confidence": _words.percent(float(item["confidence"])),
                "gain": _words.number(item.get("gain")),
                **{key: pictures.get(paths.get(key, Path()), "") for key in PICTURES},
            }
        )
    return {"title": f"{context.label(one.variant)}, {one.attack}, {one.norm}", "norm": one.norm, "items": items}
