"""Augmentation: closed forms, and nothing depends on who else is in the batch."""

from __future__ import annotations

import colorsys
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bantamweight.data import augment, augmentations
from bantamweight.data._augment import OPS, Maps, _after, _resample, affine, crop, flip, jitter, resized_crop, rotation
from bantamweight.data._colour import recolour
from bantamweight.errors import InputError

EVERYTHING = ["crop", "resized_crop", "flip", "jitter", "rotation", {"use": "affine", "degrees": 5, "shear": 5}]


def images(count: int, channels: int = 3, size: int = 12, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


def changed(x, ops, *, seed=0, epoch=0, index=None):
    return augment(x, ops, seed=seed, epoch=epoch, index=torch.arange(len(x)) if index is None else index)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "ops", [[name] for name in OPS] + [EVERYTHING], ids=lambda ops: str(ops[0])[:12] + str(len(ops))
)
def test_batch_order_and_size_do_not_matter(ops, channels):
    x = images(301, channels)
    before = x.clone()
    whole = changed(x, ops, seed=3, epoch=2)
    assert torch.equal(x, before)
    assert whole.shape == x.shape
    assert whole.min() >= 0
    assert whole.max() <= 1
    order = torch.randperm(301, generator=torch.Generator().manual_seed(1))
    for batch in (1, 7, 64):
        rows = order[:70].split(batch)
        assert torch.equal(
            torch.cat([changed(x[row], ops, seed=3, epoch=2, index=row) for row in rows]), whole[order[:70]]
        )
    assert not torch.equal(changed(x, ops, seed=3, epoch=3), whole)
    assert not torch.equal(changed(x, ops, seed=4, epoch=2), whole)


def test_no_ops_give_a_copy():
    x = images(3)
    same = changed(x, [])
    assert torch.equal(same, x)
    assert same.data_ptr() != x.data_ptr()
    assert changed(x[:0], EVERYTHING).shape == (0, 3, 12, 12)


def test_flip_is_exact_and_half_of_the_time():
    x = images(2000, 1, 4)
    got = changed(x, [flip()])
    mirrored = (got == x.flip(3)).flatten(1).all(1)
    kept = (got == x).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 880 < mirrored.sum() < 1120  # 5 sigma
    assert torch.equal(changed(x, [flip(p=1.0)]), x.flip(3))
    assert torch.equal(changed(x, [flip(p=0.0)]), x)


@pytest.mark.parametrize("fill", ["zeros", "border", "reflection"])
def test_crop_moves_whole_pixels(fill):
    x = images(200, 3, 8)
    got = changed(x, [crop(padding=2, fill=fill)])
    mode = {"zeros": "constant", "border": "replicate", "reflection": "reflect"}[fill]
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), mode=mode)
    moves = set()
    for row in range(200):
        found = [
            (down, right)
            for down in range(5)
            for right in range(5)
            if torch.equal(got[row], padded[row, :, down : down + 8, right : right + 8])
        ]
        assert len(found) == 1
        moves.add(found[0])
    assert len(moves) == 25


def test_quarter_turns_are_exact():
    x = images(2, 3, 9)
    quarter = torch.tensor([0.0, 0.0], dtype=torch.float64)
    one = torch.ones_like(quarter)
    turned = _resample(x, Maps(quarter, one, quarter, -one, quarter, quarter), "zeros")
    wanted = torch.rot90(x, -1, (2, 3)), torch.rot90(x, 1, (2, 3))
    assert min((turned - each).abs().max() for each in wanted) < 1e-5


def test_nothing_asked_changes_nothing():
    x = images(20, 3, 10)
    still = [
        rotation(degrees=0),
        affine(degrees=0, translate=0, scale=(1, 1), shear=0),
        resized_crop(scale=(1, 1), ratio=(1, 1)),
        jitter(brightness=0, contrast=0, saturation=0, hue=0),
    ]
    assert (changed(x, still) - x).abs().max() < 1e-5


