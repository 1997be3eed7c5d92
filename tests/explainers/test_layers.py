"""The layer that is read where none is named: the last feature map, whole, of every net in the zoo."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bantamweight.explainers import Undefined, explain
from bantamweight.explainers._gradients import pair
from bantamweight.explainers._layers import find_layer
from bantamweight.explainers.cam import cam
from bantamweight.parts import configure, names

LAYERS = {
    "alexnet": ("relu5", 256),
    "alexnet_ungrouped": ("relu5", 256),
    "densenet121": ("features.relu5", 1024),
    "googlenet": ("stage5.1", 1024),
    "googlenet_bn": ("stage5.1", 1024),
    "mobilenet_v2": ("features.18.2", 1280),
    "plain110": ("stage3.35.2", 64),
    "plain20": ("stage3.5.2", 64),
    "plain32": ("stage3.9.2", 64),
    "plain44": ("stage3.13.2", 64),
    "plain56": ("stage3.17.2", 64),
    "preact_resnet110": ("relu", 64),
    "preact_resnet18": ("relu", 512),
    "preact_resnet34": ("relu", 512),
    "preact_resnet50": ("relu", 2048),
    "preact_resnet56": ("relu", 64),
    "resnet101": ("layer4.2.relu3", 2048),
    "resnet110": ("layer3.17.relu2", 64),
    "resnet152": ("layer4.2.relu3", 2048),
    "resnet18": ("layer4.1.relu2", 512),
    "resnet20": ("layer3.2.relu2", 64),
    "resnet32": ("layer3.4.relu2", 64),
    "resnet34": ("layer4.2.relu2", 512),
    "resnet44": ("layer3.6.relu2", 64),
    "resnet50": ("layer4.2.relu3", 2048),
    "resnet56": ("layer3.8.relu2", 64),
    "resnet_small": ("stage3.1.relu2", 256),
    "simple_cnn": ("features.10", 128),
    "small_cnn": ("features.16", 128),
    "vgg11": ("features.27", 512),
    "vgg13": ("features.33", 512),
    "vgg16": ("features.42", 512),
    "vgg19": ("features.51", 512),
    "wrn_16_4": ("relu", 256),
    "wrn_28_10": ("relu", 640),
    "wrn_28_4": ("relu", 256),
    "wrn_34_10": ("relu", 640),
    "wrn_40_2": ("relu", 128),
}
NONE = ("average", "mlp")
"""Nets without a convolution."""


def shaped(name: str) -> nn.Module:
    """The net on the meta device, which has shapes and computes nothing."""
    with torch.device("meta"):
        return configure("models", {"use": name}).make().eval()


def test_every_model_has_its_layer_here() -> None:
    assert names("models") == sorted([*LAYERS, *NONE])


@pytest.mark.parametrize("name", LAYERS)
def test_the_layer_is_the_last_feature_map_with_all_its_channels(name: str) -> None:
    net, layer = shaped(name), find_layer(shaped(name), torch.rand(8, 3, 32, 32, device="meta"))
    seen: list[Tensor] = []
    net.get_submodule(layer).register_forward_hook(lambda _module, _given, told: seen.append(told))
    net(torch.rand(8, 3, 32, 32, device="meta"))
    assert (layer, seen[-1].shape[1]) == LAYERS[name]


@pytest.mark.parametrize("name", NONE)
def test_a_net_without_convolutions_has_none(name: str) -> None:
    with pytest.raises(Undefined, match="no convolution"):
        find_layer(shaped(name), torch.rand(8, 3, 32, 32, device="meta"))


@pytest.mark.parametrize("name", ["googlenet", "densenet121"])
def test_cam_of_a_net_that_concatenates_adds_up_to_the_score(name: str) -> None:
    """The mean of w f over positions, and the bias, are the logit; one branch alone would miss the others' part."""
    torch.manual_seed(0)
    net = configure("models", {"use": name}).make().eval()
    x = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = net(x)
    found = explain(cam(), net, x, [[3, 7]] * 8, batch=8)
    assert found.undefined is None
    assert found.coarse is not None
    bias = next(part.bias for part in reversed(list(net.modules())) if isinstance(part, nn.Linear)).detach()
    torch.testing.assert_close(found.coarse.mean(dim=(2, 3)) + bias[[3, 7]], logits[:, [3, 7]], rtol=1e-3, atol=1e-3)


class Joined(nn.Module):
    """Two branches joined by a function and nothing after it but the pooling."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1)
        self.linear = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(torch.cat([self.left(x).relu(), self.right(x).relu()], 1).mean(dim=(2, 3)))


@pytest.mark.parametrize("form", ["net", "program"])
def test_branches_that_a_function_joins_are_read_together(form: str) -> None:
    x = torch.rand(8, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    net = Joined().eval()
    net = torch.export.export(net, (x,)).module() if form == "program" else net
    layer = find_layer(net, x)
    assert layer == "cat#1"
    assert pair(net, x, torch.zeros(8, 1, dtype=torch.int64), layer).activations.shape == (8, 6, 6, 6)
