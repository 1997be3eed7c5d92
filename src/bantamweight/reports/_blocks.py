"""What a panel is made of. Text in these is plain: the template escapes all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Block", "Cell", "Chart", "Fragment", "Group", "Panel", "Prose", "Table"]


@dataclass(frozen=True)
class Cell:
    """A table cell that is more than its text: a `tag` beside it, or `kind` (good, bad, quiet) as its colour."""

    text: str
    tag: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Prose:
    """A paragraph; `kind` may be `note`, which is set smaller."""

    text: str
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first cell of a row names it. `folded` tables open on demand."""

    caption: str
    head: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification and the table of what it shows, without which there is no chart."""

    title: str
    spec: Mapping[str, Any]
    table: Table
    note: str = ""


@dataclass(frozen=True)
class Fragment:
    """HTML of a panel's own, as Jinja source: `values` are escaped when they are put in. `{% include %}` finds the
    templates of this package."""

    source: str
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Blocks under a heading of their own; `side` puts them next to each other where there is room."""

    title: str
    blocks: Sequence[Block]
    side: bool = False


Block = Prose | Table | Chart | Fragment | Group


@dataclass(frozen=True)
class Panel:
    """One section of the page. `order` places it; `lead` is the sentence under its title."""

    title: str
    order: int
    blocks: Sequence[Block]
    lead: str = ""
