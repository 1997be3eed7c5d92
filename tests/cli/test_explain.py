"""`bantam explain`: what it prints, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import bantamweight as bw
from bantamweight import variants
from bantamweight.cli import _code
from bantamweight.data import Preprocessing
from bantamweight.data._decode import decode
from bantamweight.loading import untrained
from tests.cli.corpus.desk import Desk

ASKED = ["explain", "small_cnn", "--size", "16"]


def test_a_folder_of_raw_arrays_and_a_picture(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    files = [desk.picture("cat.png", 16), desk.picture("dog.png", 16)]
    assert _code([*ASKED, *files, "--use", "gradient,grad_cam,hires_cam", "--class", "all", "-o", "out", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == ["out/maps.npz", "out/maps.png"]
    assert len(said["maps"]) == 2 * 3 * 10
    assert {row["layer"] for row in said["maps"]} == {None, "features.16"}
    assert sum(row["predicted"] for row in said["maps"]) == 2 * 3
    with np.load("out/maps.npz", allow_pickle=False) as archive:
        kept = dict(archive)
    assert kept["grad_cam"].shape == kept["hires_cam"].shape == (2, 10, 16, 16)
    assert kept["hires_cam"].min() < 0
    assert kept["grad_cam.coarse"].shape == (2, 10, 4, 4)
    assert kept["classes"].tolist() == [list(range(10))] * 2
    net = bw.build(untrained("small_cnn", size=16))
    pixels = np.stack([decode(Path(file), Preprocessing((16, 16)), name=file) for file in files])
    np.testing.assert_array_equal(kept["images"], pixels)
    alone = bw.explain("hires_cam", net, torch.from_numpy(pixels) / 255.0, torch.arange(10).expand(2, 10))
    np.testing.assert_allclose(kept["hires_cam"], alone.maps.numpy(), rtol=1e-4, atol=1e-7)
    with Image.open("out/maps.png") as picture:
        assert picture.size[0] > 4 * 160


GREY = ["explain", "mlp", "--size", "8", "--channels", "1"]


def test_methods_are_checked_on_data_and_marked_wherever_their_maps_appear(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    image = desk.picture("cat.png", 8)
    asked = [*GREY, image, "--use", "gradient,guided_backprop"]
    assert _code(asked) == 0
    plain = capsys.readouterr().out
    assert "no method was put to the check of the parameters on this model; bantam explain --check DATA" in plain
    with np.load("explained/maps.npz", allow_pickle=False) as archive:
        assert "guided_backprop.check" not in archive
    with Image.open("explained/maps.png") as picture:
        before = np.asarray(picture)
    assert _code([*asked, "--check", "digits"]) == 0
    out = capsys.readouterr().out
    assert "gradient passes the check of the parameters" in out
    assert "guided_backprop * fails the check of the parameters, so its maps may not be read as" in out
    assert "no method was put" not in out
    with np.load("explained/maps.npz", allow_pickle=False) as archive:
        assert str(archive["guided_backprop.check"]).startswith("fails the check")
        assert str(archive["gradient.check"]) == "passes the check of the parameters"
    with Image.open("explained/maps.png") as picture:
        assert not np.array_equal(np.asarray(picture)[:40], before[:40]), "the head of a column bears the mark"
    assert _code([*asked, "--check", "digits", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["maps"]
    assert {row["method"]: row["check"].split()[0] for row in rows} == {
        "gradient": "passes",
        "guided_backprop": "fails",
    }


def test_a_picture_alone_and_what_is_said_of_it(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    use = "guided_backprop,integrated_gradients"
    assert _code([*ASKED, desk.picture("cat.png", 40), "--use", use, "--class", "3", "-o", "cat maps.png"]) == 0
    out = capsys.readouterr().out
    assert "completeness error" in out
    assert "guided_backprop: known to fail the randomisation check" in out
    assert sorted(path.name for path in desk.path.iterdir()) == ["cat maps.png", "cat.png"]


def test_images_made_again_from_layers_with_errors_and_curves(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    files = [desk.picture("cat.png", 16), desk.picture("dog.png", 16)]
    asked = ["explain", "invert", *ASKED[1:], *files, "--layers", "features.0,features.16", "--steps", "6", "-o", "out"]
    assert _code([*asked, "--restarts", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["files"] == [f"out/{name}" for name in ("inverted.png", "inverted.json", "inverted.npz", "losses.png")]
    assert sorted(path.name for path in Path("out").iterdir()) == sorted(Path(file).name for file in said["files"])
    assert [(row["layer"], row["image"]) for row in said["images"]] == [
        (layer, name) for layer in ("features.0", "features.16") for name in ("cat.png", "dog.png")
    ]
    first = [row["image_error"] for row in said["images"]][:2]
    assert said["errors"]["features.0"] == pytest.approx(sum(first) / 2)
    kept = json.loads(Path("out/inverted.json").read_text())
    assert kept["errors"] == said["errors"]
    assert {len(curve) for terms in kept["losses"].values() for curve in terms.values()} == {6}
    total = kept["losses"]["features.0"]
    assert total["total"][0] == pytest.approx(total["fit"][0] + total["tv"][0] + total["norm"][0])
    with np.load("out/inverted.npz", allow_pickle=False) as archive:
        assert archive["made"].shape == (2, 2, 3, 16, 16)
    for name in ("inverted.png", "losses.png"):
        with Image.open(f"out/{name}") as picture:
            assert picture.size[0] > 300


def test_classes_have_names_and_names_may_be_hostile(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("<script>alert(1)</script>", "a\x1b[31m red one", *(f"class {at}" for at in range(8)))
    variants.save(untrained("small_cnn", size=16, classes=names), desk.path / "saved")
    for name in names[:2]:
        assert _code(["explain", "saved", desk.picture("cat.png"), "--class", name, "-o", "out"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    with np.load("out/maps.npz", allow_pickle=False) as kept:
        assert kept["classes"].tolist() == [[1]]


def test_on_one_command_line_maps_may_be_named(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    image = desk.picture("cat.png")
    assert _code([*ASKED, image]) == 0
    first = capsys.readouterr().out
    assert Path("explained/maps.npz").exists()
    assert _code(["explain", "maps", *ASKED[1:], image]) == 0
    assert capsys.readouterr().out == first
    assert _code(["explain", "--help"]) == 0
    assert "maps" in capsys.readouterr().out
