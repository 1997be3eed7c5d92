"""Parquet in the hub's layout, its splits, and rows that are wrong."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bantamweight.data import load
from bantamweight.errors import InputError


@pytest.fixture
def table(picture):
    """Rows of pictures with labels, as the hub's `datasets` writes them."""

    def make(labels, *, start: int = 0, names=("cat", "dog"), image="image", label="label", coarse=False) -> pa.Table:
        images = []
        for row in range(len(labels)):
            file = io.BytesIO()
            picture(start + row).save(file, "PNG")
            images.append({"bytes": file.getvalue(), "path": None})
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        columns = {image: pa.array(images, kind), label: pa.array(labels)}
        features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        if coarse:
            columns["coarse_label"] = pa.array([0] * len(labels))
            features["coarse_label"] = {"names": ["animal"], "_type": "ClassLabel"}
        made = pa.table(columns)
        if not names:
            return made
        return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})

    return make


def test_one_file_is_divided(table, tmp_path):
    pq.write_table(table([0, 1] * 20), tmp_path / "pets.parquet")
    data = load(str(tmp_path / "pets.parquet"))
    assert data.name == "pets"
    assert data.classes == ("cat", "dog")
    assert data.counts == {"train": 24, "val": 6, "test": 10}
    assert load(str(tmp_path / "pets.parquet"), whole=True).counts == {"all": 40}


def test_files_by_split_and_shards(table, tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(table([0, 1] * 5), tmp_path / "data" / "train-00000-of-00002.parquet")
    pq.write_table(table([1, 0] * 5, start=50), tmp_path / "data" / "train-00001-of-00002.parquet")
    pq.write_table(table([0, 1], start=90), tmp_path / "data" / "test-00000-of-00001.parquet")
    data = load(str(tmp_path))
    assert data.counts == {"train": 16, "val": 4, "test": 2}
    assert data.splits["test"].names[0] == "data/test-00000-of-00001.parquet row 0"
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(InputError, match=r"expected 2 shards .* got 1"):
        load(str(tmp_path))


def test_other_column_names(table, tmp_path):
    pq.write_table(table([0, 1] * 4, image="img", label="fine_label", coarse=True), tmp_path / "a.parquet")
    assert sum(load(str(tmp_path / "a.parquet")).counts.values()) == 8
    with pytest.raises(InputError, match="no column 'imgs'; did you mean 'img'"):
        load({"use": "parquet", "path": str(tmp_path / "a.parquet"), "image": "imgs"})
    renamed = table([0, 1] * 4, names=()).rename_columns(["blob", "kind"])
    pq.write_table(renamed, tmp_path / "b.parquet")
    with pytest.raises(InputError, match=r"expected a column for the image .* name it with image: COLUMN"):
        load(str(tmp_path / "b.parquet"))
    spec = {"use": "parquet", "path": str(tmp_path / "b.parquet"), "image": "blob", "label": "kind"}
    assert load(spec).classes == ("0", "1")


def test_text_labels_without_metadata(table, tmp_path):
    pq.write_table(table(["owl", "ant"] * 4, names=()), tmp_path / "a.parquet")
    data = load(str(tmp_path / "a.parquet"), whole=True)
    assert data.classes == ("ant", "owl")
    assert data.splits["all"].labels[:2].tolist() == [1, 0]


@pytest.mark.parametrize("wrong", [2, -1, None, 10**12])
def test_labels_out_of_range_are_named_or_skipped(table, tmp_path, wrong):
    pq.write_table(table([0, 1] * 5 + [wrong]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"^a\.parquet row 10: expected a label from 0 to 1, got"):
        load(str(tmp_path / "a.parquet"))
    data = load({"use": "parquet", "path": str(tmp_path / "a.parquet"), "on_bad": "skip"})
    assert data.skipped == ("a.parquet row 10",)
    assert sum(data.counts.values()) == 10


def test_bad_images_are_named_or_skipped(table, tmp_path):
    good = table([0, 1] * 5)
    cells = good["image"].to_pylist()
    cells[3] = {"bytes": b"nothing", "path": "x.png"}
    cells[4] = {"bytes": None, "path": "/etc/passwd"}
    cells[5] = None
    column = pa.array(cells, good.schema.field("image").type)
    pq.write_table(
        good.set_column(0, "image", column).replace_schema_metadata(good.schema.metadata), tmp_path / "a.parquet"
    )
    with pytest.raises(InputError, match=r"a\.parquet row 4: expected the bytes .*\(and 2 more\)"):
        load(str(tmp_path / "a.parquet"))
    data = load({"use": "parquet", "path": str(tmp_path / "a.parquet"), "on_bad": "skip", "divide": False})
    assert set(data.skipped) == {f"a.parquet row {row}" for row in (3, 4, 5)}


def test_a_declared_class_without_images(table, tmp_path):
    pq.write_table(table([0, 1] * 5, names=("cat", "dog", "eel")), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="class 'eel': expected images of it"):
        load(str(tmp_path / "a.parquet"))
    pq.write_table(table([0, 0], names=("cat", "dog")), tmp_path / "test.parquet")
    assert load(str(tmp_path / "test.parquet")).counts == {"test": 2}  # to judge on, one class will do


def test_files_that_do_not_fit(table, tmp_path):
    (tmp_path / "a").mkdir()
    pq.write_table(table([0, 1] * 5), tmp_path / "a" / "train.parquet")
    pq.write_table(table([0, 1] * 5, names=("dog", "cat")), tmp_path / "a" / "test.parquet")
    with pytest.raises(InputError, match="expected the same class names"):
        load(str(tmp_path / "a"))
    (tmp_path / "a" / "test.parquet").rename(tmp_path / "a" / "extra.parquet")
    with pytest.raises(InputError, match=r"begin with train, val or test, got 'extra.parquet'"):
        load(str(tmp_path / "a"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(InputError, match=r"^b\.parquet: expected a Parquet file"):
        load(str(tmp_path / "b.parquet"))
    pq.write_table(pa.table({"image": [1, 2], "label": [0, 1]}), tmp_path / "c.parquet")
    with pytest.raises(InputError, match="expected column 'image' to hold bytes"):
        load(str(tmp_path / "c.parquet"))
    pq.write_table(table([]), tmp_path / "d.parquet")
    with pytest.raises(InputError):
        load(str(tmp_path / "d.parquet"))
    with pytest.raises(InputError, match="does not exist"):
        load({"use": "parquet", "path": str(tmp_path / "missing")})


def test_broken_pages_are_said(table, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(table([0, 1] * 20), path, compression="snappy")
    content = bytearray(path.read_bytes())
    content[4:3000] = b"\xff" * 2996
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"^a\.parquet"):
        load(str(path))


def test_the_shared_test_file(shared):
    data = load(shared / "data" / "cifar10" / "test.parquet")
    assert data.counts == {"test": 8000}
    assert data.classes[0] == "airplane"
    assert data.splits["test"].images.shape == (8000, 3, 32, 32)
