"""Facts of a net's anatomy, against counts done by hand."""

from __future__ import annotations

import pytest
from torch import nn

from bantamweight.facts import select
from bantamweight.judging.anatomy import anatomy_facts, memory_facts, roofline_facts
from bantamweight.models._anatomy import anatomy
from bantamweight.models._memory import training_memory
from bantamweight.runtimes._roofline import LayerTime, Roof


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 5))


def test_every_layer_has_its_counts_and_what_it_sees() -> None:
    found = anatomy_facts(anatomy(net(), (1, 8, 8)), variant="net")
    counts = {fact.item: fact.value for fact in select(found, "layer_macs")}
    assert counts == {"0": 4 * 16 * 9, "1": 0, "2": 0, "3": 5 * 64}
    assert [fact.value for fact in select(found, "layer_parameters")] == [40, 0, 0, 325]
    (field,) = select(found, "layer_field", item="0")
    (stride,) = select(found, "layer_stride", item="0")
    assert (field.value, stride.value, field.step, field.against) == (3.0, 2.0, 0.0, "Conv2d")
    assert all(fact.variant == "net" for fact in found)


def test_memory_of_training_by_part() -> None:
    memory = training_memory(net(), (1, 8, 8), batch=2, optimizer="adamw")
    found = {fact.item: fact for fact in memory_facts(memory, "adamw")}
    assert found["weights"].value == found["gradients"].value == 4 * 365
    assert found["optimizer"].value >= 2 * 4 * 365
    assert (found["peak"].batch, found["peak"].against) == (2, "adamw")


def test_no_layer_is_said_to_be_able_to_be_faster_than_the_roof() -> None:
    body = anatomy(net(), (1, 8, 8))
    times = tuple(LayerTime(layer.name, 1e-3) for layer in body.layers)
    found = roofline_facts(body, times, Roof(flops=1e6, bandwidth=1e6, threads=1))
    (least,) = select(found, "layer_least_ms", item="0")
    moved = 4 * (64 + 40 + 64)
    assert least.value == pytest.approx(1e3 * max(2 * 576, moved) / 1e6)
    assert {fact.value for fact in select(found, "layer_ms")} == {1.0}
    assert all(fact.origin == "measured" for fact in found)
