"""The sparse file: small, exact, and refused when it lies."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bantamweight import variants
from bantamweight.compression import compress, load_bitmap, save_bitmap, sizes
from bantamweight.compression.magnitude import magnitude
from bantamweight.errors import InputError, StoreError
from bantamweight.models.resnet_small import resnet_small
from bantamweight.models.simple_cnn import simple_cnn
from bantamweight.variants import Variant

State = dict[str, Tensor]


def bits_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def assert_same(one: State, other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for key, tensor in one.items():
        assert (tensor.dtype, tensor.shape) == (other[key].dtype, other[key].shape), key
        assert bits_of(tensor) == bits_of(other[key]), key


@pytest.mark.parametrize("factory", [simple_cnn, resnet_small], ids=["simple_cnn", "resnet_small"])
def test_at_80_percent_the_file_is_a_quarter_of_dense_and_loads_to_the_bit(
    factory: Callable[[], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    dense = Variant(factory.__name__, factory.__name__, {}, factory().state_dict())
    cut, _ = compress(dense, magnitude(), sparsity=0.8)
    artifact = save_bitmap(cut, tmp_path / "cut.bitmap.safetensors")
    variants.save(cut, tmp_path / "dense")
    on_disk = (tmp_path / "dense" / "weights.safetensors").stat().st_size
    assert on_disk >= 4 * artifact.size_bytes
    assert (artifact.kind, artifact.parent) == ("bitmap", cut.hash)
    assert_same(dict(cut.weights), load_bitmap(artifact.path))
    said = sizes(cut)
    assert said["dense_fp32"] == on_disk
    assert said["bitmap"] == artifact.size_bytes
    assert said["gzip"] == len(gzip.compress((tmp_path / "dense" / "weights.safetensors").read_bytes(), 6, mtime=0))


def test_a_dense_state_costs_no_more_than_its_names(tmp_path: Path) -> None:
    state = simple_cnn(channels=1, classes=3, size=8).state_dict()
    save_file(state, tmp_path / "plain.safetensors")
    save_bitmap(state, tmp_path / "b.safetensors")
    plain = (tmp_path / "plain.safetensors").stat().st_size
    assert (tmp_path / "b.safetensors").stat().st_size < plain + 40 * len(state) + 200
    assert_same(state, load_bitmap(tmp_path / "b.safetensors"))


def odd_state() -> State:
    """Negative zero, NaN with a payload, denormals, a length that is no multiple of 8, other types, odd shapes."""
    odd = torch.zeros(1001)
    odd[3], odd[500], odd[1000] = -0.0, 1e-44, float("-inf")
    odd[7] = torch.tensor(0x7FC0BEEF, dtype=torch.int32).view(torch.float32)
    shared = torch.arange(600.0).reshape(20, 30)
    return {
        "odd": odd.reshape(7, 11, 13),
        "zero": torch.zeros(64, 64),
        "transposed": torch.where(shared > 500, shared, 0).t(),
        "view": shared[:10],
        "shared": shared,
        "empty": torch.zeros(0, 5),
        "scalar": torch.tensor(2.0),
        "count": torch.tensor(7),
        "half": torch.zeros(512, dtype=torch.bfloat16),
        "flags": torch.tensor([True, False]),
        "bits/name": torch.zeros(2048),
        "naïve ✓": torch.eye(64),
    }


def test_odd_values_types_shapes_and_names_come_back_to_the_bit(tmp_path: Path) -> None:
    state = odd_state()
    path = save_bitmap(state, tmp_path / "b").path
    assert_same(state, load_bitmap(path))
    stored = load_file(path)
    assert {"bits/odd", "bits/zero", "bits/bits/name", "dense/half", "dense/shared"} <= stored.keys()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.floats(0, 1), st.integers(0, 2**16))
def test_any_mask_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, n: int, share: float, seed: int
) -> None:
    drawn = torch.Generator().manual_seed(seed)
    weights = torch.randn(n, generator=drawn) * (torch.rand(n, generator=drawn) < share)
    path = save_bitmap({"w": weights}, tmp_path_factory.mktemp("any") / "b").path
    assert_same({"w": weights}, load_bitmap(path))


def test_the_file_is_the_same_bytes_each_time_and_leaves_nothing_beside(tmp_path: Path) -> None:
    one, two = (save_bitmap(odd_state(), tmp_path / name).path.read_bytes() for name in "ab")
    assert one == two
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="can't be written"):
        save_bitmap({"w": torch.zeros(3)}, tmp_path / "file" / "b")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="can't be written"):
        save_bitmap({"w": torch.zeros(3)}, tmp_path / "folder")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "folder"]


GOOD: dict[str, Any] = {
    "tensors": {"bits/w": torch.tensor([0b10000000, 0b10000000], dtype=torch.uint8), "values/w": torch.ones(2)},
    "said": {"format": "bantamweight-bitmap", "version": 1, "parent": "", "shapes": {"w": [3, 3]}},
}


def written(path: Path, tensors: State, said: object) -> Path:
    text = said if isinstance(said, str) else json.dumps(said)
    save_file(tensors, path, metadata={"bantamweight": text})
    return path


def test_the_hand_made_file_is_read(tmp_path: Path) -> None:
    weights = load_bitmap(written(tmp_path / "good", GOOD["tensors"], GOOD["said"]))
    assert weights["w"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 1]]


def u8(*values: int) -> Tensor:
    return torch.tensor(values, dtype=torch.uint8)


LIES: dict[str, tuple[dict[str, Tensor | None], dict[str, Any]]] = {
    "too few values": ({"values/w": torch.ones(1)}, {}),
    "too many values": ({"values/w": torch.ones(3)}, {}),
    "bits in the padding": ({"bits/w": u8(0b10000000, 0b00000001), "values/w": torch.ones(1)}, {}),
    "bits counted in the padding": ({"bits/w": u8(0b10000000, 0b00000001)}, {}),
    "too few bits": ({"bits/w": u8(0b11000000)}, {}),
    "too many bits": ({"bits/w": u8(0b11000000, 0, 0)}, {}),
    "huge shape": ({}, {"shapes": {"w": [2**30, 2**30]}}),
    "astronomic shape": ({}, {"shapes": {"w": [10**400]}}),
    "negative sides": ({}, {"shapes": {"w": [-3, -3]}}),
    "zero side": ({}, {"shapes": {"w": [0, 2**40]}}),
    "shape of floats": ({}, {"shapes": {"w": [3.0, 3.0]}}),
    "shape of booleans": ({}, {"shapes": {"w": [True, 9]}}),
    "shape of text": ({}, {"shapes": {"w": "33"}}),
    "shape missing": ({}, {"shapes": {"w": None}}),
    "no shapes": ({}, {"shapes": None}),
    "shapes as a list": ({}, {"shapes": ["w"]}),
    "nothing said of w": ({}, {"shapes": {}}),
    "another name": ({}, {"shapes": {"v": [3, 3]}}),
    "a second name": ({}, {"shapes": {"w": [3, 3], "v": [3, 3]}}),
    "bits without values": ({"values/w": None}, {}),
    "values without bits": ({"bits/w": None}, {}),
    "bits of int8": ({"bits/w": torch.tensor([-128, -128], dtype=torch.int8)}, {}),
    "values of int32": ({"values/w": torch.ones(2, dtype=torch.int32)}, {}),
    "values of float64": ({"values/w": torch.ones(2, dtype=torch.float64)}, {}),
    "bits in a matrix": ({"bits/w": u8(0b10000000, 0b10000000).reshape(1, 2)}, {}),
    "values in a matrix": ({"values/w": torch.ones(1, 2)}, {}),
    "both dense and sparse": ({"dense/w": torch.ones(3, 3)}, {}),
    "a tensor of no kind": ({"w": torch.ones(3, 3)}, {}),
    "a tensor without a name": ({"dense/": torch.ones(3, 3)}, {}),
    "another format": ({}, {"format": "other"}),
    "another version": ({}, {"version": 2}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_contradicts_itself_is_refused(lie: str, tmp_path: Path) -> None:
    tensors, said = LIES[lie]
    changed = {key: tensor for key, tensor in {**GOOD["tensors"], **tensors}.items() if tensor is not None}
    path = written(tmp_path / "b", changed, {**GOOD["said"], **said})
    with pytest.raises(InputError) as refused:
        load_bitmap(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "[" * 100_000, "1" * 5000, '{"format": NaN}'])
def test_a_header_that_is_not_ours_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a bitmap file"):
        load_bitmap(written(tmp_path / "b", GOOD["tensors"], text))


def test_other_files_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path / "whole", GOOD["tensors"], GOOD["said"]).read_bytes()
    contents = {
        "pickle": pickle.dumps({"w": [1.0]}),
        "empty": b"",
        "short": whole[:-1],
        "long": whole + b"\0",
        "header only": whole[:60],
        "huge header": (2**62).to_bytes(8, "little") + whole[8:],
        "text": b"not a tensor",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="expected a bitmap file"):
            load_bitmap(tmp_path / name)
    save_file({"w": torch.ones(3)}, tmp_path / "plain")
    for other in (tmp_path / "plain", tmp_path / "absent", tmp_path):
        with pytest.raises(InputError, match="expected a bitmap file"):
            load_bitmap(other)


def test_every_flipped_byte_of_the_header_loads_or_is_refused(tmp_path: Path) -> None:
    whole = bytearray(written(tmp_path / "whole", GOOD["tensors"], GOOD["said"]).read_bytes())
    path = tmp_path / "flipped"
    for place in range(len(whole)):
        flipped = whole.copy()
        flipped[place] ^= 0x15
        path.write_bytes(flipped)
        try:
            weights = load_bitmap(path)
        except InputError:
            continue
        assert sum(tensor.numel() for tensor in weights.values()) <= 8 * len(whole)
