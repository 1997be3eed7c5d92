"""What the layers of each net still know of an image: images made again from features, and the error of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Chart, Fragment, Panel, Prose, Table
from bantamweight.reports._charts import dots, lines
from bantamweight.reports._pictures import album
from bantamweight.reports._run import Context, Job

__all__ = ["inversion"]

SHOWN, POINTS = 6, 60
"""Images of each net, and points of a loss curve, that the page has room for."""


def inversion(context: Context, *, most_bytes: int = 600_000) -> Panel | None:
    """Pictures by layer, the error of each layer, and losses; None without inversions. Pictures weigh `most_bytes`."""
    facts = [fact for fact in context.find("inversion_error") if fact.value is not None]
    if not facts:
        return None
    jobs = [(job, said) for job in context.jobs("inversion") if (said := _read(job))]
    pictures = album((path for job, said in jobs for path in _paths(job, said)), most=most_bytes)
    grids = [_grid(job, said, pictures.pictures) for job, said in jobs]
    blocks: list[Block] = [Fragment("{% include 'maps.html' %}", {"grids": grids})] if grids else []
    blocks += [Prose(pictures.note, "note")] if pictures.note else []
    blocks.append(_errors(context, facts))
    blocks += [chart for job, said in jobs if (chart := _losses(str(job.labels.get("variant", "")), said))]
    lead = (
        "Images made again from the features of one layer alone. The error is the distance from the image over its "
        "distance from its own mean colour: 1 is what knowing that colour alone would give."
    )
    return Panel("What the layers still know", 141, blocks, lead)


def _read(job: Job) -> Mapping[str, Any] | None:
    """What the job left, with the images that are whole; None where it left nothing of the kind."""
    said = job.json("inversion.json")
    if not isinstance(said, dict) or not {"layers", "items", "losses"} <= said.keys():
        return None
    return said | {
        "items": [one for one in said["items"] if {"name", "label", "right", "picture", "made"} <= one.keys()]
    }


def _inside(job: Job, name: Any) -> Path | None:
    """A file of the job's folder; None for one outside."""
    home = job.folder.resolve()
    path = (home / str(name)).resolve()
    return path if path.is_relative_to(home) else None


def _paths(job: Job, said: Mapping[str, Any]) -> list[Path]:
    names = [
        name for item in said["items"][:SHOWN] for name in (item["picture"], *(m["picture"] for m in item["made"]))
    ]
    return [path for name in names if (path := _inside(job, name)) is not None]


def _grid(job: Job, said: Mapping[str, Any], pictures: Mapping[Path, str]) -> dict[str, Any]:
    """The table of pictures, in the form of the tables of maps."""

    def uri(name: Any) -> str:
        path = _inside(job, name)
        return "" if path is None else pictures.get(path, "")

    rows = [
        {
            "name": str(item["name"]),
            "label": str(item["label"]),
            "right": bool(item["right"]),
            "image": uri(item["picture"]),
            "cells": [
                {"uri": uri(made["picture"]), "said": f"error {_words.number(made['error'])}", "right": True}
                for made in item["made"]
            ],
        }
        for item in said["items"][:SHOWN]
    ]
    heads = [str(layer) for layer in said["layers"]]
    table = {"name": "Images from features", "about": "the image, then what each layer gives back", "heads": heads}
    return {"family": str(job.labels.get("variant", "")), "tables": [{**table, "rows": rows}]}


def _errors(context: Context, facts: list[Fact]) -> Chart:
    caption = "Error of the image by layer"
    ordered = sorted(facts, key=lambda fact: (context.place(fact.variant), fact.step or 0.0))
    rows = [
        {
            "x": fact.value, "low": fact.low, "high": fact.high, "n": fact.n,
            "layer": f"{_words.number(fact.step)}: {fact.item}", "variant": context.label(fact.variant),
        }
        for fact in ordered
    ]  # fmt: skip
    cells = [[fact.variant, fact.item, _words.said(fact)] for fact in ordered]
    table = Table(caption, ["variant", "layer, early to late", "error"], cells)
    return Chart(caption, dots(rows, x="error of the image", y="layer", colour="variant", from_zero=True), table)


def _losses(name: str, said: Mapping[str, Any]) -> Chart | None:
    curves = {str(layer): terms.get("total", []) for layer, terms in said["losses"].items()}
    rows = [
        {"x": float(at + 1), "y": values[at], "layer": layer}
        for layer, values in curves.items()
        for at in range(0, len(values), max(1, len(values) // POINTS))
    ]
    if not rows:
        return None
    caption = f"Loss of the search, {name}"
    ends = [[layer, _words.number(values[0]), _words.number(values[-1])] for layer, values in curves.items() if values]
    table = Table(caption, ["layer", "first step", "last step"], ends)
    return Chart(
        caption,
        lines(rows, x="step", y="loss", colour="layer", band=True),
        table,
        "Breaks: a finer scale.",
    )
