"""What `bantam profile` says, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from bantamweight.cli import _code

SMALL = ("--size", 8, "--channels", 1)


class Said(NamedTuple):
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """All of stdout, which is one JSON document."""
        return json.loads(self.out)


Bantam = Callable[..., Said]


@pytest.fixture
def bantam(capsys: pytest.CaptureFixture[str]) -> Bantam:
    """The command line, run in this process."""

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = _code([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call


def test_layers_add_up_to_the_whole(bantam: Bantam) -> None:
    said = bantam("profile", "simple_cnn", "--layers", "--json").json
    rows = {row["name"]: row for row in said["layers"]}
    assert (said["parameters"], said["depth"], said["flops"]) == (620_810, 5, 2 * said["macs"])
    for part in ("parameters", "macs", "flops", "activation_bytes", "saved_bytes", "moved_bytes"):
        assert sum(row[part] for row in rows.values()) == said[part]
    assert sum(row["parameters_share"] for row in rows.values()) == pytest.approx(1, abs=1e-3)
    assert rows["features.4"]["receptive_field"] == [8, 8]  # 3, pooled 4, then two pixels further at a stride of 2
    assert "latency_ms" not in rows["features.4"]


def test_training_memory_and_its_parts(bantam: Bantam) -> None:
    said = bantam("profile", "small_cnn", *SMALL, "--train", 4, "--optimizer", "adamw", "--json").json["training"]
    assert said["optimizer_bytes"] == pytest.approx(2 * said["gradients_bytes"], abs=256)
    assert sum(said["at_peak_bytes"].values()) == said["peak_bytes"]
    assert "measured_peak_bytes" not in said


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much was resident")
def test_the_measured_peak_stands_beside(bantam: Bantam) -> None:
    said = bantam("profile", "small_cnn", *SMALL, "--train", 2, "--measured", "--json").json["training"]
    assert said["measured_peak_bytes"] > said["weights_bytes"]


def test_the_roofline_has_every_layer_on_it(bantam: Bantam) -> None:
    said = bantam("profile", "small_cnn", *SMALL, "--roofline", "--json").json
    roof = said["roofline"]
    assert roof["ridge_flops_per_byte"] == pytest.approx(roof["gflops_per_s"] / roof["gbytes_per_s"], rel=0.01)
    for row in said["layers"]:
        assert row["latency_ms"] > 0
        assert row["attainable_gflops_per_s"] <= roof["gflops_per_s"] + 0.01


def test_a_comparison_in_rows(bantam: Bantam) -> None:
    rows = bantam("profile", "--compare", "small_cnn", "resnet20", "--train", 2, "--json").json
    assert [(row["name"], row["depth"], row["published"]) for row in rows] == [
        ("small_cnn", 6, None),
        ("resnet20", 20, None),
    ]
    table = bantam("profile", "--compare", "small_cnn", "resnet20").out
    assert "269,722" in table
    assert "0.041 G" in table


def test_the_exams_table(bantam: Bantam) -> None:
    row = bantam("profile", "--compare", "googlenet", "--size", 224, "--classes", 1000, "--json").json[0]
    assert (row["depth"], row["parameters"], row["macs"]) == (22, 6_998_552, 1_582_671_872)
    assert (row["published"]["ensemble"], row["published"]["nets"], row["published"]["single"]) == (6.67, 7, 10.07)
    assert row["published"]["source"].startswith("arXiv:1409.4842")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mlp", "resnet20"), "pass --compare"),
        (("--compare", "mlp", "--layers"), "--compare without --layers"),
        (("mlp", "--train", 0), "a batch of 1 to 65,536"),
        (("mlp", "--train", 1, "--optimizer", "adam"), "one of sgd, momentum, adamw"),
        (("mlp", "--measured"), "together with --train"),
        (("mlp", "--roofline", "--threads", 0), "1 thread or more"),
        (("--compare", "mlp", "vgg61"), "did you mean 'vgg19'"),
    ],
)
def test_what_does_not_fit_together_is_refused(bantam: Bantam, arguments: tuple[object, ...], said: str) -> None:
    answer = bantam("profile", *arguments)
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not answer.out


def test_numbers_are_plain_json(bantam: Bantam) -> None:
    text = bantam("profile", "mlp", *SMALL, "--layers", "--json").out
    assert text.count("\n") == 1
    assert json.loads(text)["layers"][-1]["output"] == [10]
