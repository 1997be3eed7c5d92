"""Methods that look at answers to changed images: closed forms, captum, and what they draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr import Lime, Occlusion
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.explainers import explain
from bantamweight.explainers._blank import blank
from bantamweight.explainers.lime import _drawn, _fitted, lime, superpixels
from bantamweight.explainers.occlusion import _squares, occlusion
from bantamweight.explainers.rise import _masks, rise
from bantamweight.explainers.score_cam import score_cam
from tests.explainers.nets import images, plain_net, pooled_net, unit

CLASSES = torch.tensor([3, 0, 1, 2])


class Corner(nn.Module):
    """Class 0 is the brightness of the upper left quarter, class 1 nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        seen = x[:, :, : x.shape[2] // 2, : x.shape[3] // 2].mean(dim=(1, 2, 3))
        return torch.stack([seen, torch.zeros_like(seen)], dim=1)


def blocks(size: int = 12) -> Tensor:
    """One image of four plain quarters, on black, as superpixels would cut it."""
    x = torch.zeros(1, 3, size, size)
    half = size // 2
    x[0, 0, :half, :half] = x[0, 1, :half, half:] = x[0, 2, half:, :half] = x[0, :, half:, half:] = 1.0
    return x


# Occlusion ------------------------------------------------------------------------------------------------------------


def test_occlusion_loses_the_share_that_is_covered() -> None:
    x = torch.ones(1, 3, 8, 8)
    found = explain(occlusion(window=4, stride=4, baseline="black", score="logit"), Corner(), x, [0]).maps[0]
    assert (found[:4, :4] == 1.0).all()
    assert float(found.sum()) == 16.0
    grey = explain(occlusion(window=2, stride=2, baseline="grey", score="logit"), Corner(), x, [0]).maps[0]
    torch.testing.assert_close(grey[:4, :4], torch.full((4, 4), 0.125))


@pytest.mark.parametrize(("window", "stride"), [(4, 4), (4, 2), (5, 3), (12, 12)])
def test_occlusion_is_captums(window: int, stride: int) -> None:
    net, x = plain_net(), images()
    ours = explain(occlusion(window=window, stride=stride, baseline="black", score="logit"), net, x, CLASSES).maps
    shape = {"sliding_window_shapes": (3, window, window), "strides": (3, stride, stride)}
    theirs = Occlusion(net).attribute(x, target=CLASSES, **shape)[:, 0].float()
    torch.testing.assert_close(unit(ours), unit(theirs), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("window", "stride"), [(None, None), (3, 9), (7, 7), (99, 1)])
def test_every_pixel_is_covered(window: int | None, stride: int | None) -> None:
    assert _squares(10, 13, window, stride).any(dim=0).all()


# RISE -----------------------------------------------------------------------------------------------------------------


def test_rise_finds_the_corner_that_counts() -> None:
    """The mean score given that a pixel is visible: higher in the corner, 1/2 where nothing depends on it."""
    x = torch.ones(2, 3, 12, 12)
    found = explain(rise(masks=600, cells=6, baseline="black", score="logit"), Corner(), x, [[0, 1], [0, 1]]).maps
    inside, outside = found[:, 0, :5, :5].mean(), found[:, 0, 7:, 7:].mean()
    assert float(inside - outside) > 0.04
    assert abs(float(outside) - 0.5) < 0.03
    assert (found[:, 1] == 0).all()


def test_masks_are_soft_moved_and_half_visible() -> None:
    drawn = _masks(torch.arange(2000), torch.Size((10, 14)), 4, 0.5, 0)
    assert drawn.shape == (2000, 10, 14)
    assert float(drawn.min()) >= 0.0
    assert float(drawn.max()) <= 1.0
    assert abs(float(drawn.mean()) - 0.5) < 0.01
    assert ((drawn > 0) & (drawn < 1)).any()
    assert abs(float(_masks(torch.arange(2000), torch.Size((8, 8)), 4, 0.2, 0).mean()) - 0.2) < 0.01


# Score-CAM ------------------------------------------------------------------------------------------------------------


def test_score_cam_is_algorithm_1() -> None:
    net, x = pooled_net(), images(2)
    found = explain(score_cam(baseline="black"), net, x, [[0, 1], [2, 3]])
    for image, classes in enumerate(([0, 1], [2, 3])):
        A = net[:5](x[image : image + 1]).detach()
        scores = []
        for k in range(16):
            up = nn.functional.interpolate(A[:, k : k + 1], (12, 12), mode="bilinear", align_corners=False)
            span = up.max() - up.min()
            mask = (up - up.min()) / span if span > 0 else torch.zeros_like(up)
            scores.append((net(x[image : image + 1] * mask) - net(torch.zeros(1, 3, 12, 12)))[0, classes].detach())
        weights = torch.softmax(torch.stack(scores), dim=0)
        expected = torch.einsum("kc,kuv->cuv", weights, A[0]).relu()
        assert found.coarse is not None
        torch.testing.assert_close(found.coarse[image], expected, rtol=1e-4, atol=1e-6)


def test_score_cam_needs_a_convolution_and_takes_a_layer() -> None:
    assert "no convolution" in str(explain(score_cam(), Corner(), images()).undefined)
    assert explain(score_cam(layer="1"), plain_net(), images()).layer == "1"


# LIME -----------------------------------------------------------------------------------------------------------------


def test_lime_finds_the_quarter_that_counts() -> None:
    """Class 0 is the brightest pixel of one quarter; covered, the quarter shows its mean, which is darker."""

    class Brightest(Corner):
        def forward(self, x: Tensor) -> Tensor:
            seen = x[:, :, :8, :8].amax(dim=(1, 2, 3))
            return torch.stack([seen, torch.zeros_like(seen)], dim=1)

    x = 0.5 * blocks(16)
    x[0, :, 3::8, 3::8] += 0.1
    labels = superpixels(x[0], 4, 0.1)
    assert sorted(labels[at, to].item() for at in (0, 15) for to in (0, 15)) == [0, 1, 2, 3]
    found = explain(lime(samples=200, segments=4, compactness=0.1, score="logit", penalty=1e-6), Brightest(), x, [0])
    quarter = labels == labels[0, 0]
    torch.testing.assert_close(found.maps[0][quarter], torch.full((int(quarter.sum()),), 0.6 - _mean(x, quarter)))
    assert float(found.maps[0][~quarter].abs().max()) < 1e-4


def _mean(x: Tensor, quarter: Tensor) -> float:
    return float(x[0][:, quarter].mean(dim=1).max())


@pytest.mark.parametrize("fit", ["ridge", "lasso"])
def test_a_linear_answer_gives_back_its_coefficients(fit: str) -> None:
    true = np.array([[3.0, 0.0, -2.0, 0.0, 0.5]])
    z = np.random.default_rng(0).random((400, 5)) < 0.5
    found = _fitted(z, z @ true.T, 0.25, fit, 1e-6, None)
    np.testing.assert_allclose(found, true, atol=1e-3)
    two = _fitted(z, z @ true.T, 0.25, fit, 1e-6, 2)
    assert two.nonzero()[1].tolist() == [0, 2]
    np.testing.assert_allclose(two[0, [0, 2]], [3.0, -2.0], atol=0.2)
    sparse = _fitted(z, z @ true.T, 0.25, "lasso", 0.2, None)
    assert (np.abs(sparse[0, [1, 3]]) < 1e-9).all()


@pytest.mark.parametrize("fit", ["ridge", "lasso"])
def test_no_penalty_is_least_squares_and_not_the_default(fit: str) -> None:
    rng = np.random.default_rng(0)
    z = rng.random((60, 5)) < 0.5
    told = 0.01 * rng.normal(size=(60, 1))
    weights = np.sqrt(np.exp(-((1.0 - np.sqrt(z.mean(axis=1))) ** 2) / 0.25**2))
    tall = np.column_stack([np.ones(60), z]) * np.sqrt(weights)[:, None]
    expected = np.linalg.lstsq(tall, told[:, 0] * np.sqrt(weights), rcond=None)[0][1:]
    np.testing.assert_allclose(_fitted(z, told, 0.25, fit, 0.0, None)[0], expected, atol=1e-9)


def test_lime_is_captums_with_its_samples() -> None:
    net, x = plain_net(), images(2)
    ours = explain(lime(samples=120, segments=9, score="logit"), net, x, [1, 2])
    for image in range(2):
        labels = superpixels(x[image], 9, 10.0)
        count = int(labels.max()) + 1
        drawn = _drawn(x[image], count, 120, 0)
        mean = torch.stack([x[image][:, labels == one].mean(dim=1) for one in range(count)], dim=1)[:, labels]

        def similar(_given: Tensor, _changed: Tensor, z: Tensor, **_rest: object) -> float:
            distance = 1.0 - float(z.float().mean()) ** 0.5
            return float(np.sqrt(np.exp(-(distance**2) / 0.25**2)))

        def samples(_given: Tensor, drawn: Tensor = drawn, **_rest: object):
            yield from (row[None].to(torch.int64) for row in drawn)

        peer = Lime(net, SkLearnRidge(alpha=1.0), similarity_func=similar, perturb_func=samples)
        theirs = peer.attribute(
            x[image : image + 1], baselines=mean[None], target=image + 1, feature_mask=labels.expand(1, 3, -1, -1),
            n_samples=120,
        )[0, 0]  # fmt: skip
        torch.testing.assert_close(unit(ours.maps[image]), unit(theirs.float()), rtol=0, atol=1e-3)


def test_grey_images_have_superpixels_too() -> None:
    labels = superpixels(images(1)[0, :1], 9, 10.0)
    assert labels.shape == (12, 12)
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))