def test_moving_by_affine():
    x = torch.zeros(500, 1, 11, 11)
    x[:, :, 5, 5] = 1.0
    got = changed(x, [affine(translate=0.2, scale=(1, 1))])
    grid = torch.arange(11.0) - 5
    right, down = (got * grid).sum((1, 2, 3)), (got * grid[:, None]).sum((1, 2, 3))
    assert (got.sum((1, 2, 3)) - 1).abs().max() < 1e-4
    for moved in (right, down):
        assert moved.abs().max() <= 2.2 + 1e-4
        assert moved.std() == pytest.approx(4.4 / 12**0.5, rel=0.1)
    assert abs(torch.corrcoef(torch.stack([right, down]))[0, 1]) < 0.2


def test_scaling_by_resized_crop_enlarges():
    x = torch.zeros(50, 1, 32, 32)
    x[:, :, 12:20, 12:20] = 1.0
    got = changed(x, [resized_crop(scale=(0.5, 0.5), ratio=(1, 1))]).sum((1, 2, 3))
    assert (got.median() - 128).abs() < 6  # twice the area


def test_maps_compose_like_one_after_the_other():
    generator = torch.Generator().manual_seed(0)
    first, then = (Maps(*torch.randn(6, 4, generator=generator, dtype=torch.float64)) for _ in range(2))
    x, y = torch.randn(2, 4, generator=generator, dtype=torch.float64)

    def at(maps, x, y):
        return maps.a * x + maps.b * y + maps.c, maps.d * x + maps.e * y + maps.f

    for got, wanted in zip(at(_after(first, then), x, y), at(first, *at(then, x, y)), strict=True):
        assert torch.allclose(got, wanted)


def moved(count: int, **changes: float) -> torch.Tensor:
    place = {"brightness": 0, "contrast": 1, "saturation": 2, "hue": 3}
    amounts = torch.zeros(count, 4)
    for name, value in changes.items():
        amounts[:, place[name]] = value
    return amounts


def test_brightness_contrast_saturation():
    x = images(4)
    grey = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    assert torch.allclose(recolour(x, moved(4, brightness=0.3)), (x * 1.3).clamp(0, 1), atol=1e-5)
    mean = grey.mean((1, 2, 3), keepdim=True)
    assert torch.allclose(recolour(x, moved(4, contrast=-0.4)), x * 0.6 + mean * 0.4, atol=1e-5)
    assert torch.allclose(recolour(x, moved(4, saturation=-1)), grey.expand(-1, 3, -1, -1), atol=1e-5)


@settings(max_examples=100, deadline=None)
@given(st.tuples(*[st.floats(0, 1, width=32)] * 3), st.floats(-0.5, 0.5, width=32))
def test_hue_agrees_with_colorsys(colour, turn):
    hue, saturation, value = colorsys.rgb_to_hsv(*colour)
    wanted = colorsys.hsv_to_rgb((hue + turn) % 1.0, saturation, value)
    got = recolour(torch.tensor(colour)[None, :, None, None], moved(1, hue=turn))
    assert got.flatten().tolist() == pytest.approx(wanted, abs=2e-5)


def test_specs_are_checked():
    assert [op.name for op in augmentations(["flip", {"use": "crop", "padding": 2}])] == ["flip", "crop"]
    for spec, reason in [
        (["filp"], "'filp' is not an augmentation; did you mean 'flip'"),
        ([{"use": "rotation", "degree": 3}], "rotation has no setting 'degree'; did you mean 'degrees'"),
        ([{"use": "rotation", "degrees": 999}], "expected degrees from 0.0 to 180.0, got 999"),
        ([{"use": "flip", "p": "often"}], "flip.p"),
        ([{"use": "resized_crop", "scale": [1.0, 0.5]}], "the smaller first"),
        ([{"flip": 1}], "as a name or as"),
        ([3], "as a name or as"),
        ("flip", "a list of augmentations"),
    ]:
        with pytest.raises(InputError, match=reason):
            augmentations(spec)


def test_an_epoch_of_sports_is_fast():
    x = images(1600, 3, 32)
    ops = ["flip", "rotation", "jitter"]
    changed(x[:64], ops)
    started = time.process_time()
    changed(x, ops)
    assert time.process_time() - started < 1.5  # 0.08 s where nothing else runs
