"""Pictures on the page: as stored where they are few, smaller where they are many, never what is no picture."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from bantamweight.reports._pictures import album, tiles


def drawn(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def opened(uri: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_few_pictures_stay_as_they_were(tmp_path: Path) -> None:
    path = drawn(tmp_path / "one.png", (8, 8))
    found = album([path, path], most=10_000)
    assert base64.b64decode(found.get(path).partition(",")[2]) == path.read_bytes()
    assert found.note == ""


def test_many_pictures_are_compressed_and_it_is_said(tmp_path: Path) -> None:
    paths = [drawn(tmp_path / f"{index}.png", (32, 32), index) for index in range(20)]
    stored = sum(path.stat().st_size for path in paths)
    found = album(paths, most=stored // 2)
    assert "WebP" in found.note
    assert opened(found.get(paths[3])).size == (32, 32)
    assert sum(len(uri) for uri in found.pictures.values()) < stored


def test_large_pictures_are_made_to_fit(tmp_path: Path) -> None:
    paths = [drawn(tmp_path / f"{index}.png", (256, 256), index) for index in range(8)]
    found = album(paths, most=40_000)
    assert sum(len(uri) for uri in found.pictures.values()) < 40_000 * 4 / 3 + 8 * 40


def test_what_is_no_picture_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("<script>", encoding="utf-8")
    found = album([tmp_path / "text.png", tmp_path / "absent.png"], most=10_000)
    assert found.get(tmp_path / "text.png") == found.get(tmp_path / "absent.png") == ""


def test_a_large_sheet_gets_smaller_tiles(tmp_path: Path) -> None:
    path = drawn(tmp_path / "sheet.png", (640, 960))
    found = tiles(path, 10, (96, 64), most=60_000)
    assert found is not None
    assert "pixels" in found.note
    assert len(found.uri) < 90_000
    assert opened(found.uri).size == (10 * found.width, 10 * found.height)
    assert abs(found.width / found.height - 96 / 64) < 0.2


def test_a_sheet_that_is_gone_is_none(tmp_path: Path) -> None:
    assert tiles(tmp_path / "sheet.png", 10, (8, 8)) is None
