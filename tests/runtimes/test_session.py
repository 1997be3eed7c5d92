"""Sessions check what goes in, and leave torch as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.parts import names
from bantamweight.runtimes import Parity, Session, compare, pinned, prepare
from bantamweight.runtimes._core import probe
from bantamweight.variants import build

from .conftest import lively


def answering(logits: np.ndarray) -> Session:
    return Session(lambda images: logits[: len(images)], runtime="fake", threads=1, shape=(1, 8, 8))


def test_what_there_is() -> None:
    assert names("runtimes") == ["onnxruntime", "onnxruntime_int8", "openvino", "openvino_int8", "torch"]


def test_torch_is_the_module(tmp_path: Path) -> None:
    variant = lively("small_cnn", 8, 1)
    images = probe((1, 8, 8), 5)
    expected = build(variant)(torch.from_numpy(images)).numpy()
    with prepare("torch", variant, threads=1, folder=tmp_path) as plain:
        np.testing.assert_allclose(plain.run(images), expected, atol=1e-5)
        assert plain.artifact is None
    with prepare({"use": "torch", "channels_last": True}, variant, threads=1, folder=tmp_path) as other:
        np.testing.assert_allclose(other.run(images), expected, atol=1e-5)
        assert "channels last" in other.note


def test_threads_are_as_they_were(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    session = prepare("torch", lively("mlp", 8, 1), threads=before + 1, folder=tmp_path)
    session.run(probe((1, 8, 8), 2))
    assert torch.get_num_threads() == before
    with pinned(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "images", [np.zeros((2, 1, 8, 8)), np.zeros((1, 8, 8), np.float32), np.zeros((2, 3, 8, 8), np.float32)]
)
def test_other_images_are_refused(images: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected float32 images of shape"):
        answering(np.zeros((2, 3), np.float32)).run(images)


def test_closed_and_threadless(tmp_path: Path) -> None:
    session = answering(np.zeros((2, 3), np.float32))
    session.close()
    session.close()
    with pytest.raises(InputError, match="closed"):
        session.run(probe((1, 8, 8), 1))
    with pytest.raises(InputError, match="at least 1 thread"):
        prepare("torch", lively("mlp", 8, 1), threads=0, folder=tmp_path)
    with pytest.raises(InputError, match="did you mean 'onnxruntime'"):
        prepare("onnxruntim", lively("mlp", 8, 1), threads=1, folder=tmp_path)


def test_parity_counts() -> None:
    theirs = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], np.float32)
    ours = np.array([[1.0, 0.25, 0.0], [3.0, 2.0, 0.0]], np.float32)
    parity = compare(answering(ours), answering(theirs), probe((1, 8, 8), 2))
    assert parity == Parity(n=2, max_abs=3.0, same=1, scale=2.0)
    assert not parity.holds
    assert compare(answering(theirs), answering(theirs), probe((1, 8, 8), 2)).holds
    broken = compare(answering(np.full((2, 3), np.nan, np.float32)), answering(theirs), probe((1, 8, 8), 2))
    assert not broken.holds


def test_parity_of_nothing_and_of_other_shapes() -> None:
    one, two = answering(np.zeros((9, 3), np.float32)), answering(np.zeros((9, 4), np.float32))
    with pytest.raises(InputError, match="at least one image"):
        compare(one, one, probe((1, 8, 8), 0))
    with pytest.raises(InputError, match="fixed inside the model"):
        compare(one, two, probe((1, 8, 8), 2))
