"""The anatomy of a net -> facts: what each layer computes, keeps and sees, how long it takes, and training's memory."""

from __future__ import annotations

from typing import Any

from bantamweight import machine as machines
from bantamweight.facts import Fact
from bantamweight.models._anatomy import Anatomy
from bantamweight.models._memory import TrainingMemory
from bantamweight.runtimes._roofline import LayerTime, Roof

__all__ = ["anatomy_facts", "memory_facts", "roofline_facts"]

COUNTS = {"parameters": "parameters", "macs": "macs", "activation_bytes": "bytes", "saved_bytes": "bytes"}
"""What is counted of a layer, and its unit."""


def anatomy_facts(body: Anatomy, **columns: Any) -> list[Fact]:
    """Facts layer_{parameters,macs,activation_bytes,saved_bytes}, layer_field and layer_stride (pixels of the image's
    height) of every call of a layer: `item` its name, `against` its kind, `step` its place in the forward pass.

    A field that is unknown (after attention, say) has no fact.
    """
    found = []
    for step, layer in enumerate(body.layers):
        about = {"item": layer.name or "functional", "against": layer.kind, "step": float(step), **columns}
        found += [
            Fact(metric=f"layer_{name}", kind="count", value=getattr(layer, name), unit=unit, **about)
            for name, unit in COUNTS.items()
        ]
        found += [
            Fact(metric=f"layer_{name}", kind="score", value=float(pair[0]), unit="px", **about)
            for name, pair in (("field", layer.field), ("stride", layer.stride))
            if pair is not None
        ]
    return found


def memory_facts(memory: TrainingMemory, optimizer: str, **columns: Any) -> list[Fact]:
    """training_bytes by part (`item`: weights, gradients, optimizer, activations, peak) with that optimizer."""
    about = {"kind": "count", "unit": "bytes", "batch": memory.batch, "against": optimizer, **columns}
    names = ("weights", "gradients", "optimizer", "activations", "peak")
    return [Fact(metric="training_bytes", item=name, value=getattr(memory, name), **about) for name in names]


def roofline_facts(body: Anatomy, times: tuple[LayerTime, ...], roof: Roof, **columns: Any) -> list[Fact]:
    """layer_ms and layer_least_ms, what the roof allows, of every call; roof_flops and roof_bandwidth of the machine.

    All are measured. Times are those of single images; calls and layers must be of one forward pass.
    """
    stamp = {"origin": "measured", "threads": roof.threads, "machine": str(machines.describe()), **columns}
    stamp = {"versions": machines.versions(), **stamp}
    rates = {"roof_flops": (roof.flops, "FLOP/s"), "roof_bandwidth": (roof.bandwidth, "B/s")}
    found = [Fact(metric=name, kind="score", value=value, unit=unit, **stamp) for name, (value, unit) in rates.items()]
    layers = [layer for layer in body.layers if layer.name]
    for step, (layer, took) in enumerate(zip(layers, times, strict=True)):
        about = {"item": layer.name, "against": layer.kind, "step": float(step), "kind": "time", "unit": "ms", **stamp}
        least = 1e3 * roof.seconds(layer.flops, layer.moved_bytes)
        found.append(Fact(metric="layer_ms", value=1e3 * took.seconds, **about))
        found.append(Fact(metric="layer_least_ms", value=least, **about))
    return found
