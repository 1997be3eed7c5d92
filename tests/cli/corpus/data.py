"""Images, folders, Parquet files and archives that can't be used, and names of data that mean nothing."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.cli.corpus.desk import Case, Cases, Desk, png_that_claims

__all__ = ["CASES"]


def judge(path: str, *more: str) -> list[str]:
    """A command that has to read the data."""
    return ["evaluate", "small_cnn", path, "--size", "16", "--classes", "2", *more]


def train(desk: Desk, path: str, source: str = "folder", *settings: str) -> list[str]:
    """The same data as a study's."""
    more = "".join(f", {setting}" for setting in settings)
    return [
        "run",
        desk.study(f"study: pets\ndata: {{use: {source}, path: {path}{more}}}\ntrain: {{model: mlp, epochs: 1}}\n"),
    ]


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def picture(desk: Desk, name: str = "whole.png", size: int = 16) -> bytes:
    """The bytes of a good picture that is not left lying about."""
    path = desk.path / desk.picture(name, size)
    content = path.read_bytes()
    path.unlink()
    return content


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 40]) + content[middle + 40 :]


IMAGES: Cases = {
    "a corrupt PNG": Case(
        lambda desk: judge(desk.with_bad("x.png", flipped(picture(desk))), "--split", "train"),
        r"train/cat/x\.png: expected an image, got a corrupt file",
    ),
    "a truncated JPEG": Case(
        lambda desk: judge(desk.with_bad("x.jpg", cut(picture(desk, "whole.jpg", 64)))),
        r"train/cat/x\.jpg: expected a whole image, got a truncated file",
    ),
    "a decompression bomb": Case(
        lambda desk: judge(desk.with_bad("x.png", png_that_claims(100_000, 100_000))),
        r"train/cat/x\.png: expected at most 89,478,485 pixels",
    ),
    "an image of 4 pixels": Case(
        lambda desk: judge(desk.with_bad("x.png", picture(desk, size=4))),
        r"x\.png: expected at least 8 x 8 pixels, got 4 x 4",
    ),
    "text called .png": Case(
        lambda desk: judge(desk.with_bad("x.png", "hello")), r"x\.png: expected an image .* got something else"
    ),
    "an empty file": Case(lambda desk: judge(desk.with_bad("x.png", "")), r"x\.png: expected an image"),
    "a web page called .jpg": Case(
        lambda desk: judge(desk.with_bad("x.jpg", "<script>alert(1)</script>")), r"x\.jpg: expected an image"
    ),
    "PostScript, for which PIL would start a program": Case(
        lambda desk: judge(desk.with_bad("x.png", "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")),
        r"x\.png: expected an image",
    ),
    "a bad image in a study": Case(
        lambda desk: train(desk, desk.with_bad("x.png", "hello"), "folder"), r"x\.png: .* or choose on_bad: skip"
    ),
    "a file name with terminal escapes": Case(
        lambda desk: judge(desk.with_bad("\x1b[31mred\n.png", "hello")),
        "train/cat/\ufffd\\[31mred\ufffd\\.png: expected",
    ),
}


def linked(desk: Desk) -> str:
    pets = desk.pets()
    (desk.path / pets / "train" / "cat" / "x.png").symlink_to("/etc/passwd")
    return pets


def piped(desk: Desk) -> str:
    pets = desk.pets()
    os.mkfifo(desk.path / pets / "train" / "cat" / "x.png")
    return pets


def emptied(desk: Desk, *, remove: bool) -> str:
    pets = Path(desk.path / desk.pets())
    for file in (pets / "test" / "dog").iterdir():
        file.unlink()
    if remove:
        (pets / "test" / "dog").rmdir()
    return "pets"


def folder(desk: Desk, *names: str) -> str:
    for name in names:
        (desk.path / "made" / name).mkdir(parents=True)
    return "made"


FOLDERS: Cases = {
    "an empty folder": Case(lambda desk: judge(folder(desk, "")), "found no folder; sort the images into CLASS/image"),
    "one class": Case(lambda desk: judge(desk.pets(names=("cat",))), r"expected at least two classes in 'pets'"),
    "a class that a split lacks": Case(
        lambda desk: judge(emptied(desk, remove=True)), r"test/dog/: class 'dog' is in train but not in test"
    ),
    "a class without images": Case(
        lambda desk: judge(emptied(desk, remove=False)), r"test/dog/: expected at least one image of class 'dog'"
    ),
    "classes without any image": Case(lambda desk: judge(folder(desk, "cat", "dog")), "found none"),
    "a file that is no folder": Case(
        lambda desk: judge(desk.file("notes.txt", "x")), "expected a folder of images, a .parquet file or a CIFAR"
    ),
    "class names that are the same once cleaned": Case(
        lambda desk: judge(desk.pets(splits=(), names=("caf\u00e9", "cafe\u0301"))), "got 'caf\u00e9' twice .* rename"
    ),
    "the same split twice": Case(
        lambda desk: judge(desk.pets(splits=("train", "training"))), "expected one train split .*keep one or merge"
    ),
    "images outside a class": Case(
        lambda desk: judge((desk.picture("pets/train/x.png"), desk.pets())[1]), "train/x.png: expected images inside"
    ),
    "a class beside the splits": Case(
        lambda desk: judge((desk.picture("pets/owl/0.png"), desk.pets())[1]), "expected only train, val and test"
    ),
    "splits without classes": Case(
        lambda desk: judge((desk.picture("pets/train/0.png"), "pets")[1]), "expected class folders inside 'train'"
    ),
    "too few images to divide": Case(
        lambda desk: train(desk, desk.pets(splits=()), "folder", "test: 0.6", "val: 0.3"),
        "has 3 images, too few to divide",
    ),
    "fractions that leave nothing": Case(
        lambda desk: train(desk, desk.pets(splits=()), "folder", "test: 0.9", "val: 0.5"), "a sum below 1"
    ),
    "a link that leaves the folder": Case(lambda desk: judge(linked(desk)), "is a link that leaves the folder"),
    "a pipe among the images": Case(lambda desk: judge(piped(desk)), "got something that is no plain file"),
    "more classes than the model": Case(
        lambda desk: judge(desk.pets(names=("cat", "dog", "eel"))), "tells 2 classes apart and the data has 3"
    ),
}


