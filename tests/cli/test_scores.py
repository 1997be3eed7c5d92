"""`bantam explain score`, `sheet` and `agreement` as a user would type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bantamweight as bw
from bantamweight.cli import _code


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("net") / "mlp"
    bw.save(bw.fresh("mlp", bw.load_data("digits")), folder)
    return folder


@pytest.fixture
def bantam(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> str:
        capsys.readouterr()
        code = _code([str(argument) for argument in arguments])
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return call


def test_scores_for_people_and_for_scripts(bantam, net: Path) -> None:
    asked = ("explain", "score", net, "digits", "--use", "gradient,grad_cam", "--metrics", "mprt,sparseness", "--n", 8)
    lines = bantam(*asked).splitlines()
    assert lines[0].split() == ["mprt", "sparseness"]
    assert [line.split()[0] for line in lines[1:5]] == ["gradient", "random_map", "centre_gaussian", "edge_map"]
    assert "edge_map *" in lines[4]
    assert lines[5].startswith("means over 8 images")
    assert lines[-2].startswith("grad_cam has no meaning for this model: no convolution")
    said = json.loads(bantam(*asked, "--json"))
    assert (said["n"], said["split"]) == (8, "test")
    gradient = next(fact for fact in said["facts"] if fact["metric"] == "map_sparseness")
    assert {"value", "low", "high", "item", "n"} <= set(gradient)
    assert len(said["sentences"]) == 2


def test_a_sheet_its_key_and_answers_read_back(bantam, net: Path, tmp_path: Path) -> None:
    said = json.loads(
        bantam("explain", "sheet", net, "digits", "--use", "gradient,occlusion", "--n", 2, "-o", "s.html", "--json")
    )
    page, key = (tmp_path / "s.html").read_text(), json.loads((tmp_path / "s.key.json").read_text())
    assert page.startswith("<!doctype html>")
    assert "occlusion" not in page
    assert sorted(key["methods"].values()) == ["gradient", "occlusion"]
    assert [said["page"], said["key"], said["sheet"]] == ["s.html", "s.key.json", key["sheet"]]
    assert [item["id"] for item in key["items"]] == ["i0", "i1"]
    one = {"order": ["m0", "m1"], "likert": {"m0": 4, "m1": 2}, "ranking": ["m0", "m1"], "choice": "m0"}
    for rater in ("a", "b"):
        answers = [{"item": item["id"], **one} for item in key["items"]]
        told = {"sheet": key["sheet"], "rater": rater, "answers": answers}
        (tmp_path / f"{rater}.json").write_text(json.dumps(told))
    facts = json.loads(bantam("explain", "agreement", "s.key.json", "a.json", "b.json", "--json"))
    likert = {fact["item"]: fact["value"] for fact in facts if fact["metric"] == "rating_likert"}
    assert likert == {key["methods"]["m0"]: 4.0, key["methods"]["m1"]: 2.0}
    assert "Krippendorff's alpha" in bantam("explain", "agreement", "s.key.json", "a.json", "b.json")
