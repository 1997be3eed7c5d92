"""Int8 is the arithmetic it says it is, the same bytes each time, and what stayed float is said."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.parts import find
from bantamweight.runtimes import export_onnx, fusion, quantize_onnx
from bantamweight.runtimes._core import probe
from bantamweight.runtimes.onnxruntime import open_onnx
from bantamweight.variants import Artifact, Variant, build

from .conftest import Shipped


def foreign(name: str) -> Variant:
    factory = f"tests.runtimes.nets:{name}"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        weights = find("models", factory, trust=True)().state_dict()
    return Variant(name=name, factory=factory, weights=weights, preprocessing={"size": (8, 8), "channels": 3})


def float_file(variant: Variant, folder: Path) -> Artifact:
    return export_onnx(variant, build(variant, trust=True), folder / "float.onnx")


def pixels(n: int, shape: tuple[int, int, int] = (3, 8, 8)) -> np.ndarray:
    """Images whose extremes are 0 and 1."""
    images = probe(shape, n, "calibrate")
    images[0, 0, 0, :2] = 0.0, 1.0
    return images


def test_one_product_is_what_a_person_works_out(tmp_path: Path) -> None:
    variant = foreign("plain")
    images = probe((3, 8, 8), 5, "shown")
    made = quantize_onnx(float_file(variant, tmp_path), pixels(40), tmp_path / "int8.onnx")
    weight, bias = (variant.weights[f"1.{name}"].numpy().astype(np.float64) for name in ("weight", "bias"))
    scale = np.abs(weight).max(axis=1, keepdims=True) / 127
    whole = np.rint(weight / scale)
    levels = np.rint(images.reshape(5, -1).astype(np.float64) * 255)
    steps = scale[:, 0] / 255
    expected = (levels @ whole.T + np.rint(bias / steps)) * steps
    with open_onnx(made, shape=(3, 8, 8), threads=1) as session:
        np.testing.assert_allclose(session.run(images), expected, rtol=0, atol=2e-5)
    in_float = images.reshape(5, -1) @ weight.T + bias
    assert 1e-4 < np.abs(in_float - expected).max() < 0.05, "the rounding is there, and small"


def test_seven_bits_are_half_as_fine(tmp_path: Path) -> None:
    source = float_file(foreign("plain"), tmp_path)
    largest = {}
    for bits in (7, 8):
        made = quantize_onnx(source, pixels(32), tmp_path / f"{bits}.onnx", weight_bits=bits)
        constants = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(made.path).graph.initializer}
        (weight,) = (one for one in constants.values() if one.shape == (10, 192))
        assert weight.dtype == np.int8
        largest[bits] = int(np.abs(weight.astype(int)).max())
    assert largest == {7: 64, 8: 127}


@pytest.mark.parametrize("net", [("simple_cnn", 32, 3), ("resnet_small", 16, 3)], ids=str)
def test_every_product_of_the_zoo_becomes_integer(shipped, net, tmp_path: Path) -> None:
    one: Shipped = shipped(net)
    assert one.session.artifact is not None
    products = sum(isinstance(part, torch.nn.Conv2d | torch.nn.Linear) for part in one.module.modules())
    before = fusion(one.session.artifact.path)
    assert len(before.heavy) == products
    assert (before.integer, before.conversions) == ({}, 0)
    made = quantize_onnx(one.session.artifact, pixels(32, one.variant.input_shape), tmp_path / "int8.onnx")
    after = fusion(made.path)
    assert after.heavy == ()
    assert sum(after.integer[name] for name in ("QLinearConv", "QGemm")) == products
    reasons = {node.operation: node.because for node in after.floats}
    assert reasons["Sub"] == "it works on the images themselves"
    assert reasons["Div"] == "it works on floats: Sub comes before it"
    assert "every product is integer" in str(after)
    assert made.size_bytes < one.session.artifact.size_bytes / 3
    images = probe(one.variant.input_shape, 65, "shown")
    with open_onnx(made, shape=one.variant.input_shape, threads=1) as session:
        answered = session.run(images)
    expected = one.session.run(images)
    assert np.abs(answered - expected).max() < 0.25 * np.abs(expected).max()
    assert len(np.unique(answered)) > 256, "logits are not rounded to a byte"


def test_what_stays_float_is_named_with_its_reason(tmp_path: Path) -> None:
    variant = foreign("bent")
    made = quantize_onnx(float_file(variant, tmp_path), pixels(32), tmp_path / "int8.onnx")
    (node,) = fusion(made.path).floats
    assert node.operation == "Erf"
    assert "no integer kernel for Erf" in node.because or "goes on in float" in node.because
    assert fusion(made.path).conversions >= 2


def test_the_same_bytes_each_time_and_nothing_beside(tmp_path: Path, monkeypatch, capfd) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    source = float_file(foreign("plain"), tmp_path)
    before = source.path.read_bytes()
    one, two = (quantize_onnx(source, pixels(40), tmp_path / name) for name in ("one.onnx", "two.onnx"))
    assert one.path.read_bytes() == two.path.read_bytes()
    assert one.meta["hash"] == two.meta["hash"]
    assert source.path.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"float.onnx", "one.onnx", "two.onnx", "scratch"}
    assert list(scratch.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    told = {entry.key: entry.value for entry in onnx.load(one.path).metadata_props}
    assert set(told) == {f"bantamweight.{key}" for key in ("classes", "preprocessing", "parent", "int8")}
    assert str(tmp_path).encode() not in one.path.read_bytes()


@pytest.mark.parametrize("n", [0, 2, 31])
def test_too_few_images_are_refused(tmp_path: Path, n: int) -> None:
    with pytest.raises(InputError, match=f"at least 32 images to calibrate int8 on, got {n}"):
        quantize_onnx(float_file(foreign("plain"), tmp_path), pixels(40)[:n], tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


def test_images_and_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    source = float_file(foreign("plain"), tmp_path)
    with pytest.raises(InputError, match="expected float32 images"):
        quantize_onnx(source, pixels(40).astype(np.float64), tmp_path / "int8.onnx")
    with pytest.raises(InputError, match="can't be quantized"):
        quantize_onnx(source, pixels(40, (1, 8, 8)), tmp_path / "int8.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"not a graph")
    broken = replace(source, path=tmp_path / "broken.onnx")
    with pytest.raises(InputError, match="can't be quantized"):
        quantize_onnx(broken, pixels(40), tmp_path / "int8.onnx")
    with pytest.raises(InputError, match=r"can't run broken\.onnx"):
        fusion(broken.path)


def test_the_file_runs_with_onnxruntime_alone(tmp_path: Path) -> None:
    made = quantize_onnx(float_file(foreign("bent"), tmp_path), pixels(32), tmp_path / "int8.onnx")
    images = probe((3, 8, 8), 3, "alone")
    np.save(tmp_path / "images.npy", images)
    code = """
import sys, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
np.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})[0])
assert not {"torch", "bantamweight", "onnx"} & set(sys.modules)
"""
    paths = [made.path, tmp_path / "images.npy", tmp_path / "logits.npy"]
    subprocess.run([sys.executable, "-I", "-c", code, *map(str, paths)], check=True, cwd=tmp_path, timeout=60)
    with open_onnx(made, shape=(3, 8, 8), threads=1) as session:
        np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), session.run(images))