NAMES: Cases = {
    "a source with a slip": Case(lambda _: judge("digit"), r"'digit' is neither .* did you mean 'digits'\?"),
    "a source that is unknown": Case(lambda _: judge("zzz"), "'zzz' is neither a path that exists nor a source"),
    "a path that is missing": Case(lambda _: judge("no/such/folder"), "neither a path that exists nor a source"),
    "a web address": Case(lambda _: judge("https://example.org/pets.zip"), "neither a path that exists nor a source"),
    "code as data, untrusted": Case(lambda _: judge("os:system"), "'os:system' would run code .* pass --trust"),
    "a source in a study with a slip": Case(
        lambda desk: ["run", desk.study("study: a\ndata: digitz\ntrain: {model: mlp, epochs: 1}\n")],
        r"study\.yaml, line 2: data: 'digitz' is not in data; did you mean 'digits'\?",
    ),
    "a path in a study that is missing": Case(lambda desk: train(desk, "no/such"), "'no/such' does not exist"),
    "CIFAR-10 without its archive": Case(lambda _: judge("cifar10"), "needs the path of cifar-10-python.tar.gz"),
    "shared images that are not there": Case(lambda _: judge("sports10"), "expected BANTAM_DATA to name the folder"),
    "a split that is missing": Case(
        lambda desk: judge(desk.pets(), "--split", "tset"), r"no split 'tset'; did you mean 'test'\?"
    ),
    "no images at all": Case(lambda desk: judge(desk.pets(), "--n", "0"), "expected n of at least 1 image, got 0"),
    "fewer than no images": Case(lambda desk: judge(desk.pets(), "--n", "-3"), "at least 1 image, got -3"),
    "images of another size": Case(
        lambda _: ["evaluate", "small_cnn", "digits", "--size", "4", "--channels", "1"],
        "expected images of 8 to 1024 pixels",
    ),
}


def table(desk: Desk, name: str, **columns: list[object]) -> str:
    pq.write_table(pa.table(columns), desk.path / name)
    return name


def shortened(desk: Desk, name: str) -> str:
    path = desk.path / name
    path.write_bytes(cut(path.read_bytes()))
    return name


PARQUET: Cases = {
    "Parquet without images": Case(
        lambda desk: judge(table(desk, "a.parquet", text=["x"], label=[0])),
        r"a\.parquet: expected a column for the image",
    ),
    "Parquet with numbers for images": Case(
        lambda desk: judge(table(desk, "a.parquet", image=[1, 2], label=[0, 1])),
        "expected column 'image' to hold bytes",
    ),
    "a label out of range": Case(
        lambda desk: judge(desk.parquet([0, 1, 0, 7])), r"pets\.parquet row 3: expected a label from 0 to 1, got 7"
    ),
    "a negative label in a study": Case(
        lambda desk: train(desk, desk.parquet([0, 1, -1] * 4), "parquet"),
        r"row 2: expected a label from 0 to 1, got -1",
    ),
    "a truncated Parquet file": Case(
        lambda desk: judge(shortened(desk, desk.parquet([0, 1] * 9))), r"pets\.parquet: expected a Parquet file"
    ),
    "a shard that is missing": Case(
        lambda desk: judge((desk.file("made/x"), desk.parquet([0, 1], "made/train-00000-of-00002.parquet"), "made")[2]),
        "expected 2 shards .* got 1; fetch the missing ones",
    ),
    "a declared class without images": Case(lambda desk: judge(desk.parquet([0, 0])), "class 'dog': expected images"),
}


def escaping(desk: Desk, name: str) -> str:
    return desk.cifar({"../../data_batch_1": b"x"}, name)


ARCHIVES: Cases = {
    "an archive with another checksum": Case(
        lambda desk: judge(desk.cifar()), "expected the MD5 of an official CIFAR-10 archive, got .* verify: false"
    ),
    "an archive that writes outside": Case(
        lambda desk: train(desk, escaping(desk, "x.tar.gz"), "cifar10", "verify: false"), "leads out of the archive"
    ),
    "an archive with a pickle that runs code": Case(
        lambda desk: train(desk, desk.cifar({"data_batch_3": pickle.dumps(desk.payload)}), "cifar10", "verify: false"),
        r"data_batch_3: refused, because it asks for (_io|io)\.open, .*nothing in it was run",
    ),
    "an archive cut short": Case(
        lambda desk: train(desk, shortened(desk, desk.cifar()), "cifar10", "verify: false"), "got a broken one"
    ),
    "an archive of something else": Case(
        lambda desk: train(desk, desk.file("x.tar.gz", "hello"), "cifar10", "verify: false"), "expected a .tar.gz"
    ),
    "a batch that is cut short": Case(
        lambda desk: train(desk, desk.cifar({"test_batch": b"\x80\x02}"}), "cifar10", "verify: false"),
        "test_batch: expected a CIFAR batch, got a broken pickle",
    ),
}

CASES: Cases = {**IMAGES, **FOLDERS, **NAMES, **PARQUET, **ARCHIVES}
