"""What a variant weighs: parameters, multiply-accumulates, non-zeros, and bytes of every file format."""

from __future__ import annotations

from bantamweight.compression._bitmap import save_bitmap
from bantamweight.compression._bitmap import sizes as weighed
from bantamweight.compression._core import measure
from bantamweight.compression._histogram import weight_histogram
from bantamweight.facts import Fact
from bantamweight.judging.compression import histogram_facts
from bantamweight.judging.sparsity import cost_facts, size_facts
from bantamweight.models._profile import profile
from bantamweight.studies._place import Place
from bantamweight.variants import build

__all__ = ["sizes"]


def sizes(place: Place) -> list[Fact]:
    """Facts parameters, macs, nonzeros, size_bytes (item = format), weight_histogram (step = a bin's middle);
    `weights.bitmap`, the file to ship when thinned."""
    variant = place.variant()
    module = build(variant, trust=place.trust)
    counted = profile(module, variant.input_shape)
    costs = {"parameters": counted.parameters, "macs": counted.macs, "nonzeros": measure(module).nonzeros}
    save_bitmap(variant, place.out / "weights.bitmap")
    return [*cost_facts(costs), *size_facts(weighed(variant)), *histogram_facts(*weight_histogram(module))]
