"""Several variants as one: the average of what they answer."""

from __future__ import annotations

from bantamweight.errors import InputError
from bantamweight.facts import Fact
from bantamweight.studies._place import Place
from bantamweight.variants import Variant, build, capture, masks

__all__ = ["combine", "combined", "holdable"]


def holdable(variant: Variant) -> bool:
    """Whether an average can hold it: a net of this package, whole or with zeros."""
    whole = all(edit.get("edit") == "mask" for edit in variant.edits)
    return ":" not in variant.factory and not variant.program and whole


def combine(place: Place, *, count: int) -> list[Fact]:
    """`variant/`; no facts."""
    place.save(combined([place.variant(f"member {number}") for number in range(count)], trust=place.trust))
    return []


def combined(members: list[Variant], *, name: str = "combined", trust: bool = False) -> Variant:
    """The average of variants of the same classes; raises InputError for one whose layers were cut to other shapes."""
    first = members[0]
    for one in members:
        if one.classes != first.classes or one.input_shape != first.input_shape:
            raise InputError(f"expected members with the classes and the images of {first.name!r}, got {one.name!r}")
        if not holdable(one):
            raise InputError(f"expected members that are nets of this package, whole or with zeros, got {one.name!r}")
    channels, size, _ = first.input_shape
    arguments = {
        "members": [{"use": one.factory, **one.arguments} for one in members],
        "channels": channels,
        "classes": len(first.classes),
        "size": size,
    }
    weights = {
        f"members.{number}.{key}": tensor for number, one in enumerate(members) for key, tensor in one.weights.items()
    }
    whole = Variant(
        name,
        "average",
        arguments,
        weights,
        first.classes,
        first.preprocessing,
        lineage=tuple(one.hash for one in members),
    )
    dead = sorted(f"members.{number}.{layer}" for number, one in enumerate(members) for layer in masks(one))
    edits = ({"edit": "mask", "layers": dead},) if dead else ()  # what was cut stays cut when the average is trained
    return capture(whole, build(whole, trust=trust), name=name, edits=edits)
