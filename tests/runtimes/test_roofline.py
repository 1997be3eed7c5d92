"""The roof is arithmetic over two measured rates; times belong to the layers that took them."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.models._anatomy import anatomy
from bantamweight.parts import configure
from bantamweight.runtimes._roofline import Roof, layer_times, measure_roof


def test_the_roof_by_hand() -> None:
    roof = Roof(flops=100.0, bandwidth=10.0, threads=1)
    assert roof.ridge == 10.0
    assert [roof.attainable(one) for one in (1.0, 10.0, 50.0)] == [10.0, 100.0, 100.0]
    assert roof.seconds(flops=200.0, moved_bytes=10.0) == 2.0
    assert roof.seconds(flops=200.0, moved_bytes=40.0) == 4.0


def test_rates_are_rates() -> None:
    before = torch.get_num_threads()
    roof = measure_roof(threads=1, seconds=0.02)
    assert roof.flops > 1e6
    assert roof.bandwidth > 1e6
    assert torch.get_num_threads() == before
    with pytest.raises(InputError, match="1 thread or more"):
        measure_roof(threads=0)


class Slow(nn.Module):
    """Takes a known time."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02)
        return images


def test_times_go_to_the_layer_that_took_them_in_the_order_of_the_anatomy() -> None:
    slow = Slow()
    net = nn.Sequential(nn.Conv2d(3, 4, 3), slow, nn.ReLU(), slow).train()
    times = layer_times(net, (3, 8, 8), runs=2)
    assert [one.name for one in times] == [row.name for row in anatomy(net, (3, 8, 8)).layers] == ["0", "1", "2", "1"]
    assert min(times[1].seconds, times[3].seconds) >= 0.02
    assert net.training
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in net.modules())
    with pytest.raises(InputError, match="1 or more"):
        layer_times(net, (3, 8, 8), runs=0)


def test_every_layer_of_a_branching_net_has_a_time() -> None:
    net = configure("models", {"use": "resnet20", "size": 8}).make()
    assert [one.name for one in layer_times(net, (3, 8, 8), runs=1)] == [
        row.name for row in anatomy(net, (3, 8, 8)).layers
    ]
