"""Each method against closed forms, and against captum."""

from __future__ import annotations

import pytest
import torch
from captum.attr import LayerGradCam, Saliency
from torch import Tensor, nn

from bantamweight.explainers import explain
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.gradient import gradient
from bantamweight.models.resnet20 import resnet20
from bantamweight.models.resnet_small import resnet_small
from bantamweight.models.simple_cnn import simple_cnn

NETS = {"simple_cnn": simple_cnn, "resnet_small": resnet_small, "resnet20": resnet20}
LAYERS = {"simple_cnn": "features.10", "resnet_small": "stage3.1.relu2", "resnet20": "layer3.2.relu2"}


def seeded(name: str) -> nn.Module:
    """A net whose batch norms are not the identity, so that a map read on the wrong side of one differs."""
    torch.manual_seed(5)
    net = NETS[name](mean=(0.5, 0.4, 0.45), std=(0.25, 0.24, 0.26))
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.normal_(0, 0.1)
    return net.eval()


def some(count: int = 8, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(6))


def unit(maps: Tensor) -> Tensor:
    """Each map over its largest magnitude: the equal normalisation both sides get."""
    return maps / maps.abs().amax(dim=(1, 2), keepdim=True).clamp_min(1e-30)


@pytest.mark.parametrize("name", NETS)
def test_gradient_is_captums_saliency(name: str) -> None:
    net, images = seeded(name), some()
    classes = torch.arange(8) % 10
    ours = explain(gradient(), net, images, classes, batch=8).maps
    theirs = Saliency(net).attribute(images.clone().requires_grad_(), target=classes, abs=False)
    torch.testing.assert_close(unit(ours.abs()), unit(theirs.abs().amax(dim=1)), rtol=0, atol=1e-4)
    winner = theirs.abs().argmax(dim=1, keepdim=True)
    torch.testing.assert_close(unit(ours), unit(theirs.gather(1, winner)[:, 0]), rtol=0, atol=1e-4)
    added = explain(gradient(channels="sum"), net, images, classes, batch=8).maps
    torch.testing.assert_close(unit(added), unit(theirs.sum(dim=1)), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NETS)
def test_grad_cam_is_captums(name: str) -> None:
    net, images = seeded(name), some()
    classes = torch.arange(8) % 10
    ours = explain(grad_cam(), net, images, classes, batch=8)
    assert ours.layer == LAYERS[name]
    peer = LayerGradCam(net, net.get_submodule(LAYERS[name]))
    theirs = peer.attribute(images, target=classes, relu_attributions=True).detach()
    assert ours.coarse is not None
    assert not ours.flat.all()
    torch.testing.assert_close(unit(ours.coarse), unit(theirs[:, 0]), rtol=0, atol=1e-4)
    resized = LayerGradCam.interpolate(theirs, (32, 32), interpolate_mode="bilinear")
    torch.testing.assert_close(unit(ours.maps), unit(resized[:, 0]), rtol=0, atol=1e-4)


def test_the_gradient_of_a_linear_model_is_its_weight_row() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(3 * 6 * 6, 4)
    net = nn.Sequential(nn.Flatten(), linear)
    classes = torch.tensor([3, 0, 1, 2, 2])
    rows = linear.weight.detach()[classes].view(5, 3, 6, 6)
    found = explain(gradient(channels="sum"), net, some(5, 6), classes).maps
    torch.testing.assert_close(found, rows.sum(dim=1))
    largest = explain(gradient(), net, some(5, 6), classes).maps
    torch.testing.assert_close(largest.abs(), rows.abs().amax(dim=1))
    assert ((rows == largest[:, None]).any(dim=1)).all()
    assert (largest < 0).any()


def pooled_net(classes: int = 4) -> nn.Module:
    """Global average pooling and one linear layer: the nets for which CAM is defined."""
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, classes),
    ).eval()


def test_on_a_pooled_net_grad_cam_is_the_positive_part_of_cam_over_its_size() -> None:
    """Zhou et al. 2016: CAM_c = sum_k w_ck A_k; Grad-CAM's weights are w_ck / Z there, Z the number of positions."""
    net, images = pooled_net(), some(8, 12)
    activations = net[:5](images).detach()
    cams = torch.einsum("ck,bkuv->bcuv", net[7].weight.detach(), activations)
    found = explain(grad_cam(), net, images, torch.arange(4).expand(8, 4))
    assert found.layer == "4"
    assert found.coarse is not None
    torch.testing.assert_close(found.coarse, cams.relu() / 36, rtol=1e-4, atol=1e-7)


def test_grad_cam_finds_the_quadrant_that_the_class_is_made_of() -> None:
    """A net that answers with the brightness of one channel, and images bright in one corner of it."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    net[0].weight.data = torch.eye(3)[:, :, None, None]
    images = torch.zeros(3, 3, 8, 8)
    images[0, 0, :4, :4] = images[1, 1, :4, 4:] = images[2, 2, 4:, 4:] = 1.0
    found = explain(grad_cam(), net, images, [0, 1, 2]).maps
    torch.testing.assert_close(found, images.sum(dim=1) / 64)
    assert explain(grad_cam(), net, images, [1, 2, 0]).flat.all()


def test_the_positive_part_is_taken_before_resizing() -> None:
    net, images = pooled_net(), some(8, 12)
    assert float(explain(grad_cam(), net, images).maps.min()) >= 0.0


def test_a_layer_by_name_changes_the_resolution() -> None:
    found = explain(grad_cam(layer="1"), pooled_net(), some(2, 12))
    assert found.coarse is not None
    assert (found.layer, found.coarse.shape) == ("1", (2, 12, 12))
