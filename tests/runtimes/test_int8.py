"""Runtimes that came later: int8 on onnxruntime, and OpenVINO where it is installed."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bantamweight.errors import InputError
from bantamweight.parts import configure, find
from bantamweight.runtimes import prepare
from bantamweight.runtimes._core import probe

from .conftest import lively

SHAPE = (1, 8, 8)


def test_int8_answers_nearly_as_float_does(tmp_path: Path) -> None:
    variant = lively("small_cnn", 8, 1)
    images = probe(SHAPE, 20, "shown")
    with (
        prepare("onnxruntime-int8", variant, threads=1, folder=tmp_path, images=probe(SHAPE, 64)) as session,
        prepare("torch", variant, threads=1, folder=tmp_path) as reference,
    ):
        answered, expected = session.run(images), reference.run(images)
    assert (session.runtime, session.threads) == ("onnxruntime_int8", 1)
    assert answered.shape == expected.shape
    assert 1e-6 < np.abs(answered - expected).max() < 0.1 * np.abs(expected).max()
    assert "64 images, 8-bit weights" in session.note
    assert "every product is integer" in session.note
    assert [path.name for path in tmp_path.iterdir()] == ["model.int8.onnx"]


def test_int8_without_images_or_with_too_few(tmp_path: Path) -> None:
    variant = lively("mlp", 8, 1)
    with pytest.raises(InputError, match="int8 needs images"):
        prepare("onnxruntime_int8", variant, threads=1, folder=tmp_path)
    with pytest.raises(InputError, match="at least 32 images to calibrate int8 on, got 2"):
        prepare("onnxruntime_int8", variant, threads=1, folder=tmp_path, images=probe(SHAPE, 2))
    assert list(tmp_path.iterdir()) == []


def test_a_dash_is_an_underscore() -> None:
    assert find("runtimes", "onnxruntime-int8") is find("runtimes", "onnxruntime_int8")
    assert configure("runtimes", {"use": "onnxruntime-int8", "weight_bits": 7}).spec["use"] == "onnxruntime_int8"
    with pytest.raises(InputError, match="did you mean 'onnxruntime_int8'"):
        find("runtimes", "onnxruntime-int")


def test_openvino_in_float32_is_torch_and_int8_is_near(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    variant = lively("small_cnn", 8, 1)
    images = probe(SHAPE, 9, "shown")
    with prepare("torch", variant, threads=1, folder=tmp_path) as reference:
        expected = reference.run(images)
    with prepare("openvino", variant, threads=1, folder=tmp_path) as session:
        first = session.run(images)
        np.testing.assert_allclose(first, expected, atol=1e-4 * np.abs(expected).max())
        before = first.copy()
        session.run(images[:1])
        np.testing.assert_array_equal(first, before)
        assert "pinned to f32" in session.note
    with prepare("openvino-int8", variant, threads=1, folder=tmp_path, images=probe(SHAPE, 64)) as session:
        assert session.runtime == "openvino_int8"
        assert 1e-6 < np.abs(session.run(images) - expected).max() < 0.1 * np.abs(expected).max()


def test_openvino_absent_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name == "openvino":
            raise ImportError(name)
        return known(name, *rest)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(InputError, match=r"pip install bantamweight\[openvino\]"):
        prepare("openvino", lively("mlp", 8, 1), threads=1, folder=tmp_path)
