"""Data, its content hash, its splits; the embedded digits; the cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bantamweight.data import Data, Preprocessing, Split, _cache, align, evaluation_split, load
from bantamweight.data._decode import decode_many
from bantamweight.data._gather import WHOLE, carve
from bantamweight.errors import InputError
from bantamweight.parts import names

SMALL = Preprocessing((8, 8), 1)


def split(labels, start: int = 0) -> Split:
    labels = torch.tensor(labels, dtype=torch.int64)
    images = torch.arange(start, start + len(labels), dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 8, 8)
    return Split(images.contiguous(), labels, tuple(f"{start + row}" for row in range(len(labels))))


def data(**splits) -> Data:
    return Data("toy", splits, ("a", "b"), SMALL)


def test_floats_and_take():
    part = split([0, 1, 0])
    assert torch.equal(part.floats([2, 0])[:, 0, 0, 0], torch.tensor([2 / 255, 0.0]))
    assert part.floats().dtype == torch.float32
    assert part.take([2, 1]).names == ("2", "1")
    assert part.take(slice(1, None)).labels.tolist() == [1, 0]
    assert torch.equal(part.images, split([0, 1, 0]).images)
    with pytest.raises(InputError, match="one label and one name per image"):
        Split(part.images, part.labels[:2], part.names)


def test_evaluation_takes_test_else_val_else_everything():
    whole = data(train=split([0, 1]), val=split([1], 10), test=split([0], 20))
    assert evaluation_split(whole)[0] == "test"
    assert evaluation_split(data(train=split([0, 1]), val=split([1], 10)))[0] == "val"
    name, everything = evaluation_split(data(train=split([0, 1])))
    assert (name, len(everything)) == ("all", 2)
    assert evaluation_split(whole, "train")[1].names == ("0", "1")
    assert len(evaluation_split(whole, "all")[1]) == 4
    with pytest.raises(InputError, match="no split 'tset'; did you mean 'test'"):
        evaluation_split(whole, "tset")


def test_align_maps_classes_by_name():
    mapped = align(data(train=split([0, 1, 1])), ["b", "c", "a"])
    assert mapped.classes == ("b", "c", "a")
    assert mapped.splits["train"].labels.tolist() == [2, 0, 0]
    same = data(train=split([0, 1]))
    assert align(same, ["a", "b"]) is same
    with pytest.raises(InputError, match="classes that the model does not know: 'b'"):
        align(same, ["a", "c"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"splits": {}}, "got none"),
        ({"classes": ("a",)}, "at least two classes"),
        ({"classes": ("a", "a")}, "'a' twice"),
        ({"splits": {"train": split([0, 2])}}, "labels from 0 to 1 in 'toy/train', got 2 for '1'"),
        ({"splits": {"train": split([-1])}}, "got -1"),
        ({"preprocessing": Preprocessing((8, 8), 3)}, "images of shape"),
    ],
)
def test_data_that_makes_no_sense_is_refused(change, reason):
    given = {"name": "toy", "splits": {"train": split([0, 1])}, "classes": ("a", "b"), "preprocessing": SMALL}
    with pytest.raises(InputError, match=reason):
        Data(**(given | change))


def test_content_depends_on_all_that_counts_and_nothing_else():
    first = data(train=split([0, 1]), test=split([0], 5))
    renamed = Split(*(getattr(first.splits["train"], key) for key in ("images", "labels")), ("x", "y"))
    same = Data("other", {"test": split([0], 5), "train": renamed}, ("a", "b"), SMALL, skipped=("z",))
    assert same.content == first.content
    others = [
        data(train=split([1, 1]), test=split([0], 5)),
        data(train=split([0, 1], 1), test=split([0], 5)),
        data(train=split([0, 1]), val=split([0], 5)),
        Data("toy", first.splits, ("a", "c"), SMALL),
        Data("toy", first.splits, ("a", "b"), Preprocessing((8, 8), 1, "squash")),
    ]
    assert len({first.content, *(other.content for other in others)}) == 6


@pytest.mark.parametrize(
    "plain",
    [{"size": 0}, {"size": [8]}, {"size": "8"}, {"size": [8.5, 8]}, {"channels": 4}, {"resize": "x"}, {"sz": 8}],
)
def test_preprocessing_is_checked(plain):
    with pytest.raises(InputError):
        Preprocessing.from_dict(plain)


def test_preprocessing_through_json():
    one = Preprocessing((20, 30), 1, "squash")
    assert Preprocessing.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert len({one, Preprocessing((20, 30), 1, "squash")}) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(3, 40), min_size=2, max_size=6),
    st.floats(0.05, 0.3),
    st.floats(0.05, 0.3),
    st.integers(0, 2**31),
)
def test_splits_are_disjoint_stratified_and_stable(sizes, val, test, seed):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    whole = Split(
        torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8),
        torch.tensor(labels),
        tuple(str(row) for row in range(len(labels))),
    )
    classes = [f"class {label}" for label in range(len(sizes))]
    parts = carve({WHOLE: whole}, classes, seed=seed, val=val, test=test)
    rows = [int(name) for part in parts.values() for name in part.names]
    assert sorted(rows) == list(range(len(labels)))
    for key, share in (("val", val), ("test", test)):
        counts = torch.bincount(parts[key].labels, minlength=len(sizes)).tolist()
        assert counts == [max(1, round(share * size)) for size in sizes]
    again = carve({WHOLE: whole}, classes, seed=seed, val=val, test=test)
    assert all(again[key].names == parts[key].names for key in parts)


def test_fractions_are_checked():
    for val, test in ((0.5, 0.5), (-0.1, 0.2), (0.0, 1.0)):
        with pytest.raises(InputError, match="fractions with a sum below 1"):
            load({"use": "digits", "val": val, "test": test})


def test_digits():
    digits = load("digits")
    assert digits.counts == {"train": 1078, "val": 269, "test": 450}
    assert digits.classes == tuple("0123456789")
    assert digits.preprocessing == Preprocessing((8, 8), 1, "crop")
    from sklearn.datasets import load_digits

    raw = load_digits()
    row = int(digits.splits["test"].names[0].split("/")[1])
    wanted = np.rint(raw.images[row] * 255 / 16)
    assert (digits.splits["test"].images[0, 0].numpy() == wanted).all()
    assert digits.splits["test"].labels[0] == raw.target[row]
    assert load("digits").content == digits.content
    assert load({"use": "digits", "seed": 1}).content != digits.content
    bigger = load({"use": "digits", "size": 32, "channels": 3})
    assert bigger.splits["train"].images.shape == (1078, 3, 32, 32)
    assert bigger.splits["train"].names == digits.splits["train"].names


def test_digits_fit_a_models_preprocessing():
    assert load("digits", preprocessing=Preprocessing((16, 16), 3)).splits["val"].images.shape == (269, 3, 16, 16)


def test_sources_are_found_without_torch():
    known = {"digits", "folder", "parquet", "cifar10", "cifar100", "sports10", "cifar10_jpeg", "planted"}
    known |= {"coco", "voc", "masked"}
    assert known <= set(names("data"))
    code = "import sys, bantamweight.parts as p; p.names('data'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_missing_shared_data_is_said(monkeypatch, tmp_path):
    monkeypatch.delenv("BANTAM_DATA", raising=False)
    with pytest.raises(InputError, match="expected BANTAM_DATA to name the folder that holds sports10"):
        load("sports10")
    monkeypatch.setenv("BANTAM_DATA", str(tmp_path))
    with pytest.raises(InputError, match="found none; check BANTAM_DATA"):
        load("cifar10_jpeg")


def test_sports_and_cache(shared, cache, monkeypatch):
    monkeypatch.setenv("BANTAM_DATA", str(shared / "data"))
    first = load("sports10")
    assert first.counts == {"train": 1600, "val": 500, "test": 1000}
    assert len(first.classes) == 10
    assert len(list((cache / "decoded").iterdir())) == 3
    monkeypatch.setattr(_cache, "decode_many", lambda *_: pytest.fail("decoded again"))
    second = load("sports10")
    for key in first.splits:
        assert torch.equal(first.splits[key].images, second.splits[key].images)
    assert second.content == first.content


def png(value: int, picture) -> bytes:
    import io

    file = io.BytesIO()
    picture(value).save(file, "PNG")
    return file.getvalue()


def test_a_hit_equals_a_miss_also_for_bad_files(cache, picture):
    files = [png(1, picture), b"no image", png(2, picture)]
    miss = _cache.decoded(files, Preprocessing())
    assert len(list((cache / "decoded").iterdir())) == 1
    hit = _cache.decoded(files, Preprocessing())
    plain = decode_many(files, Preprocessing())
    assert (hit.images == miss.images).all()
    assert (hit.images == plain.images).all()
    assert hit.bad == miss.bad == plain.bad
    _cache.decoded(files, Preprocessing(channels=1))
    _cache.decoded(files[::-1], Preprocessing())
    assert len(list((cache / "decoded").iterdir())) == 3


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_decoded_anew(cache, picture, damage):
    files = [png(value, picture) for value in range(3)]
    wanted = _cache.decoded(files, Preprocessing())
    (entry,) = (cache / "decoded").iterdir()
    content = bytearray(entry.read_bytes())
    if damage == "flip":
        content[-5] ^= 255
    entry.write_bytes({"cut": content[:-100], "flip": content, "empty": b""}[damage])
    assert (_cache.decoded(files, Preprocessing()).images == wanted.images).all()


def test_an_unusable_cache_is_not_used(monkeypatch, tmp_path, picture):
    files = [png(1, picture)]
    wanted = decode_many(files, Preprocessing()).images
    (tmp_path / "file").write_text("not a folder")
    for home in ("/proc/nothing/here", str(tmp_path / "file" / "below"), ""):
        monkeypatch.setenv("BANTAM_CACHE", home)
        assert (_cache.decoded(files, Preprocessing()).images == wanted).all()
    monkeypatch.setenv("BANTAM_CACHE", str(tmp_path / "full"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_cache, "save_file", full)
    assert (_cache.decoded(files, Preprocessing()).images == wanted).all()
    assert os.listdir(tmp_path / "full" / "decoded") == []
