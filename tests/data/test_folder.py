"""Folders: the layouts, the bad inputs by name, and what `skip` leaves out."""

from __future__ import annotations

import os

import pytest
import torch

from bantamweight.data import Preprocessing, load
from bantamweight.errors import InputError


def test_three_splits(classes_folder):
    root = classes_folder(each=3, splits=("train", "validation", "Test"))
    data = load(str(root))
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.counts == {"train": 6, "val": 6, "test": 6}
    assert data.splits["val"].images.shape == (6, 3, 32, 32)
    assert all(name.startswith("validation/") for name in data.splits["val"].names)
    for split in data.splits.values():
        assert [data.classes[label] for label in split.labels] == [name.split("/")[1] for name in split.names]


def test_one_folder_of_classes_is_divided_by_seed(classes_folder):
    root = classes_folder(names=("a", "b", "c"), each=20)
    data = load(str(root))
    assert data.counts == {"train": 36, "val": 9, "test": 15}
    everything = [name for split in data.splits.values() for name in split.names]
    assert len(set(everything)) == len(everything) == 60
    for split in data.splits.values():
        assert len(set(torch.bincount(split.labels).tolist())) == 1  # stratified
    assert load(str(root)).content == data.content
    other = load({"use": "folder", "path": str(root), "seed": 1})
    assert other.content != data.content
    assert other.counts == data.counts


def test_whole_leaves_it_together(classes_folder):
    assert load(str(classes_folder(each=2)), whole=True).counts == {"all": 4}


def test_val_comes_out_of_train_where_there_is_none(classes_folder):
    data = load(str(classes_folder(each=10, splits=("train", "test"))))
    assert data.counts == {"train": 16, "val": 4, "test": 20}


def test_the_first_images_hold_every_class(classes_folder):
    data = load(str(classes_folder(names=("a", "b", "c"), each=4)), whole=True)
    assert data.splits["all"].labels[:6].tolist() == [0, 1, 2, 0, 1, 2]


def test_a_class_may_be_called_train(classes_folder):
    data = load(str(classes_folder(names=("bus", "train"), each=5)), whole=True)
    assert data.classes == ("bus", "train")


def test_content_ignores_paths_and_the_order_of_files(classes_folder, tmp_path):
    root = classes_folder(each=4)
    twin = tmp_path / "elsewhere"
    for file in sorted(root.rglob("*.png"), reverse=True):
        target = twin / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    assert load(str(root)).content == load(str(twin)).content
    smaller = load(str(twin), preprocessing=Preprocessing((16, 16)))
    assert smaller.content != load(str(twin)).content


def test_a_models_preprocessing_decides(classes_folder):
    wanted = Preprocessing((20, 24), 1, "squash")
    data = load(str(classes_folder(each=4)), preprocessing=wanted)
    assert data.preprocessing == wanted
    assert data.splits["train"].images.shape[1:] == (1, 20, 24)


def test_junk_is_not_an_image(classes_folder):
    root = classes_folder(each=3)
    (root / ".DS_Store").write_bytes(b"x")
    (root / "cat" / "._0.png").write_bytes(b"x")
    (root / "cat" / "Thumbs.db").write_bytes(b"x")
    (root / "README.md").write_text("about")
    (root / "__MACOSX").mkdir()
    assert sum(load(str(root)).counts.values()) == 6


