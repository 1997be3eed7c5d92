"""What is wrong with a training is said when its study is planned, whichever of the study's trainings it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bantamweight.cli import _code
from bantamweight.errors import InputError
from bantamweight.studies.plan import Subject, plan
from bantamweight.studies.spec import read

DIGITS = Subject("digits", "c0", tuple("0123456789"), {"train": 1078, "val": 269, "test": 450}, "test", 1, (8, 8))
ALONE = Subject("alone", "c0", tuple("0123456789"), {"train": 1078, "test": 450}, "test", 1, (8, 8))
GOOD = {"model": "mlp", "epochs": 1}
LATE = {"use": "linear", "begin": 0.9, "until": 0.5}


def planned(second: dict[str, Any], subject: Subject = DIGITS, **blocks: Any) -> None:
    train = [GOOD, {**GOOD, "name": "second", **second}]
    plan(read({"study": "s", "data": "digits", "train": train, **blocks}), subject, threads=1)


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({"schedule": LATE}, "train.1.schedule: expected a line that ends after it begins"),
        ({"objective": {"use": "trades", "threat": "linf 0.1", "growth": LATE}}, "train.1: expected a line that ends"),
        ({"objective": {"use": "mart", "threat": "linf 0.1", "pace": LATE}}, "train.1: expected a line that ends"),
        (
            {"objective": {"use": "rslad", "threat": "linf 0.1", "pace": LATE}, "teacher": "mlp"},
            "train.1: expected a line that ends",
        ),
        ({"objective": "distill", "teacher": "mlp", "monitor": "robust_accuracy"}, "train.1: robust_accuracy needs"),
        ({"compress": {"use": "admm", "sparsity": 0.5, "begin": 0.9, "end": 0.5}}, "train.1.compress: expected an end"),
    ],
)
def test_a_training_that_can_t_be_is_refused_before_the_one_before_it_runs(second: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        planned(second)
    assert said in str(caught.value)
    with pytest.raises(InputError):
        planned(
            {}, compress=[{"variants": "mlp", "use": "magnitude", "sparsity": 0.5, "finetune": {**second, "epochs": 1}}]
        )


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        ({"use": "pgd_at", "threat": "linf 0.1", "growth": LATE}, "compress.0: expected a line that ends"),
        ("distill", "compress.0: hydra learns without a teacher, got 'distill'"),
    ],
)
def test_what_a_criterion_learns_by_is_heard_too(objective: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        planned({}, compress=[{"variants": "mlp", "use": {"use": "hydra", "objective": objective}, "sparsity": 0.5}])
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "second",
    [{"patience": 2}, {"monitor": "robust_accuracy", "objective": {"use": "pgd_at", "threat": "linf 0.1"}}],
    ids=["patience", "robust_accuracy"],
)
def test_nothing_can_be_watched_without_a_validation_split(second: dict[str, Any]) -> None:
    planned(second)
    with pytest.raises(InputError, match=r"train\.1: .* watches a split 'val', and 'alone' has none; leave .* out"):
        planned(second, ALONE)


def test_a_second_training_that_can_t_be_is_exit_2_before_any_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "s.yaml").write_text(
        "study: s\ndata: digits\ntrain:\n  - {model: mlp, epochs: 1}\n"
        "  - {name: second, model: mlp, epochs: 1, schedule: {use: linear, begin: 0.9, until: 0.5}}\n"
    )
    monkeypatch.chdir(tmp_path)
    assert _code(["run", "s.yaml", "--store", "store"]) == 2
    said = capsys.readouterr().err
    assert "train.1.schedule: expected a line that ends after it begins" in said
    assert "Traceback" not in said
    assert not list(tmp_path.rglob("*.safetensors"))
