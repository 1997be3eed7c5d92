"""A finished model read from a file, as a variant of the study."""

from __future__ import annotations

from bantamweight.errors import InputError
from bantamweight.facts import Fact
from bantamweight.loading import load_model
from bantamweight.studies._place import Place
from bantamweight.variants import Variant

__all__ = ["load", "read"]


def load(place: Place) -> list[Fact]:
    """`variant/`; no facts."""
    data = place.data
    shape = (data.preprocessing.channels, *data.preprocessing.size)
    place.save(read(place.path, data.name, data.classes, shape, trust=place.trust))
    return []


def read(path: str, data: str, classes: tuple[str, ...], shape: tuple[int, int, int], *, trust: bool) -> Variant:
    """The model for data of this name, classes and shape; raises InputError when it is not made for them."""
    found = load_model(path, trust=trust, classes=len(classes), size=shape[1], channels=shape[0])
    if found.classes and tuple(found.classes) != tuple(classes):
        raise InputError(
            f"expected the model {path} to have the classes of {data} in their order, it has others; "
            "train it on these data, or give data with its classes"
        )
    return found
