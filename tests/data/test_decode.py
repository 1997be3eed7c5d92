"""Colours survive every kind of file; what is no image is refused by name."""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bantamweight.data import Preprocessing
from bantamweight.data._decode import decode, decode_many, fit
from bantamweight.errors import InputError

AS_IS = Preprocessing((16, 16), 3, "none")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants(*colours: tuple[int, int, int]) -> Image.Image:
    """16 x 16: top left, top right, bottom left, bottom right."""
    image = Image.new("RGB", (16, 16))
    for place, colour in enumerate(colours):
        image.paste(colour, ((place % 2) * 8, (place // 2) * 8, (place % 2) * 8 + 8, (place // 2) * 8 + 8))
    return image


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    """The colours in the middle of each quadrant."""
    return [tuple(int(value) for value in pixels[:, y, x]) for y in (4, 11) for x in (4, 11)]


FOUR = (RED, GREEN, BLUE, WHITE)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF", "WEBP"])
def test_colours_survive_each_format(kind):
    content = saved(quadrants(*FOUR), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert corners(decode(content, AS_IS, name="x")) == list(FOUR)


def test_palette_grey_and_one_bit():
    palette = quadrants(*FOUR).quantize(4)
    assert palette.mode == "P"
    assert corners(decode(saved(palette), AS_IS, name="x")) == list(FOUR)
    grey = quadrants((10,) * 3, (80,) * 3, (160,) * 3, (250,) * 3).convert("L")
    assert corners(decode(saved(grey), AS_IS, name="x")) == [(v, v, v) for v in (10, 80, 160, 250)]
    bits = quadrants((0,) * 3, WHITE, WHITE, (0,) * 3).convert("1")
    assert corners(decode(saved(bits), AS_IS, name="x")) == [(0, 0, 0), WHITE, WHITE, (0, 0, 0)]


def test_cmyk_jpeg():
    pixels = decode(saved(quadrants(*FOUR).convert("CMYK"), "JPEG", quality=95), AS_IS, name="x").astype(int)
    for got, wanted in zip(corners(pixels), FOUR, strict=True):
        assert np.abs(np.subtract(got, wanted)).max() <= 8


def test_transparency_lies_on_white():
    image = quadrants(*FOUR).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat([255, 255, 0, 0], 4).astype(np.uint8)[:, None].repeat(16, 1)))
    assert corners(decode(saved(image), AS_IS, name="x")) == [RED, GREEN, WHITE, WHITE]
    half = Image.new("RGBA", (16, 16), (0, 0, 0, 128))
    assert set(corners(decode(saved(half), AS_IS, name="x"))) == {(127, 127, 127)}
    palette = quadrants(*FOUR).quantize(4)
    keyed = saved(palette, transparency=palette.getpixel((0, 0)))
    assert corners(decode(keyed, AS_IS, name="x")) == [WHITE, GREEN, BLUE, WHITE]
    grey = Image.new("LA", (16, 16), (50, 0))
    assert set(corners(decode(saved(grey), AS_IS, name="x"))) == {WHITE}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    values = np.repeat(np.repeat(np.array([[0, 257], [32896, 65535]], np.uint16), 8, 0), 8, 1)
    got = decode(saved(Image.fromarray(values), kind), AS_IS, name="x")
    assert [colour[0] for colour in corners(got)] == [0, 1, 128, 255]


def test_sixteen_bit_colour():
    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    row = b"\0" + struct.pack(">3H", 65535, 32896, 0) * 16
    header = struct.pack(">2I5B", 16, 16, 16, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 16))
    assert set(corners(decode(content + chunk(b"IEND", b""), AS_IS, name="x"))) == {(255, 128, 0)}


def test_thirty_two_bits_are_refused():
    content = saved(Image.fromarray(np.full((16, 16), 1e6, np.float32)), "TIFF")
    with pytest.raises(InputError, match=r"^scan\.tif: expected 8 or 16 bits"):
        decode(content, AS_IS, name="scan.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation):
    upright = quadrants(*FOUR)
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(turned[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert corners(decode(saved(stored, exif=exif), AS_IS, name="x")) == list(FOUR)


def test_broken_exif_does_not_cost_the_image():
    content = saved(quadrants(*FOUR), "JPEG", quality=95, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff garbage")
    assert decode(content, AS_IS, name="x").shape == (3, 16, 16)


def test_one_channel_is_luma():
    got = decode(saved(quadrants(*FOUR)), Preprocessing((16, 16), 1, "none"), name="x")
    assert [colour[0] for colour in corners(got)] == [76, 150, 29, 255]


def test_crop_keeps_the_centre_and_squash_keeps_all():
    wide = Image.new("RGB", (64, 16), RED)
    wide.paste(GREEN, (24, 0, 40, 16))
    content = saved(wide)
    assert set(corners(decode(content, Preprocessing((16, 16), 3, "crop"), name="x"))) == {GREEN}
    squashed = decode(content, Preprocessing((16, 16), 3, "squash"), name="x")
    assert tuple(squashed[:, 8, 0]) == RED
    assert tuple(squashed[:, 8, 8]) == GREEN
    with pytest.raises(InputError, match="expected 16 x 16 pixels, got 64 x 16"):
        decode(content, AS_IS, name="x")


def test_reducing_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = decode(saved(Image.fromarray(stripes)), Preprocessing((8, 8), 3, "crop"), name="x")
    assert np.abs(small[:, :, 1:-1].astype(int) - 128).max() <= 2


def test_large_jpegs_decode_like_small_ones():
    big = quadrants(*FOUR).resize((1024, 1024), Image.Resampling.NEAREST)
    got = decode(saved(big, "JPEG", quality=95), Preprocessing((16, 16), 3, "crop"), name="x").astype(int)
    for colour, wanted in zip(corners(got), FOUR, strict=True):
        assert np.abs(np.subtract(colour, wanted)).max() <= 4


def bomb() -> bytes:
    """A PNG whose header claims 40,000 x 40,000 pixels."""
    content = bytearray(saved(Image.new("L", (16, 16))))
    content[16:24] = struct.pack(">2I", 40_000, 40_000)
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected an image"),
        (b"<html>not found</html>", "expected an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n", "expected an image"),
        (saved(quadrants(*FOUR))[:60], "truncated|corrupt"),
        (saved(quadrants(*FOUR).resize((200, 200)), "JPEG")[:1500], "truncated"),
        (saved(Image.new("RGB", (7, 30))), "at least 8 x 8 pixels, got 7 x 30"),
        (bomb(), "decompression bomb"),
    ],
)
def test_bad_files_are_refused_by_name(content, reason):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=rf"^cat/bad\.jpg: .*({reason})"):
            decode(content, AS_IS, name="cat/bad.jpg")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=12), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF"]))
def test_damaged_files_never_escape_as_other_errors(place, damage, kind):
    content = bytearray(saved(quadrants(*FOUR), kind))
    place %= len(content)
    content[place : place + len(damage)] = damage
    result = decode_many([bytes(content)], Preprocessing())
    assert len(result.images) + len(result.bad) == 1


def test_good_files_keep_their_order_among_bad_ones():
    files = [saved(Image.new("RGB", (16, 16), (value,) * 3)) for value in range(20)]
    files[3] = files[11] = b"no"
    images, bad = decode_many(files, AS_IS)
    assert set(bad) == {3, 11}
    assert images[:, 0, 0, 0].tolist() == [value for value in range(20) if value not in (3, 11)]


def test_fit_enlarges_and_repeats_grey():
    pixels = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    assert fit(pixels, Preprocessing((8, 8), 1)) is pixels
    bigger = fit(pixels, Preprocessing((16, 16), 3))
    assert bigger.shape == (1, 3, 16, 16)
    assert (bigger[:, 0] == bigger[:, 2]).all()
