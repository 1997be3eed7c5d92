"""Facts and stored pictures become one HTML page; nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.reports._core import report
    from bantamweight.reports._losses import loss_picture
    from bantamweight.reports._rating import Item, rating_page

__all__ = ["Item", "loss_picture", "rating_page", "report"]

__getattr__, __dir__ = lazy(
    __name__, {"Item": "_rating", "loss_picture": "_losses", "rating_page": "_rating", "report": "_core"}
)
