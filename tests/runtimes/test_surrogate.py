"""The module with a gradient answers as the file does, its gradient is straight through, and the judge is the file."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.oracle import oracle
from bantamweight.runtimes import export_onnx, quantize_onnx
from bantamweight.runtimes._core import probe
from bantamweight.runtimes._operators import operator
from bantamweight.runtimes._surrogate import Shipped, artifact_of, surrogate
from bantamweight.runtimes.onnxruntime import open_onnx
from bantamweight.variants import build

from .conftest import lively
from .test_quantize import float_file, foreign, pixels


def test_the_gradient_is_the_rounded_weight_inside_the_range_and_nothing_outside(tmp_path: Path) -> None:
    variant = foreign("plain")
    made = quantize_onnx(float_file(variant, tmp_path), pixels(40), tmp_path / "int8.onnx")
    weight = variant.weights["1.weight"]
    scale = weight.abs().amax(dim=1, keepdim=True) / 127
    images = torch.full((1, 3, 8, 8), 0.4)
    images[0, 0, 0, 0], images[0, 0, 0, 1] = 1.25, -0.25
    images.requires_grad_(True)
    logits = surrogate(made.path)(images)
    (gradient,) = torch.autograd.grad(logits[0, 3], images)
    expected = ((weight / scale).round() * scale)[3].reshape(3, 8, 8).clone()
    expected[0, 0, 0] = expected[0, 0, 1] = 0.0
    torch.testing.assert_close(gradient[0], expected)


@pytest.mark.parametrize("net", [("resnet20", 16, 3), ("simple_cnn", 32, 3)], ids=str)
def test_a_float_graph_answers_as_onnxruntime(shipped, net) -> None:
    one = shipped(net)
    images = probe(one.variant.input_shape, 5, "graph")
    with torch.no_grad():
        found = surrogate(one.session.artifact.path)(torch.from_numpy(images)).numpy()
    expected = one.session.run(images)
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_an_int8_graph_answers_nearly_as_onnxruntime(shipped, tmp_path: Path) -> None:
    one = shipped(("resnet20", 16, 3))
    made = quantize_onnx(one.session.artifact, pixels(32, (3, 16, 16)), tmp_path / "int8.onnx")
    images = probe((3, 16, 16), 100, "graph")
    with torch.no_grad():
        found = surrogate(made.path)(torch.from_numpy(images)).numpy()
    in_float = one.session.run(images)
    with open_onnx(made, shape=(3, 16, 16), threads=1) as session:
        expected = session.run(images)
    # A sum in another order may fall on the other side of a half, and one level is what that costs.
    assert np.abs(found - expected).mean() < 0.1 * np.abs(in_float - expected).mean()
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.99


@pytest.mark.parametrize(
    ("kind", "settings", "inputs", "expected"),
    [
        ("Gemm", {"transA": 1, "alpha": 2.0, "beta": 3.0}, ([[1.0, 2.0]], [[4.0]], [1.0]), [[11.0], [19.0]]),
        ("Slice", {}, ([[1.0, 2.0, 3.0]], [0], [2**63 - 1], [1], [2]), [[1.0, 3.0]]),
        ("Pad", {}, ([[1.0]], [0, 1, 0, 2]), [[0.0, 1.0, 0.0, 0.0]]),
        ("Reshape", {"allowzero": 0}, ([[1.0, 2.0]], [0, 2, 1]), [[[1.0], [2.0]]]),
        ("Clip", {}, ([-1.0, 9.0], 0.0, 6.0), [0.0, 6.0]),
        ("Concat", {"axis": 1}, ([[1.0]], [[2.0]]), [[1.0, 2.0]]),
        ("Squeeze", {}, ([[[5.0]]], [0, -1]), [5.0]),
        ("Transpose", {"perm": [1, 0]}, ([[1.0, 2.0]],), [[1.0], [2.0]]),
        ("ReduceMean", {"keepdims": 0}, ([[1.0, 3.0]], [1]), [2.0]),
        ("HardSigmoid", {"alpha": 0.5, "beta": 0.5}, ([-9.0, 0.0, 9.0],), [0.0, 0.5, 1.0]),
    ],
)
def test_operators_by_hand(kind: str, settings: dict, inputs: tuple, expected: list) -> None:
    found = operator(kind, settings)(*(torch.tensor(one) for one in inputs))
    assert found.tolist() == expected


def test_pools_pad_as_onnx_says() -> None:
    image = torch.tensor([[[[-1.0, -2.0], [-3.0, -4.0]]]])
    settings = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    assert operator("MaxPool", settings)(image).flatten().tolist() == [-1.0, -2.0, -3.0, -4.0]
    with_zeros = operator("AveragePool", {**settings, "count_include_pad": 1})(image)
    assert with_zeros.flatten().tolist() == [-0.25, -0.5, -0.75, -1.0]
    with pytest.raises(InputError, match="count_include_pad=0"):
        operator("AveragePool", settings)


def test_what_has_no_gradient_here_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="its graph has Softmax, which has no gradient here"):
        operator("Softmax", {})
    with pytest.raises(InputError, match="MaxPool with dilations"):
        operator("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]})
    (tmp_path / "x.onnx").write_bytes(b"\xff\xffnothing")
    with pytest.raises(InputError, match="expected an ONNX classifier"):
        surrogate(tmp_path / "x.onnx")


def test_the_file_is_the_judge(tmp_path: Path) -> None:
    variant = lively("mlp", 8, 1)
    made = quantize_onnx(
        export_onnx(variant, build(variant), tmp_path / "f.onnx"), pixels(32, (1, 8, 8)), tmp_path / "q.onnx"
    )
    session = open_onnx(artifact_of(variant, made.path), shape=(1, 8, 8), threads=1)
    judge = Shipped(session)
    assert copy.deepcopy(judge) is judge
    asked = oracle(judge, fold=False, surrogate=surrogate(made.path))
    images = probe((1, 8, 8), 70, "judge")
    np.testing.assert_array_equal(asked.judge(torch.from_numpy(images)).numpy(), session.run(images))
    assert not judge(torch.from_numpy(images).requires_grad_(True)).requires_grad


def test_a_file_knows_its_variant(tmp_path: Path) -> None:
    variant = lively("mlp", 8, 1)
    made = export_onnx(variant, build(variant), tmp_path / "net.onnx")
    assert (artifact_of(variant, made.path).kind, artifact_of(variant, made.path).parent) == ("onnx", variant.hash)
    with pytest.raises(InputError, match="was made from another variant than 'other'"):
        artifact_of(replace(variant, name="other", classes=("a",)), made.path)
    proto = onnx.load(made.path)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "bare.onnx")
    with pytest.raises(InputError, match="does not say which variant"):
        artifact_of(variant, tmp_path / "bare.onnx")
    for name in ("absent.onnx", "."):
        with pytest.raises(InputError, match="expected an ONNX file"):
            artifact_of(variant, tmp_path / name)
