"""Counts against closed forms, torch's own counter and a file on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bantamweight.errors import InputError
from bantamweight.loading import load_model
from bantamweight.models import ALSO, profile
from bantamweight.parts import configure, names
from bantamweight.variants import build


def test_macs_of_simple_cnn_by_hand() -> None:
    found = profile(configure("models", "simple_cnn").make(), (3, 32, 32))
    by_hand = 32 * 27 * 1024 + 64 * 288 * 256 + 128 * 576 * 64 + 2048 * 256 + 2560
    assert (found.parameters, found.macs) == (620_810, by_hand)
    layers = {layer.name: layer for layer in found.layers}
    assert layers["features.0"].output == (32, 32, 32)
    assert layers["features.0"].parameters == 896
    assert layers["classifier.5"].kind == "Linear"


@pytest.mark.parametrize("name", sorted({*names("models")} - {*ALSO} | {"resnet50", "preact_resnet50"}))
def test_macs_are_half_of_torchs_flops_and_belong_to_layers(name: str) -> None:
    with torch.device("meta"):
        net = configure("models", name).make().eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.rand(1, 3, 32, 32, device="meta"))
    found = profile(net, (3, 32, 32))
    assert 2 * found.macs == counter.get_total_flops()
    assert found.macs == sum(layer.macs for layer in found.layers)
    assert not any(layer.kind == "functional" for layer in found.layers)
    assert found.parameters == sum(layer.parameters for layer in found.layers)


def test_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    for name in ("densenet121", "mobilenet_v2", "resnet_small"):
        other = configure("models", name).make()
        assert profile(other, (3, 32, 32)).size_bytes == len(save(other.state_dict()))
    net = configure("models", "small_cnn").make()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    assert profile(net, (3, 32, 32)).size_bytes == (tmp_path / "w.safetensors").stat().st_size
    assert profile(net.half(), (3, 32, 32)).size_bytes == (tmp_path / "w.safetensors").stat().st_size


class Functional(nn.Module):
    """Computes outside any layer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(192, 5))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1) @ self.weight


def test_what_no_layer_accounts_for_is_a_row_of_its_own() -> None:
    found = profile(Functional(), (3, 8, 8))
    assert found.macs == 192 * 5
    last = found.layers[-1]
    assert (last.name, last.kind, last.macs) == ("", "functional", 960)
    assert found.macs == sum(layer.macs for layer in found.layers)


def test_the_shared_program_costs_what_the_net_costs(shared: Path) -> None:
    program = profile(build(load_model(shared / "models" / "resnet20.pt2")), (3, 32, 32))
    net = profile(configure("models", "resnet20").make(), (3, 32, 32))
    assert (program.parameters, program.macs) == (net.parameters, net.macs) == (269_722, 40_551_040)


def test_images_that_do_not_fit_are_refused_and_the_module_is_left_alone() -> None:
    net = configure("models", "mlp").make()
    with pytest.raises(InputError, match=r"take images of \(3, 8, 8\)"):
        profile(net, (3, 8, 8))
    assert net.training
    assert not any(layer._forward_hooks for layer in net.modules())
