"""Twins across splits are found, strangers are not."""

from __future__ import annotations

import io
import time

import numpy as np
import torch
from PIL import Image

from bantamweight.data import Split, dhash, leaks, load


def photo(seed: int, size: int = 64) -> Image.Image:
    """Smooth noise: as random as a photograph, with neighbours alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def split(pictures, prefix: str) -> Split:
    small = [np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR)) for picture in pictures]
    images = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).contiguous()
    names = tuple(f"{prefix}{row}" for row in range(len(small)))
    return Split(images, torch.zeros(len(small), dtype=torch.int64), names)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def test_dhash_of_a_ramp():
    ramp = torch.arange(32, dtype=torch.uint8).repeat(32, 1)[None, None] * 4
    assert dhash(ramp).all()
    assert not dhash(ramp.flip(3)).any()
    assert dhash(ramp).shape == (1, 64)


def test_reencoded_darkened_and_greyed_twins_are_found():
    train = split([photo(seed) for seed in range(300)], "train")
    twins = [
        photo(7),
        jpeg(photo(30), 30),
        photo(100).resize((40, 40)),
        photo(200).point(lambda value: int(value * 0.7)),
        photo(250).convert("L").convert("RGB"),
    ]
    test = split([photo(1000 + seed) for seed in range(100)] + twins, "test")
    found = leaks({"test": test, "train": train})
    assert found == tuple(
        ("train", f"train{left}", "test", f"test{100 + right}") for right, left in enumerate((7, 30, 100, 200, 250))
    )


def test_plain_pictures_are_twins_only_of_their_own_grey():
    plain = [Image.new("RGB", (32, 32), (value,) * 3) for value in (0, 100, 200)]
    found = leaks({"train": split(plain[:2], "a"), "test": split(plain[1:], "b")})
    assert found == (("train", "a1", "test", "b0"),)


def test_every_pair_of_splits_is_compared():
    same = [photo(1), photo(2)]
    found = leaks({"train": split(same, "t"), "val": split(same, "v"), "extra": split(same, "e")})
    assert len(found) == 6
    assert {(one, other) for one, _, other, _ in found} == {("train", "val"), ("train", "extra"), ("val", "extra")}
    assert leaks({"train": split(same, "t")}) == ()


def test_the_digits_have_two_pairs_of_ones():
    digits = load("digits")
    label = {name: int(part.labels[row]) for part in digits.splits.values() for row, name in enumerate(part.names)}
    assert [(label[one], label[other]) for _, one, _, other in digits.leaks] == [(1, 1), (1, 1)]


def test_ten_thousand_against_thousands_take_moments():
    def noise(count: int, seed: int) -> Split:
        generator = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=generator)
        return Split(images, torch.zeros(count, dtype=torch.int64), tuple(map(str, range(count))))

    started = time.process_time()
    assert leaks({"train": noise(10_000, 0), "test": noise(4_000, 1)}) == ()
    assert time.process_time() - started < 10
