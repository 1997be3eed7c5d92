"""CIFAR archives of our own making in every form; hostile ones run nothing."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from bantamweight.data import _archive, cifar10, load
from bantamweight.data._pickles import read_pickle
from bantamweight.errors import InputError

NAMES10 = [f"class {label}" for label in range(10)]
NAMES100 = [f"fine {label}" for label in range(100)]


def rows(count: int, classes: int, seed: int) -> tuple[np.ndarray, list[int]]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)
    return pixels, [row % classes for row in range(count)]


def as_python2(batch: dict) -> bytes:
    """The opcodes of the published files: Python 2 text, protocol 2, numpy's old module names."""
    content = pickle.dumps({key.encode("latin1"): value for key, value in batch.items()}, protocol=2)
    return content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def files(kind: str, form: str, protocol: int = 2) -> dict[str, bytes]:
    ten = kind == "cifar10"
    classes, names = (10, NAMES10) if ten else (100, NAMES100)
    train = [f"data_batch_{number}" for number in range(1, 6)] if ten else ["train"]
    made = {}
    for seed, name in enumerate([*train, "test_batch" if ten else "test"]):
        pixels, labels = rows(40 if ten else 300, classes, seed)
        if form == "binary":
            head = [[label] if ten else [label // 5, label] for label in labels]
            made[name + ".bin"] = np.hstack([np.array(head, np.uint8), pixels]).tobytes()
        else:
            batch = {"data": pixels, "labels" if ten else "fine_labels": labels, "batch_label": name}
            made[name] = as_python2(batch) if protocol == 2 else pickle.dumps(batch, protocol=protocol)
    if form == "binary":
        made["batches.meta.txt" if ten else "fine_label_names.txt"] = "\n".join([*names, ""]).encode()
    else:
        made["batches.meta" if ten else "meta"] = as_python2({"label_names" if ten else "fine_label_names": names})
    return made


def archive(path, contents: dict[str, bytes], folder: str = "cifar") -> str:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"{folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return str(path)


def extracted(path, contents: dict[str, bytes]) -> str:
    path.mkdir(parents=True)
    for name, content in contents.items():
        (path / name).write_bytes(content)
    return str(path)


@pytest.mark.parametrize("kind", ["cifar10", "cifar100"])
@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("place", ["archive", "folder"])
def test_every_form_gives_the_same(tmp_path, kind, form, place):
    contents = files(kind, form)
    path = (archive if place == "archive" else extracted)(tmp_path / "x", contents)
    data = load({"use": kind, "path": path, "verify": False, "divide": False})
    classes, count = (10, 40) if kind == "cifar10" else (100, 300)
    assert data.counts == {"train": 200 if classes == 10 else 300, "test": count}
    assert data.classes == tuple(NAMES10 if classes == 10 else NAMES100)
    pixels, labels = rows(count, classes, 5 if classes == 10 else 1)
    assert torch.equal(data.splits["test"].images, torch.from_numpy(pixels).reshape(-1, 3, 32, 32))
    assert data.splits["test"].labels.tolist() == labels


def test_val_is_carved_and_sizes_are_adapted(tmp_path):
    path = archive(tmp_path / "x.tar.gz", files("cifar10", "binary"))
    data = load({"use": "cifar10", "path": path, "verify": False, "size": 16, "channels": 1})
    assert data.counts == {"train": 180, "val": 20, "test": 40}
    assert data.splits["val"].images.shape == (20, 1, 16, 16)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol(protocol):
    pixels, labels = rows(5, 10, 0)
    batch = {"data": pixels, "labels": labels, "order": np.asfortranarray(np.arange(6, dtype=">i4").reshape(2, 3))}
    got = read_pickle(pickle.dumps(batch, protocol=protocol), name="x")
    assert (got["data"] == pixels).all()
    assert got["labels"] == labels
    assert (got["order"] == batch["order"]).all()


def test_checksums(tmp_path, monkeypatch):
    contents = files("cifar10", "python")
    path = archive(tmp_path / "cifar-10-python.tar.gz", contents)
    with pytest.raises(InputError, match=r"expected the MD5 of an official CIFAR-10 archive, got .* verify: false"):
        load(path)
    with pytest.raises(InputError, match=r"data_batch_1: expected MD5 c99cafc152244af753f735de768cd75f"):
        load(extracted(tmp_path / "cifar-10-batches-py", contents))
    form = cifar10._CIFAR10.forms[0]
    digest = hashlib.md5((tmp_path / "cifar-10-python.tar.gz").read_bytes()).hexdigest()
    kind = cifar10._CIFAR10._replace(forms=(form._replace(checksum=digest), cifar10._CIFAR10.forms[1]))
    monkeypatch.setattr(cifar10, "_CIFAR10", kind)
    assert load(path).counts["test"] == 40  # with the checksum right, by path alone


def test_nothing_is_downloaded_unasked(monkeypatch, tmp_path, cache):
    def no_network(*_, **__):
        pytest.fail("went to the network")

    monkeypatch.setattr(_archive.urllib.request, "urlopen", no_network)
    with pytest.raises(InputError, match=r"needs the path of cifar-10-python.tar.gz .* or download: true"):
        load("cifar10")
    content = Path(archive(tmp_path / "x.tar.gz", files("cifar10", "python"))).read_bytes()
    monkeypatch.setattr(_archive.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(content))
    with pytest.raises(InputError, match="expected MD5 c58f30108f718f92721af3b95e74349a"):
        load({"use": "cifar10", "download": True})
    assert os.listdir(cache / "downloads") == []
    target = cache / "downloads" / "x.tar.gz"
    assert _archive.fetch("https://x", target, hashlib.md5(content).hexdigest()).read_bytes() == content
    monkeypatch.setattr(_archive.urllib.request, "urlopen", no_network)
    assert _archive.fetch("https://x", target, hashlib.md5(content).hexdigest()) == target


class Run:
    """Pickles to a call of os.system."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


HOSTILE: dict[str, bytes] = {
    "system": pickle.dumps({"data": Run("touch MARK")}, protocol=0),
    "eval": b'cbuiltins\neval\n(S\'open("MARK", "w")\'\ntR.',
    "nested": b"cnumpy\nndarray.__reduce__\n.",
    "module": b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.",
    "state": b"c_codecs\nencode\n(N}S'__defaults__'\n(S'x'\ntstb.",
    "class": b"cnumpy\nndarray\n}S'checked'\nNsb.",
    "dictionary": pickle.dumps(OrderedDict(data=1)),
    "persistent": b"Pid\n.",
    "extension": b"\x82\x01.",
    "list": pickle.dumps([1]),
    "cut": pickle.dumps({"data": list(range(1000))})[:50],
    "empty": b"",
    "objects": pickle.dumps({"data": np.array([{}, None], dtype=object)}, protocol=2),
    "shape": pickle.dumps({"data": np.zeros(4, np.uint8)}, protocol=2).replace(b"K\x04", b"K\x7f"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_run_nothing(tmp_path, case):
    mark = tmp_path / "ran"
    contents = files("cifar10", "python") | {"data_batch_3": HOSTILE[case].replace(b"MARK", str(mark).encode())}
    with pytest.raises(InputError, match=r"^data_batch_3: (refused|expected)"):
        load({"use": "cifar10", "path": archive(tmp_path / "x", contents), "verify": False})
    assert not mark.exists()
    pixels, _ = rows(2, 10, 0)
    assert (read_pickle(pickle.dumps({"data": pixels}, protocol=2), name="x")["data"] == pixels).all()


def tar_with(path, member: tarfile.TarInfo, content: bytes = b"") -> str:
    member.size = len(content)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return str(path)


def test_members_that_lead_out_are_refused(tmp_path):
    for name in ("../data_batch_1", "/data_batch_1", "a/../../b"):
        path = tar_with(tmp_path / "x.tar.gz", tarfile.TarInfo(name), b"x")
        with pytest.raises(InputError, match="leads out of the archive"):
            load({"use": "cifar10", "path": path, "verify": False})
    link = tarfile.TarInfo("cifar/test_batch")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(InputError, match="to be a plain file; refused"):
        load({"use": "cifar10", "path": tar_with(tmp_path / "y.tar.gz", link), "verify": False})
    outside = tmp_path / "outside"
    outside.write_bytes(files("cifar10", "binary")["test_batch.bin"])
    contents = files("cifar10", "binary")
    del contents["test_batch.bin"]
    folder = extracted(tmp_path / "folder", contents)
    os.symlink(outside, os.path.join(folder, "test_batch.bin"))
    with pytest.raises(InputError, match="expected the files of CIFAR-10"):
        load({"use": "cifar10", "path": folder, "verify": False})


def test_archives_that_unpack_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "_MOST_BYTES", 1_000_000)
    path = tar_with(tmp_path / "x.tar.gz", tarfile.TarInfo("zeros"), bytes(3_000_000))
    with pytest.raises(InputError, match="unpacked, got more"):
        load({"use": "cifar10", "path": path, "verify": False})


def test_broken_and_foreign_archives(tmp_path):
    whole = Path(archive(tmp_path / "x.tar.gz", files("cifar10", "binary"))).read_bytes()
    cases = {
        "cut": (whole[: len(whole) // 2], "broken one"),
        "noise": (b"\x1f\x8b" + bytes(range(200)), "broken one"),
        "text": (b"hello", "broken one"),
        "empty": (b"", "broken one"),
    }
    for name, (content, reason) in cases.items():
        (tmp_path / f"{name}.tar.gz").write_bytes(content)
        with pytest.raises(InputError, match=reason):
            load({"use": "cifar10", "path": str(tmp_path / f"{name}.tar.gz"), "verify": False})
    other = archive(tmp_path / "other.tar.gz", {"readme": b"x"})
    with pytest.raises(InputError, match=r"expected the files of CIFAR-10 .* got none of them"):
        load({"use": "cifar10", "path": other, "verify": False})
    with pytest.raises(InputError, match="does not exist"):
        load({"use": "cifar10", "path": str(tmp_path / "missing")})


def test_contents_that_are_wrong(tmp_path):
    pixels, labels = rows(40, 10, 0)
    python, binary = files("cifar10", "python"), files("cifar10", "binary")
    wrong = {
        "label": python | {"test_batch": as_python2({"data": pixels, "labels": [*labels[:-1], 10]})},
        "huge": python | {"test_batch": as_python2({"data": pixels, "labels": [*labels[:-1], 10**30]})},
        "text": python | {"test_batch": as_python2({"data": pixels, "labels": ["a"] * 40})},
        "few": python | {"test_batch": as_python2({"data": pixels, "labels": labels[:-1]})},
        "shape": python | {"test_batch": as_python2({"data": pixels[:, :-1], "labels": labels})},
        "dtype": python | {"test_batch": as_python2({"data": pixels.astype(np.int64), "labels": labels})},
        "names": python | {"batches.meta": as_python2({"label_names": NAMES10[:9]})},
        "length": binary | {"test_batch.bin": binary["test_batch.bin"][:-1]},
        "binary label": binary | {"test_batch.bin": b"\x0a" + binary["test_batch.bin"][1:]},
    }
    for case, contents in wrong.items():
        path = archive(tmp_path / f"{case}.tar.gz", contents)
        with pytest.raises(InputError, match=r"^(test_batch|batches\.meta)"):
            load({"use": "cifar10", "path": path, "verify": False})
    del python["batches.meta"]
    with pytest.raises(InputError, match=r"expected 'batches.meta' with the class names"):
        load({"use": "cifar10", "path": archive(tmp_path / "z.tar.gz", python), "verify": False})
