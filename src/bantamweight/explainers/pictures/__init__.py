"""Images that a model's inside asks for: what a layer still knows of an image, and what a class would like to see.

They are no explainers of the room above: what comes back is an image per image or per class, not a map over one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bantamweight.lazy import lazy

if TYPE_CHECKING:
    from bantamweight.explainers.pictures._search import Prior, Progress
    from bantamweight.explainers.pictures.inversion import Inversion, depths, invert
    from bantamweight.explainers.pictures.maximisation import Maximised, maximise

__all__ = ["Inversion", "Maximised", "Prior", "Progress", "depths", "invert", "maximise"]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "Inversion": "inversion",
        "Maximised": "maximisation",
        "Prior": "_search",
        "Progress": "_search",
        "depths": "inversion",
        "invert": "inversion",
        "maximise": "maximisation",
    },
)
