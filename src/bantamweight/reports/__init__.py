"""Facts and stored pictures become one HTML page; nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.reports._core import report

__all__ = ["report"]

__getattr__, __dir__ = lazy(__name__, {"report": "_core"})