BAD = {
    "corrupt": (lambda root: (root / "cat" / "000.png").write_bytes(b"no image"), r"cat/000\.png: expected an image"),
    "text": (lambda root: (root / "dog" / "notes.txt").write_text("hello"), r"dog/notes\.txt: expected an image"),
    "pipe": (lambda root: os.mkfifo(root / "cat" / "pipe.png"), r"cat/pipe\.png: .*plain file"),
    "loop": (lambda root: (root / "cat" / "loop.png").symlink_to(root / "cat" / "loop.png"), r"cat/loop\.png: .*link"),
    "nowhere": (lambda root: (root / "cat" / "gone.png").symlink_to(root / "gone"), r"cat/gone\.png: can't be read"),
    "outside": (
        lambda root: (root / "cat" / "out.png").symlink_to("/etc/passwd"),
        r"cat/out\.png: .*leaves the folder",
    ),
    "inward": (lambda root: (root / "cat" / "more").symlink_to(root / "dog"), r"cat/more: .*link to a folder"),
    "class": (lambda root: (root / "etc").symlink_to("/etc"), r"etc: .*leaves the folder"),
    "empty": (lambda root: (root / "eel").mkdir(), r"eel/: expected at least one image of class 'eel'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_named_or_skipped(classes_folder, case):
    root = classes_folder(each=5)
    damage, reason = BAD[case]
    damage(root)
    with pytest.raises(InputError, match=reason) as caught:
        load(str(root))
    assert "on_bad: skip" in str(caught.value)
    data = load({"use": "folder", "path": str(root), "on_bad": "skip"})
    assert len(data.skipped) == 1
    assert data.classes == ("cat", "dog")
    assert sum(data.counts.values()) == (9 if case == "corrupt" else 10)


def test_links_that_stay_inside_are_followed(classes_folder):
    root = classes_folder(each=3)
    (root / "cat" / "again.png").symlink_to(root / "cat" / "000.png")
    assert sum(load(str(root)).counts.values()) == 7


def test_the_number_of_bad_files_is_said(classes_folder):
    root = classes_folder(each=4)
    for row in range(3):
        (root / "cat" / f"{row:03d}.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"cat/000\.png: .* \(and 2 more\)"):
        load(str(root))


def test_classes_that_differ_between_splits(classes_folder):
    root = classes_folder(names=("cat", "dog", "eel"), each=3, splits=("train", "test"))
    for file in (root / "train" / "eel").iterdir():
        file.unlink()
    (root / "train" / "eel").rmdir()
    with pytest.raises(InputError, match="class 'eel' is in test but not in train"):
        load(str(root))
    data = load({"use": "folder", "path": str(root), "on_bad": "skip"})
    assert data.classes == ("cat", "dog")
    assert data.counts["test"] == 6
    assert set(data.skipped) == {"train/eel/", *(f"test/eel/00{row}.png" for row in range(3))}


LAYOUTS = {
    "one class": (("cat/1.png", "cat/2.png", "cat/3.png", "cat/4.png"), "at least two classes"),
    "too few": (("cat/1.png", "cat/2.png", "dog/1.png"), "class 'cat' has 2 images, too few to divide"),
    "twice": (("val/a/1.png", "validation/a/1.png"), "expected one val split.*'val', 'validation'"),
    "beside": (("train/a/1.png", "train/b/1.png", "extra/1.png"), "got also 'extra'"),
    "loose": (("train/1.png", "test/2.png"), "expected class folders inside 'test'"),
    "unsorted": (("train/1.png", "train/a/2.png", "train/b/3.png"), r"train/1\.png: expected images inside class"),
    "flat": (("1.png", "2.png"), "expected one folder per class"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_that_make_no_sense(tmp_path, picture, case):
    files, reason = LAYOUTS[case]
    for row, name in enumerate(files):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(row).save(tmp_path / "data" / name)
    with pytest.raises(InputError, match=reason):
        load(str(tmp_path / "data"))


def test_paths_that_are_no_data(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("hello")
    for spec, reason in {
        str(tmp_path / "missing"): "neither a path that exists nor a source",
        str(tmp_path / "empty"): "expected one folder per class",
        str(tmp_path / "hollow"): "found none",
        str(tmp_path / "notes.txt"): "expected a folder of images, a .parquet file or a CIFAR archive",
        "digit": "did you mean 'digits'",
        "x" * 5000: "neither a path",
        "nul\0byte": "neither a path",
        "os:system": "--trust",
    }.items():
        with pytest.raises(InputError, match=reason):
            load(spec)
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "missing")
    with pytest.raises(InputError, match="expected a folder of images, got the file"):
        load({"use": "folder", "path": str(tmp_path / "notes.txt")})
    with pytest.raises(InputError, match="folder has no setting 'sise'; did you mean 'size'"):
        load({"use": "folder", "path": str(tmp_path), "sise": 3})


def test_hostile_names_are_made_printable(tmp_path, picture):
    root = tmp_path / "data"
    for name in (b"<script>alert(1)", b"red\x1b[31m\nline", b"bad\xff", "e\u0301".encode(), "\u202egnp".encode()):
        folder = os.path.join(os.fsencode(root), name)
        os.makedirs(folder)
        for row in range(2):
            picture(row).save(os.path.join(os.fsdecode(folder), f"{row}.png"))
    data = load(str(root), whole=True)
    assert set(data.classes) == {
        "<script>alert(1)",
        "red\ufffd[31m\ufffdline",
        "bad\ufffd",
        "\xe9",
        "\ufffdgnp",
    }
    assert len(data.content.encode()) == 32
    for name in data.splits["all"].names:
        assert name.encode("utf-8").decode() == name
        assert name.isprintable()


def test_unreadable_folder_is_said(classes_folder):
    if os.geteuid() == 0:
        root = classes_folder(each=3)
        assert load(str(root)).counts  # root reads everything; nothing to refuse
        return
    root = classes_folder(each=3)
    (root / "cat").chmod(0)
    try:
        with pytest.raises(InputError, match="can't be read"):
            load(str(root))
    finally:
        (root / "cat").chmod(0o755)