# All ------------------------------------------------------------------------------------------------------------------

MANY = [
    occlusion(window=6),
    rise(masks=12, cells=3),
    score_cam(layer="1"),
    lime(samples=12, segments=6),
]


@pytest.mark.parametrize("method", MANY, ids=lambda one: one.name)
def test_one_image_alone_has_the_map_it_has_among_others(method: object) -> None:
    net, x = plain_net(), images(5)
    whole = explain(method, net, x, [0, 1, 2, 3, 0]).maps
    assert torch.equal(explain(method, net, x[3:4], [3]).maps, whole[3:4])


@pytest.mark.parametrize("method", MANY, ids=lambda one: one.name)
def test_a_forward_has_as_many_rows_as_the_batch(method: object) -> None:
    sizes: set[int] = set()

    class Counting(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            sizes.add(len(x))
            return super().forward(x)

    explain(method, Counting(*plain_net()), images(11), batch=10)
    assert sizes <= {8, 16}  # 8 to look for a layer, 16 ever after
    assert 16 in sizes


def test_what_hides_an_image() -> None:
    x = images(2)
    assert blank(x, "white").unique().tolist() == [1.0]
    torch.testing.assert_close(blank(x, "mean").mean(dim=(2, 3)), x.mean(dim=(2, 3)))
    smooth = blank(x, "blurred")
    assert smooth.shape == x.shape
    assert float(smooth.std()) < 0.5 * float(x.std())


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"use": "lime", "samples": 1}, "at least 2 samples"),
        ({"use": "lime", "top": 0}, "a top of at least 1"),
        ({"use": "lime", "fit": "tree"}, "lime.fit"),
        ({"use": "lime", "fit": "lasso", "penalty": -1.0}, r"expected a penalty of 0 or more, got -1\.0"),
        ({"use": "lime", "penalty": -0.1}, "expected a penalty of 0 or more"),
        ({"use": "rise", "keep": 1.0}, "0 < keep < 1"),
        ({"use": "occlusion", "window": 0}, "window and a stride of at least 1"),
        ({"use": "score_cam", "score": "loss"}, "score_cam.score"),
    ],
)
def test_settings_that_can_not_be_meant(spec: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        explain(spec, plain_net(), images())
