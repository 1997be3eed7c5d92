"""The coded file: smaller than any other, exact, a whole Variant, and refused when it lies."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from bantamweight.compression import compress, load_coded, rounded, save_coded, sizes
from bantamweight.compression._coding import decoded, encoded, raw
from bantamweight.compression._decoded import _LARGEST_INDEX
from bantamweight.compression._rounded import gridded
from bantamweight.compression.magnitude import magnitude
from bantamweight.errors import InputError, StoreError
from bantamweight.loading import load_model, untrained
from bantamweight.variants import Variant, build

from .test_bitmap import assert_same, odd_state


def of(weights: dict[str, Tensor]) -> Variant:
    return Variant("net", "net", {"size": 8}, weights, ("a", "b"), {"size": [8, 8]}, ({"edit": "x"},), ("parent",))


def assert_equal(one: Variant, other: Variant) -> None:
    assert_same(dict(one.weights), dict(other.weights))
    assert (one.name, one.hash, one.lineage) == (other.name, other.hash, other.lineage)
    assert (one.factory, one.arguments, one.classes) == (other.factory, other.arguments, other.classes)
    assert (one.preprocessing, one.edits, one.program) == (other.preprocessing, other.edits, other.program)


@pytest.mark.parametrize(("name", "bar"), [("simple_cnn", 12), ("resnet_small", 12), ("resnet20", 10)])
def test_at_80_percent_and_int8_the_bar_is_met_and_the_file_is_the_variant(
    name: str, bar: float, tmp_path: Path
) -> None:
    dense = untrained(name)
    cut = rounded(compress(dense, magnitude(), sparsity=0.8)[0])
    artifact = save_coded(cut, tmp_path / "net.safetensors")
    assert (artifact.kind, artifact.parent) == ("coded", cut.hash)
    back = load_coded(artifact.path)
    assert_equal(cut, back)
    build(back)
    assert sum(4 * tensor.numel() for tensor in dense.weights.values()) >= bar * artifact.size_bytes


def test_sizes_say_what_is_written(tmp_path: Path) -> None:
    cut, _ = compress(untrained("small_cnn"), magnitude(), sparsity=0.9)
    said = sizes(cut)
    assert said["coded"] == save_coded(cut, tmp_path / "a").size_bytes < 0.95 * said["bitmap"]
    assert sizes(rounded(cut))["coded"] < 0.5 * said["coded"]
    assert "coded" not in sizes(cut.weights)


def test_independent_bits_come_near_their_entropy() -> None:
    drawn = np.random.default_rng(0)
    for share in (0.2, 0.05):
        bits = np.packbits(drawn.random(400_000) < share).tobytes()
        entropy = -(share * math.log2(share) + (1 - share) * math.log2(1 - share)) * 400_000 / 8
        assert entropy * 0.99 < len(encoded([bits])) < entropy * 1.06
        assert len(encoded([bits])) < len(zlib.compress(bits, 9))


def test_rounding_is_what_a_person_works_out() -> None:
    weight = torch.tensor([[127.0, 63.4, 63.6, -1.5], [0.254, -0.002, 0.0009, 0.0], [0.0, 0.0, 0.0, 0.0]])
    made = rounded(of({"w": weight, "bias": torch.tensor([0.3])}))
    levels = torch.tensor([[127.0, 63, 64, -2], [127, -1, 0, 0], [0, 0, 0, 0]])
    expected = levels * torch.tensor([[1.0], [0.254 / 127], [0.0]])
    torch.testing.assert_close(made.weights["w"], expected, rtol=1e-6, atol=0)
    assert made.weights["bias"].item() == torch.tensor(0.3).item()
    assert made.edits[-1] == {"edit": "round", "levels": 127, "layers": ["w"]}
    assert made.lineage[-1] == of({"w": weight, "bias": torch.tensor([0.3])}).hash
    found = gridded(made.weights["w"])
    assert found is not None
    assert found[0].tolist() == levels.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 60), st.floats(-30, 30), st.integers(0, 2**16))
def test_rounded_weights_lie_on_a_grid_that_is_found(rows: int, columns: int, size: float, seed: int) -> None:
    drawn = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=drawn) * 10.0**size
    made = rounded(of({"w": weight})).weights["w"]
    found = gridded(made)
    assert found is not None
    assert torch.equal(found[0].float() * found[1][:, None], made)
    assert torch.equal(rounded(of({"w": made})).weights["w"], made)


def test_what_is_not_on_a_grid_is_kept_as_floats() -> None:
    torch.manual_seed(0)
    for weight in (torch.randn(4, 9), torch.randn(9), torch.full((2, 2), float("nan")), -torch.zeros(2, 2)):
        assert gridded(weight) is None


def test_rounding_what_is_not_there_or_not_finite() -> None:
    with pytest.raises(InputError, match="no weight 'v' to round"):
        rounded(of({"w": torch.ones(2, 2)}), layers=["v"])
    with pytest.raises(InputError, match="NaN or infinity"):
        rounded(of({"w": torch.full((2, 2), float("inf"))}))


def test_odd_values_types_shapes_and_names_come_back_to_the_bit(tmp_path: Path) -> None:
    variant = of({**odd_state(), "grid": torch.arange(-127.0, 128).reshape(1, 255).repeat(2, 1)})
    path = save_coded(variant, tmp_path / "a").path
    assert_equal(variant, load_coded(path))
    assert set(load_file(path)) >= {"index", "positions", "levels", "values0", "scales3", "plain"}
    assert save_coded(variant, tmp_path / "b").path.read_bytes() == path.read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.floats(0, 1), st.integers(0, 2**16), st.booleans())
def test_any_mask_comes_back_to_the_bit(
    tmp_path_factory: pytest.TempPathFactory, n: int, share: float, seed: int, grid: bool
) -> None:
    drawn = torch.Generator().manual_seed(seed)
    weights = torch.randn(3, n, generator=drawn) * (torch.rand(3, n, generator=drawn) < share)
    variant = rounded(of({"w": weights})) if grid else of({"w": weights})
    assert_equal(variant, load_coded(save_coded(variant, tmp_path_factory.mktemp("any") / "c").path))


def test_a_program_travels_with_its_weights(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3)).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 2, 2),)), tmp_path / "net.pt2")
    variant = load_model(tmp_path / "net.pt2")
    back = load_coded(save_coded(variant, tmp_path / "net.safetensors").path)
    assert_equal(variant, back)
    images = torch.rand(2, 3, 2, 2)
    torch.testing.assert_close(build(back)(images), net(images))


def test_a_tensor_of_nothing_but_zeros_is_not_a_bomb(tmp_path: Path) -> None:
    variant = of({"w": torch.zeros(1000, 4000)})
    artifact = save_coded(variant, tmp_path / "a")
    assert_equal(variant, load_coded(artifact.path))
    assert artifact.size_bytes >= 16_000_000 / 2048
    with pytest.raises(InputError, match="16,000,000 bytes of weights, more than is let pass"):
        load_coded(artifact.path, most_bytes=15_000_000)


@pytest.mark.parametrize("parts", [[b""], [b"a"], [b"ab" * 500, bytes(1000)], [bytes(range(256)) * 9]])
def test_streams_are_exact_or_refused(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    for code in (encoded(parts), raw(parts)):
        assert decoded(code, len(whole)) == whole
        for wrong in (len(whole) + 1, len(whole) - 1, 10 * len(whole) + 9):
            if wrong >= 0:
                with pytest.raises(InputError, match="stream"):
                    decoded(code, wrong)
    for broken in (b"", b"\x07abc", b"\x01abc", b"\x02abc", encoded([bytes(5000)])[:-1], encoded([b"x"]) + b"y"):
        with pytest.raises(InputError, match="stream"):
            decoded(broken, 5000)


GOOD: dict[str, Any] = {
    "name": "n",
    "factory": "f",
    "arguments": {},
    "classes": [],
    "preprocessing": {},
    "edits": [],
    "lineage": [],
    "program": 0,
    "weights": [["w", "float32", [3, 3], "sparse values", 2]],
}
Index = dict[str, Any]


class Made(NamedTuple):
    """A file in parts: its index, its coded rows, its metadata."""

    index: Index
    rows: dict[str, bytes]
    said: Index


def hand_made(path: Path, change: Callable[[Made], object]) -> Path:
    """A file written here by hand, with one thing changed."""
    kept = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 0, 2.0]])
    index = json.loads(json.dumps(GOOD))
    index["hash"] = Variant("n", "f", {}, {"w": kept}).hash
    table = np.array([1.0, 2.0], "<f4").view(np.uint8).reshape(2, 4)
    rows = {f"values{byte}": raw([table[:, byte].tobytes()]) for byte in range(4)}
    rows["positions"] = raw([bytes([0b10000000, 0b10000000])])
    said: Index = {"format": "bantamweight-coded", "version": 1}
    change(Made(index, rows, said))
    text = json.dumps(index).encode()
    rows.setdefault("index", encoded([text]))
    said.setdefault("index", len(text))
    tensors = {name: torch.frombuffer(bytearray(row), dtype=torch.uint8) for name, row in rows.items() if row}
    save_file(tensors, path, metadata={"bantamweight": json.dumps(said)})
    return path


def test_the_hand_made_file_is_read(tmp_path: Path) -> None:
    found = load_coded(hand_made(tmp_path / "good", lambda _: None))
    assert found.weights["w"].tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 2]]


def weight(place: int, value: object) -> Callable[[Made], None]:
    return lambda made: made.index["weights"][0].__setitem__(place, value)


def row(name: str, content: bytes) -> Callable[[Made], None]:
    return lambda made: made.rows.__setitem__(name, content)


LIES: dict[str, Callable[[Made], object]] = {
    "too few values": row("values0", raw([b"a"])),
    "too many values": row("values0", raw([b"abc"])),
    "bits in the padding": row("positions", raw([bytes([0b10000000, 1])])),
    "other bits": row("positions", raw([bytes([0b11000000, 0b10000000])])),
    "another value": row("values3", raw([b"zz"])),
    "no positions": row("positions", b""),
    "an unknown row": row("more", raw([b"x"])),
    "levels that nobody asked for": row("levels", raw([b"x"])),
    "a bomb of deflate": row("positions", b"\x01" + zlib.compress(bytes(1 << 24), 9)[2:-4]),
    "a bomb of LZMA": row("values0", encoded([bytes(1 << 22)])),
    "a bomb in the index": lambda made: (
        made.rows.__setitem__("index", encoded([bytes(1 << 22)])),
        made.said.__setitem__("index", 1 << 22),
    ),
    "an index without an end": lambda made: made.said.__setitem__("index", _LARGEST_INDEX + 1),
    "an index of no length": lambda made: made.said.__setitem__("index", -1),
    "an index of text": lambda made: made.said.__setitem__("index", "12"),
    "huge shape": weight(2, [2**30, 2**30]),
    "astronomic shape": weight(2, [10**400]),
    "many sides": weight(2, [2**30] * 1000),
    "negative sides": weight(2, [-3, -3]),
    "zero side": weight(2, [0, 3]),
    "shape of floats": weight(2, [3.0, 3.0]),
    "shape of booleans": weight(2, [True, 9]),
    "shape missing": weight(2, None),
    "another type": weight(1, "float64"),
    "no type": weight(1, "object"),
    "a type in a list": weight(1, ["float32"]),
    "another way": weight(3, "pickle"),
    "dense with few values": weight(3, "values"),
    "more values than weights": weight(4, 10),
    "fewer values than none": weight(4, -1),
    "values in floats": weight(4, 2.0),
    "a name of numbers": weight(0, 7),
    "the same name twice": lambda made: made.index["weights"].append(made.index["weights"][0]),
    "an entry cut short": lambda made: made.index["weights"][0].pop(),
    "no weights": lambda made: made.index.pop("weights"),
    "weights of text": lambda made: made.index.__setitem__("weights", "abcde"),
    "a program that is absent": lambda made: made.index.__setitem__("program", 5),
    "another factory": lambda made: made.index.__setitem__("factory", "os:system"),
    "no hash": lambda made: made.index.pop("hash"),
    "edits of numbers": lambda made: made.index.__setitem__("edits", [3]),
    "another format": lambda made: made.said.__setitem__("format", "other"),
    "another version": lambda made: made.said.__setitem__("version", 2),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_contradicts_itself_is_refused(lie: str, tmp_path: Path) -> None:
    path = hand_made(tmp_path / "c", LIES[lie])
    with pytest.raises(InputError) as refused:
        load_coded(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400 + len(str(path))


def test_every_flipped_byte_loads_to_the_same_or_is_refused(tmp_path: Path) -> None:
    variant = rounded(of({"w": torch.randn(4, 9, generator=torch.Generator().manual_seed(0))}))
    whole = save_coded(variant, tmp_path / "whole").path.read_bytes()
    path = tmp_path / "flipped"
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 0x15
        path.write_bytes(flipped)
        try:
            assert load_coded(path).hash == variant.hash
        except InputError:
            continue


def test_other_files_are_refused_and_a_bad_place_is_said(tmp_path: Path) -> None:
    save_file({"w": torch.ones(3)}, tmp_path / "plain")
    (tmp_path / "text").write_text("hello")
    for other in ("plain", "text", "absent"):
        with pytest.raises(InputError, match="expected a coded file"):
            load_coded(tmp_path / other)
    with pytest.raises(StoreError, match="can't be written"):
        save_coded(of({"w": torch.ones(3)}), tmp_path / "text" / "c")
