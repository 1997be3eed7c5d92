"""The published families against the counts in their papers and in the tables of the libraries that ship them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bantamweight.errors import InputError
from bantamweight.models.googlenet import TABLE, Inception, NaiveInception, Widths
from bantamweight.parts import configure

IMAGENET = {
    "alexnet": (60_965_224, 724_406_816),
    "alexnet_ungrouped": (62_378_344, 1_135_256_096),
    "densenet121": (7_978_856, 2_834_161_664),
    "googlenet": (6_998_552, 1_582_671_872),
    "googlenet_bn": (6_624_904, 1_498_376_192),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
    "vgg11": (132_863_336, 7_609_090_048),
    "vgg13": (133_047_848, 11_308_466_176),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
}
"""Parameters and MACs at 3x224x224 with 1,000 classes."""

SMALL = {
    "densenet121": (6_956_298, 888_350_720),
    "googlenet": (6_166_250, 1_521_756_160),
    "mobilenet_v2": (2_236_682, 87_976_448),
    "preact_resnet18": (11_172_170, 555_422_720),
    "resnet18": (11_173_962, 555_422_720),
    "resnet50": (23_520_842, 1_297_829_888),
    "resnet56": (853_018, 125_485_696),
    "resnet110": (1_727_962, 252_887_680),
    "vgg16": (14_728_266, 313_201_664),
    "vgg19": (20_040_522, 398_136_320),
    "wrn_28_10": (36_479_194, 5_243_328_768),
}
"""Parameters and MACs at 3x32x32 with 10 classes."""


def made(name: str, size: int, classes: int, **settings: object) -> nn.Module:
    with torch.device("meta"):
        return configure("models", {"use": name, "size": size, "classes": classes, **settings}).make().eval()


def parameters(net: nn.Module) -> int:
    return sum(one.numel() for one in net.parameters())


def macs(net: nn.Module, size: int) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.rand(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenets_form_is_the_published_net(name: str) -> None:
    net = made(name, 224, 1000)
    assert (parameters(net), macs(net, 224)) == IMAGENET[name]


@pytest.mark.parametrize("name", SMALL)
def test_the_form_for_small_images_is_the_usual_one(name: str) -> None:
    net = made(name, 32, 10)
    assert (parameters(net), macs(net, 32)) == SMALL[name]


def test_where_resnet50_halves_its_maps_changes_macs_and_no_parameter() -> None:
    paper = made("resnet50", 224, 1000, halving="1x1")
    assert (parameters(paper), macs(paper, 224)) == (25_557_032, 3_857_973_248)


def test_auxiliary_heads_of_googlenet() -> None:
    net = made("googlenet", 224, 1000, auxiliaries=True)
    assert parameters(net) == 13_378_280
    logits = net.all_logits(torch.rand(2, 3, 224, 224, device="meta"))
    assert [tuple(one.shape) for one in logits] == [(2, 1000)] * 3


def test_heads_read_the_same_features() -> None:
    net = configure("models", {"use": "googlenet", "size": 32, "auxiliaries": True}).make().eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(net.all_logits(images)[0], net(images))


def test_a_form_can_be_asked_for() -> None:
    assert parameters(made("vgg16", 64, 10, form="imagenet")) == 138_357_544 - 4097 * 990
    assert parameters(made("vgg16", 224, 10, form="small")) == 14_728_266
    with pytest.raises(InputError, match="at least 63 pixels"):
        made("alexnet", 62, 10, form="imagenet")
    assert made("alexnet", 63, 10, form="imagenet")(torch.rand(1, 3, 63, 63, device="meta")).shape == (1, 10)


def test_a_plain_net_has_the_layers_and_parameters_of_its_residual_twin() -> None:
    for depth in (20, 56):
        plain, residual = made(f"plain{depth}", 32, 10), made(f"resnet{depth}", 32, 10)
        assert parameters(plain) == parameters(residual)
        assert macs(plain, 32) == macs(residual, 32)
    for activation in ("sigmoid", "tanh"):
        other = made("plain20", 32, 10, activation=activation, batch_norm=False)
        kinds = {type(layer).__name__.lower() for layer in other.modules()}
        assert activation in kinds
        assert not kinds & {"relu", "batchnorm2d"}


def test_a_preactivation_block_is_the_identity_when_its_last_convolution_is_zero() -> None:
    from bantamweight.models.preact_resnet18 import Basic, Bottleneck

    for block in (Basic(8, 8, 1, first=False), Bottleneck(8, 2, 1, first=False)):
        last = [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)][-1]
        nn.init.zeros_(last.weight)
        features = torch.randn(2, 8, 5, 5)
        assert torch.equal(block.eval()(features), features)


def convolve(inputs: int, outputs: int, kernel: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def test_naive_inception_modules_grow_and_projected_ones_do_not() -> None:
    widths = Widths(ones=128, reduce3=64, threes=192, reduce5=64, fives=96, pooled=64)
    features = torch.rand(1, 256, 6, 6)
    assert NaiveInception(256, widths, convolve)(features).shape[1] == 672
    assert Inception(256, widths, convolve, "5x5")(features).shape[1] == 480


def test_naive_googlenet_is_wider_at_every_module() -> None:
    naive = made("googlenet", 32, 10, modules="naive")
    assert naive.linear.in_features == 192 + sum(row.ones + row.threes + row.fives for row in TABLE.values())
    assert parameters(naive) > 3 * parameters(made("googlenet", 32, 10))
