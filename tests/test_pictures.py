"""Pictures: what is drawn is what the numbers say."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from bantamweight import pictures
from bantamweight.errors import InputError

RNG = np.random.default_rng(0)


def luminance(drawn: np.ndarray) -> np.ndarray:
    return drawn @ np.array([0.2126, 0.7152, 0.0722])


def test_drawing_needs_no_torch() -> None:
    code = "import sys, bantamweight.pictures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_becomes_its_bytes(channels: int) -> None:
    bytes_ = RNG.integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    floats = (bytes_ / 255).astype(np.float32)
    assert np.array_equal(pictures.picture(floats), pictures.picture(bytes_))
    assert np.array_equal(pictures.picture(bytes_)[..., -1], bytes_[-1])


@pytest.mark.parametrize("bad", [np.zeros((2, 4, 4)), np.zeros((4, 4)), np.full((3, 4, 4), np.nan)])
def test_what_is_no_image_is_refused(bad: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected"):
        pictures.picture(bad)


def test_one_sided_maps_grow_brighter_with_value() -> None:
    drawn = pictures.heat(np.linspace(0, 1, 256, dtype=np.float32)[None], scale=1.0)
    assert (np.diff(luminance(drawn[0])) >= -0.5).all()
    assert luminance(drawn[0])[-1] - luminance(drawn[0])[0] > 180


def test_signed_maps_have_a_white_centre_and_two_hues() -> None:
    drawn = pictures.heat(np.linspace(-1, 1, 255, dtype=np.float32)[None], scale=1.0)[0].astype(int)
    light = luminance(drawn)
    assert drawn[127].min() > 240
    assert (np.diff(light[:127]) >= -0.5).all()
    assert (np.diff(light[128:]) <= 0.5).all()
    assert (drawn[:100, 2] > drawn[:100, 0]).all()  # blue speaks against
    assert (drawn[155:, 0] > drawn[155:, 2]).all()  # red speaks for
    # without any colour the two sides are told apart by their hue only, so the poles are equally far from the centre
    assert abs(light[20] - light[-21]) < 40


def test_signedness_is_seen_or_said() -> None:
    positive = RNG.random((4, 4)).astype(np.float32)
    assert not np.array_equal(pictures.heat(positive), pictures.heat(positive, signed=True))
    assert np.array_equal(pictures.heat(positive - 0.5), pictures.heat(positive - 0.5, signed=True))


def test_scale_does_not_change_a_map_and_is_shared_on_request() -> None:
    one = RNG.random((8, 8)).astype(np.float32)
    assert np.array_equal(pictures.heat(one), pictures.heat(one * 1000))
    assert np.array_equal(pictures.heat(one), pictures.heat(one * 1e-20))
    assert luminance(pictures.heat(one * 0.1, scale=1.0)).mean() < luminance(pictures.heat(one, scale=1.0)).mean()


def test_one_hot_pixel_is_drawn() -> None:
    spot = np.zeros((32, 32), dtype=np.float32)
    spot[3, 4] = 2.0
    light = luminance(pictures.heat(spot))
    assert np.unravel_index(light.argmax(), light.shape) == (3, 4)


@pytest.mark.parametrize("value", [0.0, 0.7, -3.0])
def test_a_flat_map_is_hatched_not_stretched(value: float) -> None:
    still = np.full((16, 16), value, dtype=np.float32)
    ripple = still + value * 1e-7 * RNG.random((16, 16)).astype(np.float32)
    image = RNG.random((3, 16, 16)).astype(np.float32)
    for flat in (still, ripple):
        assert pictures.flat(flat)
        drawn = pictures.heat(flat)
        assert np.ptp(drawn, axis=2).max() == 0  # greys only
        assert len(np.unique(drawn)) == 2
        assert np.ptp(pictures.overlay(image, flat), axis=2).max() == 0
    assert not pictures.flat(RNG.random((16, 16)).astype(np.float32))


def test_an_all_negative_map_drawn_one_sided_shows_nothing() -> None:
    drawn = pictures.heat(-RNG.random((4, 4)).astype(np.float32), signed=False)
    assert len(np.unique(drawn.reshape(-1, 3), axis=0)) == 1


def test_an_overlay_leaves_the_image_grey_where_the_map_is_nothing() -> None:
    image = RNG.random((3, 16, 16)).astype(np.float32)
    half = np.zeros((16, 16), dtype=np.float32)
    half[:, 8:] = 1.0
    drawn = pictures.overlay(image, half)
    assert np.ptp(drawn[:, :8], axis=2).max() == 0
    assert (np.ptp(drawn[:, 8:].astype(int), axis=2) > 50).all()
    with pytest.raises(InputError, match=r"image's size \(16, 16\), got \(8, 8\)"):
        pictures.overlay(image, half[:8, :8])


def test_maps_that_are_not_finite_are_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        pictures.heat(np.full((4, 4), np.inf, dtype=np.float32))


@pytest.mark.parametrize(
    ("size", "gain"), [(0.5, 1.0), (0.2, 2.0), (0.1, 5.0), (8 / 255, 10.0), (0.01, 50.0), (0.0004, 1000.0), (0.9, 1.0)]
)
def test_a_perturbation_is_centred_and_its_gain_is_round(size: float, gain: float) -> None:
    delta = np.zeros((3, 4, 4), dtype=np.float32)
    delta[0, 0, 0], delta[1, 1, 1] = size, -size
    drawn = pictures.perturbation(delta)
    assert drawn.gain == pytest.approx(gain)
    assert drawn.picture[2, 2].tolist() == [128, 128, 128]
    if size <= 0.5:
        assert int(drawn.picture[0, 0, 0]) == pytest.approx(min(255, 128 + gain * size * 255), abs=1)
        assert int(drawn.picture[1, 1, 1]) == pytest.approx(128 - gain * size * 255, abs=1)


def test_no_perturbation_is_grey() -> None:
    drawn = pictures.perturbation(np.zeros((1, 4, 4), dtype=np.float32))
    assert drawn.gain == 1.0
    assert (drawn.picture == 128).all()
    assert pictures.perturbation(np.full((1, 4, 4), 0.01, dtype=np.float32), gain=3.0).gain == 3.0


def test_small_pictures_grow_by_whole_pixels_and_large_ones_shrink() -> None:
    small = RNG.integers(0, 256, (3, 4, 3), dtype=np.uint8)
    grown = pictures.fit(small, (7, 9))
    assert grown.shape == (7, 9, 3)
    assert np.array_equal(grown[0:6:2, 0:8:2], small)
    assert np.array_equal(grown[0:6:2, 0:8:2], grown[1:7:2, 1:9:2])
    assert (grown[6] == 128).all()
    tall = np.full((300, 100, 3), 255, dtype=np.uint8)
    shrunk = pictures.fit(tall, (30, 30))
    assert (shrunk[:, 10:20] == 255).all()
    assert (shrunk[:, :10] == 128).all()


def test_a_sheet_says_where_each_picture_is() -> None:
    drawn = [np.full((8, 8, 3), 10 * value, dtype=np.uint8) for value in range(7)]
    made = pictures.sheet(drawn, cell=(16, 24), columns=3)
    whole = np.asarray(Image.open(io.BytesIO(made.png)))
    assert whole.shape == (*made.size, 3) == (48, 72, 3)
    for index in range(7):
        top, left = made.at(index)
        assert (whole[top : top + 16, left + 4 : left + 20] == 10 * index).all()
    assert made.at(6) == (32, 0)
    with pytest.raises(InputError, match="picture from 0 to 6"):
        made.at(7)
    with pytest.raises(InputError, match="expected pictures"):
        pictures.sheet([], cell=(8, 8))


def test_a_png_is_lossless_and_always_the_same() -> None:
    drawn = RNG.integers(0, 256, (9, 5, 3), dtype=np.uint8)
    assert pictures.png(drawn) == pictures.png(drawn.copy())
    opened = Image.open(io.BytesIO(pictures.png(drawn)))
    assert np.array_equal(np.asarray(opened), drawn)
    assert not opened.info


@pytest.mark.parametrize("signed", [True, False])
def test_the_legend_is_the_scale(signed: bool) -> None:
    bar = pictures.legend(signed=signed, width=64, height=4)
    ramp = np.linspace(-1 if signed else 0, 1, 64, dtype=np.float32)[None]
    assert np.array_equal(bar[:1], pictures.heat(ramp, signed=signed, scale=1.0))
    assert bar.shape == (4, 64, 3)
