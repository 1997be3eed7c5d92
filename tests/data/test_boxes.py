"""Boxes and masks from files: cut and resized as their images are; strangers' files refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bantamweight.data import Data, load
from bantamweight.data._boxes import masked
from bantamweight.errors import InputError


def picture(path: Path, boxes: list[tuple[int, int, int, int]], size: tuple[int, int] = (40, 20)) -> None:
    """Black with white boxes, so that a mask can be held against the pixels it belongs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(masked(boxes, *size)).convert("RGB").save(path)


def coco(folder: Path, change=lambda told: told) -> Path:
    """Two images, three boxes, one of them a crowd."""
    picture(folder / "a.png", [(4, 2, 12, 10), (30, 10, 38, 18)])
    picture(folder / "b.png", [(12, 4, 28, 16)])
    told: dict[str, Any] = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 20},
            {"id": 3, "file_name": "b.png", "width": 40, "height": 20},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 9, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 9, "bbox": [4, 2, 8, 8], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 9, "bbox": [30, 10, 8, 8], "iscrowd": 0},
            {"id": 3, "image_id": 3, "category_id": 1, "bbox": [12, 4, 16, 12], "iscrowd": 0},
            {"id": 4, "image_id": 3, "category_id": 9, "bbox": [0, 0, 40, 20], "iscrowd": 1},
        ],
    }
    path = folder / "boxes.json"
    path.write_text(json.dumps(change(told)))
    return path


XML = """<annotation><filename>{file}</filename><size><width>40</width><height>20</height><depth>3</depth></size>
<object><name>{kind}</name><difficult>0</difficult><bndbox><xmin>{left}</xmin><ymin>{top}</ymin>
<xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>
<object><name>{kind}</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>20</ymax>
</bndbox></object></annotation>"""


def voc(folder: Path, xml: str | bytes = XML) -> Path:
    (folder / "Annotations").mkdir()
    for name, kind, box in (("a", "dog", (4, 2, 12, 10)), ("b", "cat", (12, 4, 28, 16))):
        picture(folder / "JPEGImages" / f"{name}.png", [box])
        told = dict(zip(("left", "top", "right", "bottom"), (box[0] + 1, box[1] + 1, *box[2:]), strict=True))
        text = xml if isinstance(xml, bytes) else xml.format(file=f"{name}.png", kind=kind, **told).encode()
        (folder / "Annotations" / f"{name}.xml").write_bytes(text)
    return folder


def masks_folder(folder: Path) -> Path:
    for name, kind, box in (("a", "dog", (4, 2, 12, 10)), ("b", "cat", (12, 4, 28, 16))):
        picture(folder / "images" / kind / f"{name}.png", [box])
        picture(folder / "masks" / kind / f"{name}.png", [box])
    return folder


def agrees(data: Data) -> None:
    """Every image is white exactly where its mask is, up to the half-covered pixels of a resize."""
    split = data.splits["all"]
    assert split.masks is not None
    white = split.images[:, 0] >= 128
    for bright, mask in zip(white, split.masks, strict=True):
        assert bool(mask.any())
        assert (bright == mask).float().mean() > 0.97


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("kind", [coco, voc, masks_folder])
def test_masks_take_the_way_of_their_images(tmp_path: Path, kind, resize: str) -> None:
    path = kind(tmp_path)
    use = {coco: "coco", voc: "voc", masks_folder: "masked"}[kind]
    data = load({"use": use, "path": str(path), "size": [10, 10], "resize": resize})
    assert data.classes == ("cat", "dog")
    agrees(data)


def test_one_row_per_image_and_class_with_all_its_boxes(tmp_path: Path) -> None:
    data = load({"use": "coco", "path": str(coco(tmp_path)), "size": [20, 40], "resize": "none"})
    split = data.splits["all"]
    assert split.names == ("a.png: dog", "b.png: cat")
    assert split.labels.tolist() == [1, 0]
    assert split.masks is not None
    assert split.masks.sum(dim=(1, 2)).tolist() == [128, 192]
    assert np.array_equal(split.masks.numpy(), split.images[:, 0].numpy() > 0)
    one = load({"use": "coco", "path": str(coco(tmp_path, second_class)), "size": 16, "most": 2})
    assert one.counts == {"all": 2}


def second_class(told: dict[str, Any]) -> dict[str, Any]:
    """Both classes in the first image."""
    told["annotations"].append({"id": 5, "image_id": 7, "category_id": 1, "bbox": [0, 0, 4, 4], "iscrowd": 0})
    return told


