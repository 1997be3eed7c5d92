"""A net layer by layer: counts, receptive fields, memory of training, and each layer's time under the roof."""

from __future__ import annotations

from bantamweight.facts import Fact
from bantamweight.judging.anatomy import anatomy_facts, memory_facts, roofline_facts
from bantamweight.models._anatomy import anatomy as dissect
from bantamweight.models._memory import Optimizer, training_memory
from bantamweight.runtimes._roofline import layer_times, measure_roof
from bantamweight.studies._place import Place
from bantamweight.variants import build

__all__ = ["anatomy"]


def anatomy(place: Place, *, batch: int, optimizer: Optimizer) -> list[Fact]:
    """Facts of `judging.anatomy`; memory is that of training on `batch` images with `optimizer`."""
    variant = place.variant()
    module = build(variant, trust=place.trust)
    body = dissect(module, variant.input_shape)
    memory = training_memory(module, variant.input_shape, batch=batch, optimizer=optimizer)
    roof = measure_roof(threads=place.threads)
    times = layer_times(module, variant.input_shape, threads=place.threads)
    return [*anatomy_facts(body), *memory_facts(memory, optimizer), *roofline_facts(body, times, roof)]
