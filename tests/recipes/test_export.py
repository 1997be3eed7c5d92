"""Export writes one checked file or none."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from bantamweight.data import Data, load
from bantamweight.errors import InputError
from bantamweight.loading import untrained
from bantamweight.parts import find
from bantamweight.recipes.export import Int8, export
from bantamweight.runtimes import Fusion
from bantamweight.stats import Ratio, equivalence
from bantamweight.training import fresh, train
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


@pytest.fixture(scope="module")
def trained() -> tuple[Variant, Data]:
    """A net that reads digits, after a few seconds of training."""
    data = load("digits")
    made = train(fresh("small_cnn", data), data, epochs=4).variant
    assert made is not None
    return made, data


def test_int8_keeps_what_a_net_learned(trained: tuple[Variant, Data], tmp_path: Path) -> None:
    variant, data = trained
    seen, shown = data.splits["train"], data.splits["test"]
    made = export(
        variant,
        tmp_path / "net.onnx",
        int8=True,
        calibrate=seen.floats(torch.arange(64)),
        images=shown.floats(torch.arange(200)),
        labels=shown.labels[:200],
        most_lost=0.05,
        batches=(),
    )
    verdict = made.int8
    assert verdict is not None
    assert verdict.right is not None
    assert verdict.right[0] > 120
    assert verdict.right[1] - verdict.right[0] == verdict.gained - verdict.lost
    assert verdict.n == 200
    assert verdict.same >= 190
    assert verdict.recommended
    assert "speed not measured" in verdict.because
    assert verdict.equivalence == equivalence(verdict.gained, verdict.lost, 200, 0.05)
    assert verdict.fusion.heavy == ()
    assert verdict.size_bytes == (verdict.size_bytes[0], made.artifact.size_bytes)
    assert (made.artifact.kind, made.artifact.parent) == ("onnx_int8", variant.hash)
    assert made.parity.holds
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert json.loads(json.dumps(verdict.summary()))["recommended"] is True


def test_two_images_are_too_few_and_leave_nothing(trained: tuple[Variant, Data], tmp_path: Path) -> None:
    variant, data = trained
    with pytest.raises(InputError, match="at least 32 images to calibrate int8 on, got 2"):
        export(variant, tmp_path / "n.onnx", int8=True, calibrate=data.splits["train"].floats(torch.arange(2)))
    with pytest.raises(InputError, match="int8 needs images"):
        export(variant, tmp_path / "n.onnx", int8=True)
    with pytest.raises(InputError, match="pass int8 as well"):
        export(variant, tmp_path / "n.onnx", calibrate=data.splits["train"].floats(torch.arange(40)))
    assert list(tmp_path.iterdir()) == []


def verdict(**changed: Any) -> Int8:
    facts = {
        "n": 1000,
        "same": 990,
        "right": (900, 895),
        "gained": 2,
        "lost": 7,
        "most_lost": 0.01,
        "equivalence": None,
        "faster": {1: Ratio(3.0, 2.8, 3.2), 16: Ratio(1.1, 1.0, 1.2)},
        "size_bytes": (400, 100),
        "fusion": Fusion({}, (), 0),
        "units": ("VNNI",),
    }
    return Int8(**{**facts, **changed})


@pytest.mark.parametrize(
    ("changed", "recommended", "says"),
    [
        ({}, True, "0.5 points lost on 1000 images, 3.00 times as fast at batch 1 .*4.0 times smaller"),
        ({"right": (900, 890)}, True, "1.0 points lost"),
        ({"right": (900, 889)}, False, "gets right 1.1 points fewer of 1000 images, and 1.0 are let pass"),
        ({"right": (900, 902)}, True, "0.2 points gained"),
        ({"right": None}, True, "1.0 points lost"),
        ({"right": None, "same": 989}, False, "answers as float32 does 1.1 points fewer"),
        ({"faster": {1: Ratio(3.0, 2.8, 3.2), 16: Ratio(0.8, 0.7, 0.9)}}, False, "batch 16 it takes 1.25 times as"),
        ({"faster": {}}, True, "speed not measured"),
    ],
)
def test_int8_that_loses_or_is_slower_is_not_recommended(changed: Any, recommended: bool, says: str) -> None:
    found = verdict(**changed)
    assert found.recommended is recommended
    assert re.search(says, found.because), found.because
    assert found.because.startswith(f"int8 is {'' if recommended else 'not '}recommended: ")


def test_a_gate_or_labels_that_make_no_sense(trained: tuple[Variant, Data], tmp_path: Path) -> None:
    variant, data = trained
    seen = data.splits["train"].floats(torch.arange(40))
    for change, says in (
        ({"most_lost": 1.5}, "share in"),
        ({"labels": torch.zeros(3).long()}, "label for each, got 3"),
    ):
        with pytest.raises(InputError, match=says):
            export(variant, tmp_path / "n.onnx", int8=True, calibrate=seen, images=seen, batches=(), **change)
    assert list(tmp_path.iterdir()) == []
