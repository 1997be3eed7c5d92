"""A finished model read from a file, as a variant of the study."""

from __future__ import annotations

from bantamweight.errors import InputError
from bantamweight.facts import Fact
from bantamweight.loading import load_model
from bantamweight.studies._place import Place

__all__ = ["load"]


def load(place: Place) -> list[Fact]:
    """`variant/`; no facts. Raises InputError when the model orders or names the classes otherwise than the data."""
    data = place.data
    height = data.preprocessing.size[0]
    found = load_model(
        place.path,
        trust=place.trust,
        classes=len(data.classes),
        size=height,
        channels=data.preprocessing.channels,
    )
    if found.classes and tuple(found.classes) != tuple(data.classes):
        raise InputError(
            f"expected the model {place.path} to have the classes of {data.name} in their order, it has others; "
            "train it on these data, or give data with its classes"
        )
    place.save(found)
    return []
