"""Export writes one checked file or none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.loading import untrained
from bantamweight.parts import find
from bantamweight.recipes.export import export
from bantamweight.variants import Variant


def test_one_file_checked_on_the_images_given(tmp_path: Path) -> None:
    variant = untrained("mlp", size=8, channels=1)
    made = export(variant, tmp_path / "mlp.onnx", images=torch.rand(9, 1, 8, 8))
    assert (made.parity.n, made.parity.same, made.parity.holds) == (9, 9, True)
    assert made.artifact.path == tmp_path / "mlp.onnx"
    assert made.artifact.parent == variant.hash
    assert list(tmp_path.iterdir()) == [tmp_path / "mlp.onnx"]


def test_a_file_that_answers_otherwise_is_not_left(tmp_path: Path) -> None:
    factory = "tests.runtimes.nets:chance"
    weights = find("models", factory, trust=True)().state_dict()
    variant = Variant(name="chance", factory=factory, weights=weights, preprocessing={"size": (8, 8), "channels": 3})
    (tmp_path / "net.onnx").write_bytes(b"an older file")
    with pytest.raises(InputError, match="does not answer as torch does"):
        export(variant, tmp_path / "net.onnx", trust=True)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"an older file"]


def test_a_file_name_is_wanted(tmp_path: Path) -> None:
    variant = untrained("mlp", size=8, channels=1)
    for place in (tmp_path, tmp_path / "model.pt"):
        with pytest.raises(InputError, match=r"ends in \.onnx"):
            export(variant, place)
