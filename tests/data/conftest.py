"""Small folders of pictures made on the fly, and a cache of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """Every test starts with an empty cache."""
    home = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("BANTAM_CACHE", str(home))
    return home


@pytest.fixture
def picture():
    """A random picture that no other seed resembles."""

    def make(seed: int, size: int = 16) -> Image.Image:
        pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    return make


@pytest.fixture
def classes_folder(tmp_path, picture):
    """A folder of classes (or of splits with classes) with `each` pictures per class."""

    def make(names=("cat", "dog"), each: int = 10, splits=(), root: str = "pets") -> Path:
        home = tmp_path / root
        seed = 0
        for split in splits or ("",):
            for name in names:
                place = home / split / name
                place.mkdir(parents=True)
                for row in range(each):
                    picture(seed).save(place / f"{row:03d}.png")
                    seed += 1
        return home

    return make
