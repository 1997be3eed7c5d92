"""RUN/report.html: one file that needs no network, made of a run's facts and stored pictures and nothing else."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bantamweight import parts
from bantamweight.facts import Fact
from bantamweight.reports._blocks import Panel
from bantamweight.reports._page import page
from bantamweight.reports._run import Context, read
from bantamweight.whole import put

__all__ = ["panels", "report"]


def report(run_folder: str | os.PathLike[str]) -> Path:
    """Write `report.html` into a run's folder and return its path; for after a run, or again after new panels.

    Reads `run.json`, `facts.parquet` and what the jobs of the run left in the store. Every panel whose facts are
    there is on the page. Raises InputError when the folder holds no finished run, StoreError when it can't be written.
    """
    context = read(Path(run_folder))
    study = context.manifest.get("study")
    title = str(context.manifest.get("title") or study or "Run")
    html = page(
        title,
        panels(context),
        _columns(context.facts),
        about=str(context.manifest.get("about") or ""),
        study=str(study or ""),
        run=context.folder.resolve().name,
        count=len(context.facts),
    )
    return put(Path(run_folder) / "report.html", html, "make room, or copy the store")


def panels(context: Context) -> list[tuple[str, Panel]]:
    """Every panel that has something to show, by name, in the order of the page."""
    made = [(name, parts.configure("panels", name).make(context)) for name in parts.names("panels")]
    shown = [(name, panel) for name, panel in made if panel is not None]
    return sorted(shown, key=lambda pair: (pair[1].order, pair[0]))


def _columns(facts: Sequence[Fact]) -> dict[str, Any]:
    """The fact table for the page: columns that say something, each as its distinct values and a code per row."""
    names = [name for name in Fact.model_fields if any(getattr(fact, name) not in ("", None) for fact in facts)]
    columns = {}
    for name in names:
        codes: dict[Any, int] = {}
        rows = [codes.setdefault(getattr(fact, name), len(codes)) for fact in facts]
        columns[name] = {"values": list(codes), "rows": rows}
    return {"names": names, "columns": columns, "count": len(facts)}