def test_what_lies_at_a_path_is_recognised(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("coco", "voc", "masks")]
    for home in homes:
        home.mkdir()
    for made in (coco(homes[0]), voc(homes[1]), masks_folder(homes[2])):
        assert load(str(made)).preprocessing.size == (224, 224)


def test_boxes_are_cut_to_the_image_and_hold_a_pixel() -> None:
    assert masked([(-5, -5, 2, 2)], 8, 8).nonzero()[0].size == 4
    assert masked([(3.2, 3.2, 3.3, 3.3)], 8, 8).nonzero()[0].size == 1
    assert masked([(100, 100, 200, 200)], 8, 8)[7, 7] == 255
    with pytest.raises(InputError, match="at most 10,000 boxes"):
        masked([(0, 0, 1, 1)] * 10_001, 8, 8)


def without(key: str):
    return lambda told: {name: value for name, value in told.items() if name != key}


def first(what: str, **changes: Any):
    def change(told: dict[str, Any]) -> dict[str, Any]:
        told[what][0].update(changes)
        return told

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (without("annotations"), "expected COCO's images, annotations and categories"),
        (lambda _told: [1, 2], "expected COCO's images"),
        (first("annotations", bbox=[1, 2]), "expected COCO's images"),
        (first("annotations", bbox="1234"), "a bbox is str"),
        (first("annotations", bbox=[float("nan"), 1, 2, 2]), "boxes of finite numbers"),
        (first("annotations", bbox=[1, 1, float("inf"), 2]), "boxes of finite numbers"),
        (first("annotations", category_id=5), "expected COCO's images"),
        (first("annotations", image_id=99), "expected COCO's images"),
        (first("images", file_name="../../etc/passwd"), r"expected the image '../../etc/passwd' in"),
        (first("images", file_name="/etc/passwd"), "expected the image '/etc/passwd' in"),
        (first("images", file_name="a\x00b"), "expected the image 'a\ufffdb' in"),
        (first("images", width=41), "'a.png' has 40 x 20 pixels and its annotation says 41 x 20"),
        (lambda told: {**told, "annotations": []}, "expected objects"),
    ],
)
def test_annotations_that_are_not_so(tmp_path: Path, change, said: str) -> None:
    path = coco(tmp_path, change)
    with pytest.raises(InputError, match=said) as raised:
        load({"use": "coco", "path": str(path)})
    assert "\n" not in str(raised.value)


BOMB = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>
<annotation><filename>&c;</filename></annotation>"""
OUTSIDE = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>"""


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        (BOMB, "document types and entities are not allowed"),
        (OUTSIDE, "document types and entities are not allowed"),
        (BOMB.decode().replace('"1.0"', '"1.0" encoding="UTF-16"').encode("utf-16"), "document types and entities"),
        (b"<a>" * 30 + b"</a>" * 30, "nested more than 12 deep"),
        (b"<a>" + b"<b/>" * 20_001 + b"</a>", "more than 20,000 elements"),
        (b"<annotation>", "expected a VOC annotation in 'a.xml'"),
        (b"<annotation/>", "<annotation> has no <filename>"),
        (b"\xff\xfe\x00", "expected a VOC annotation"),
        (b"x" * 1_000_001, "at most 1,000,000 bytes"),
        (
            XML.replace("{right}", "1").format(file="a.png", kind="x", left=9, top=1, bottom=2).encode(),
            "before it begins",
        ),
        (XML.format(file="../x.png", kind="x", left=1, top=1, right=2, bottom=2).encode(), "expected the image"),
    ],
)
def test_xml_from_strangers(tmp_path: Path, xml: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as raised:
        load({"use": "voc", "path": str(voc(tmp_path, xml))})
    assert "\n" not in str(raised.value)


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    folder = masks_folder(tmp_path)
    (folder / "masks" / "dog" / "a.png").rename(folder / "masks" / "dog" / "z.png")
    with pytest.raises(InputError, match=r"expected a mask for 'a\.png' in masks/dog"):
        load(str(folder))
    picture(folder / "masks" / "dog" / "a.png", [(0, 0, 2, 2)], (20, 20))
    with pytest.raises(InputError, match="its image's 40 x 20 pixels"):
        load(str(folder))
    (folder / "masks" / "dog" / "a.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.png: expected an image"):
        load(str(folder))
    with pytest.raises(InputError, match="folders images and masks"):
        load({"use": "masked", "path": str(tmp_path / "images")})
