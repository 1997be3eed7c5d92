"""Architectures side by side: what is counted of each, and what was published, each for what it is."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bantamweight.models._anatomy import anatomy
from bantamweight.models._fields import Pair
from bantamweight.models._memory import Optimizer, training_memory
from bantamweight.models._profile import size_bytes
from bantamweight.models._published import PUBLISHED, Published

__all__ = ["Compared", "compared"]

IMAGENET = (3, 224, 224), 1000


@dataclass(frozen=True)
class Compared:
    """One row. Bytes are of float32 numbers; activations and what backward keeps are for one image, `training_bytes`
    is the peak of training on `batch` images; `linear_share` is that of fully connected layers in the parameters."""

    name: str
    depth: int
    parameters: int
    linear_share: float
    macs: int
    flops: int
    size_bytes: int
    activation_bytes: int
    saved_bytes: int
    batch: int
    training_bytes: int
    intensity: float
    field: Pair | None
    published: Published | None


def compared(
    name: str,
    module: nn.Module,
    input_shape: tuple[int, int, int],
    architecture: str = "",
    *,
    batch: int = 1,
    optimizer: Optimizer = "sgd",
) -> Compared:
    """The row of one model; `published` only where `architecture` is one that a paper evaluated, at 224 pixels and with
    1,000 classes.

    Raises InputError when the module does not take such images or can't be trained on them.
    """
    found = anatomy(module, input_shape)
    classes = found.layers[-1].output[-1:] if found.layers else ()
    return Compared(
        name=name,
        depth=found.depth,
        parameters=found.parameters,
        linear_share=found.linear_parameters / found.parameters if found.parameters else 0.0,
        macs=found.macs,
        flops=found.flops,
        size_bytes=size_bytes(module),
        activation_bytes=found.activation_bytes,
        saved_bytes=found.saved_bytes,
        batch=batch,
        training_bytes=training_memory(module, input_shape, batch=batch, optimizer=optimizer).peak,
        intensity=found.intensity,
        field=found.field,
        published=PUBLISHED.get(architecture) if (input_shape, *classes) == IMAGENET else None,
    )
