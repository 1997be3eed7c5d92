"""From a model to a lighter one: targets met, schedules as data, kills survived, answers that can be checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import bantamweight as bw
from bantamweight import variants
from bantamweight.compression import load_coded, measure, sizes
from bantamweight.data import Data, load
from bantamweight.errors import InputError
from bantamweight.models._profile import profile
from bantamweight.recipes import _stages
from bantamweight.recipes._cuts import latency_on
from bantamweight.recipes._rounds import rounds
from bantamweight.recipes.compress import compress
from bantamweight.training import fresh, train
from bantamweight.variants import Variant

QUICK = {"epochs": 1, "batch": 64, "rate": 2e-3, "precision": "fp32"}


class Killed(BaseException):
    """A stand-in for SIGKILL that a test can place exactly."""


@pytest.fixture(scope="module")
def digits() -> Data:
    return load("digits")


@pytest.fixture(scope="module")
def dense(digits: Data) -> Variant:
    net = fresh({"use": "small_cnn"}, digits, seed=0, name="net")
    trained = train(net, digits, epochs=3, batch=64, rate=3e-3, precision="fp32").variant
    assert trained is not None
    return trained


def macs(variant: Variant) -> int:
    return profile(variants.build(variant), variant.input_shape).macs


def test_rounds_by_hand() -> None:
    """Each round keeps the same share of what was there: 1/8 in three rounds is half of a half of a half."""
    training = {"epochs": 1}
    assert [one.value for one in rounds("iterative", "sparsity", 0.875, 0.0, training, 3)] == [0.5, 0.75, 0.875]
    assert [one.value for one in rounds("iterative", "macs", 0.25, 1000.0, training, 2)] == [pytest.approx(500), 250.0]
    assert [one.value for one in rounds("iterative", "size_bytes", 250, 1000.0, training, 2)] == [
        pytest.approx(500),
        250,
    ]
    assert rounds("one-shot", "macs", 0.25, 0.0, None) == ((0.25, None),)
    assert rounds("stepwise", "sparsity", 0.875, 0.0, training, 3) == ((0.5, None), (0.75, None), (0.875, training))
    assert len(rounds("stepwise", "macs", 0.25, 1000.0, None)) == 10
    with pytest.raises(InputError, match="use stepwise"):
        rounds("iterative", "macs", 0.25, 1000.0, None)
    with pytest.raises(InputError, match="expected a size_bytes below the model's 1000"):
        rounds("iterative", "size_bytes", 2000, 1000.0, training, 2)


@pytest.mark.parametrize(
    ("use", "target"),
    [
        ("magnitude", {"sparsity": 0.8}),
        ("magnitude", {"size_bytes": 100_000}),
        ("taylor_weights", {"sparsity": 0.5}),
        ("l1_channels", {"macs": 0.5}),
        ("low_rank", {"parameters": 0.6}),
    ],
)
def test_a_target_is_met_and_what_is_said_can_be_counted(
    use: str, target: dict[str, float], dense: Variant, digits: Data, tmp_path: Path
) -> None:
    made = compress(dense, digits, use, target=target, finetune=None, out=tmp_path / "out")
    ((kind, value),) = target.items()
    said = made.summary
    again = variants.load(tmp_path / "out")
    module = variants.build(again)
    counted = profile(module, again.input_shape)
    assert said["hash"] == again.hash == made.variant.hash
    assert said["achieved"]["macs"] == counted.macs
    assert said["achieved"]["flops"] == 2 * counted.macs
    assert said["achieved"]["parameters"] == counted.parameters
    assert said["achieved"]["nonzeros"] == measure(module).nonzeros
    assert said["achieved"]["size_bytes"] == sizes(again)
    reached = {
        "sparsity": measure(module).sparsity,
        "size_bytes": min(sizes(again).values()),
        "macs": counted.macs / macs(dense),
        "parameters": counted.parameters / said["dense"]["parameters"],
    }[kind]
    assert said["achieved"]["reached"] == pytest.approx(reached)
    assert reached == pytest.approx(value, abs=1e-4) if kind == "sparsity" else reached <= value
    n = len(digits.splits["test"])
    assert said["accuracy"]["result"]["n"] == said["against_parent"]["n"] == n
    gap = said["accuracy"]["result"]["correct"] - said["accuracy"]["dense"]["correct"]
    assert said["against_parent"]["gained"] - said["against_parent"]["lost"] == gap
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert json.loads(json.dumps(said)) == said


def test_iterative_cuts_reach_the_same_target(dense: Variant, digits: Data) -> None:
    once = compress(dense, digits, "l1_channels", target={"macs": 0.3}, finetune=QUICK)
    thrice = compress(dense, digits, "l1_channels", target={"macs": 0.3}, finetune=QUICK, schedule="iterative")
    for made in (once, thrice):
        assert 0.27 < made.summary["achieved"]["reached"] <= 0.3
        assert made.summary["achieved"]["reached"] == pytest.approx(macs(made.variant) / macs(dense))
        assert made.summary["accuracy"]["result"]["value"] > 0.8
    assert len([edit for edit in thrice.variant.edits if edit["edit"] == "channels"]) == 3
    share = compress(
        dense, digits, "random_channels", target={"sparsity": 0.5}, finetune=QUICK, schedule="iterative", rounds=2
    )
    assert share.summary["achieved"]["reached"] == pytest.approx(0.5, abs=0.02)


def test_stepwise_cuts_are_scored_anew_and_trained_once(dense: Variant, digits: Data) -> None:
    once, steps = (
        compress(dense, digits, "group_norm", target={"macs": 0.2}, schedule=schedule, finetune=None)
        for schedule in ("one-shot", "stepwise")
    )
    assert len([edit for edit in steps.variant.edits if edit["edit"] == "channels"]) == 10
    assert 0.15 < steps.summary["achieved"]["reached"] <= 0.2
    shapes = [[tuple(tensor.shape) for tensor in made.variant.weights.values()] for made in (once, steps)]
    assert shapes[0] != shapes[1], "what is scored anew is cut elsewhere"
    trained = compress(dense, digits, "group_norm", target={"macs": 0.5}, schedule="stepwise", finetune=QUICK, rounds=2)
    assert trained.summary["accuracy"]["result"]["value"] > 0.8


def test_a_layer_down_to_one_channel_does_not_stop_the_next_cut(dense: Variant, digits: Data) -> None:
    tiny = compress(
        dense, digits, "l1_channels", target={"sparsity": 0.97}, finetune=None, allocate="per_layer"
    ).variant
    assert min(len(tensor) for tensor in tiny.weights.values() if tensor.ndim == 4) == 1
    less = compress(tiny, digits, "random_channels", target={"macs": 0.95}, finetune=None)
    assert macs(less.variant) < macs(tiny)


@pytest.mark.parametrize("schedule", ["one-shot", "gradual"])
def test_the_parent_teaches_where_the_objective_learns(schedule: Any, dense: Variant, digits: Data) -> None:
    """With all weight on the teacher no label is looked at; without one the training would be refused."""
    training = {**QUICK, "epochs": 2, "objective": {"use": "distill", "weight": 1.0}}
    made = compress(dense, digits, "magnitude", target={"sparsity": 0.8}, finetune=training, schedule=schedule)
    assert made.summary["accuracy"]["result"]["value"] > 0.8


def test_gradual_ends_at_the_sparsity(dense: Variant, digits: Data) -> None:
    made = compress(
        dense, digits, "lamp", target={"sparsity": 0.9}, finetune={**QUICK, "epochs": 3}, schedule="gradual"
    )
    assert made.summary["achieved"]["reached"] == pytest.approx(0.9, abs=1e-4)
    assert made.summary["accuracy"]["result"]["value"] > 0.8
    assert set(made.summary["accuracy"]) == {"split", "dense", "result"}


@pytest.mark.parametrize("schedule", ["iterative", "gradual"])
def test_killed_after_any_stage_it_goes_on_and_ends_the_same(
    schedule: Any, dense: Variant, digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: Any = {"target": {"sparsity": 0.8}, "finetune": QUICK, "schedule": schedule, "rounds": 2}
    whole = compress(dense, digits, "magnitude", **settings)
    saves, save = [0], variants.save

    def stopping(variant: Variant, folder: Path) -> None:
        save(variant, folder)
        saves[0] += 1
        raise Killed

    for _ in range(10):
        monkeypatch.setattr(variants, "save", stopping)
        try:
            compress(dense, digits, "magnitude", **settings, out=tmp_path / "out")
            break
        except Killed:
            monkeypatch.setattr(variants, "save", save)
        assert not (tmp_path / "out").exists()
        if saves[0] == (5 if schedule == "iterative" else 1):
            break
    monkeypatch.setattr(variants, "save", save)
    tuned: list[str] = []
    monkeypatch.setattr(_stages, "tune", lambda *_, **__: tuned.append("again"))
    made = compress(dense, digits, "magnitude", **settings, out=tmp_path / "out")
    assert made.variant.hash == whole.variant.hash
    assert tuned == []
    assert {key: made.summary[key] for key in ("achieved", "accuracy")} == {
        key: whole.summary[key] for key in ("achieved", "accuracy")
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_finished_answer_is_read_and_another_question_refused(dense: Variant, digits: Data, tmp_path: Path) -> None:
    first = bw.compress(dense, digits, target={"sparsity": 0.5}, finetune=None, out=tmp_path / "out")
    again = bw.compress(dense, digits, target={"sparsity": 0.5}, finetune=None, out=tmp_path / "out")
    assert again.summary == first.summary
    assert again.variant.hash == first.variant.hash
    with pytest.raises(InputError, match="the answer to another question"):
        bw.compress(dense, digits, target={"sparsity": 0.6}, finetune=None, out=tmp_path / "out")


def test_a_latency_is_reached_along_the_path(dense: Variant, digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a clock that ticks once per MAC the answer is known: the largest cut at or below the budget."""
    monkeypatch.setattr("bantamweight.recipes.compress.latency_on", lambda *_, **__: lambda net: float(macs(net)))
    budget = macs(dense) / 2
    made = compress(dense, digits, "l1_channels", target={"latency_ms": budget}, finetune=None)
    achieved = made.summary["achieved"]
    assert achieved["reached"] == macs(made.variant) <= budget < achieved["above"]
    with pytest.raises(InputError, match="expected latency_ms of at most 1"):
        compress(dense, digits, "l1_channels", target={"latency_ms": 1.0}, finetune=None)


def test_a_latency_is_the_median_of_calls_on_the_runtime(dense: Variant) -> None:
    assert 0 < latency_on("torch", 1)(dense) < 10_000


def test_a_latency_in_integers_takes_its_ranges_from_the_training_images(dense: Variant, digits: Data) -> None:
    assert 0 < latency_on("onnxruntime_int8", 1, data=digits)(dense) < 1000
    with pytest.raises(InputError, match="images"):
        latency_on("onnxruntime_int8", 1)(dense)


def test_the_smallest_file_lies_beside_the_result(dense: Variant, digits: Data, tmp_path: Path) -> None:
    made = compress(dense, digits, "magnitude", target={"sparsity": 0.8}, finetune=None, out=tmp_path / "light")
    coded = tmp_path / "light" / "coded.safetensors"
    assert coded.stat().st_size == made.summary["achieved"]["size_bytes"]["coded"]
    assert load_coded(coded).hash == made.variant.hash == variants.load(tmp_path / "light").hash


def test_before_and_after_fine_tuning_are_paired(dense: Variant, digits: Data) -> None:
    said = compress(dense, digits, "magnitude", target={"sparsity": 0.8}, finetune=QUICK).summary
    right = {name: said["accuracy"][name]["correct"] for name in ("dense", "cut", "result")}
    for key, one, other in (
        ("against_parent", "result", "dense"),
        ("cut_against_parent", "cut", "dense"),
        ("tuned_against_cut", "result", "cut"),
    ):
        assert said[key]["gained"] - said[key]["lost"] == right[one] - right[other]


@pytest.mark.parametrize("kind", ["macs", "parameters", "size_bytes"])
def test_a_count_that_is_met_already_is_refused(kind: str, dense: Variant, digits: Data) -> None:
    with pytest.raises(InputError, match=f"{kind} as it is, and 9,999,999,999 were asked; ask for less"):
        compress(dense, digits, "l1_channels", target={kind: 9_999_999_999}, finetune=None)


def test_a_model_that_breaks_leaves_nothing_behind(
    digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mynet.py").write_text(BREAKS)
    monkeypatch.chdir(tmp_path)
    asked: dict[str, Any] = {"target": {"sparsity": 0.5}, "finetune": None, "out": tmp_path / "light"}
    with pytest.raises(InputError, match=r"'mynet:net' raised KeyError: 'no such'"):
        compress("mynet:net", digits, trust=True, classes=10, size=8, channels=1, **asked)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "__pycache__") == ["mynet.py"]


BREAKS = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.flat = nn.Linear(64, 10)
    def forward(self, images):
        if len(images) > 32:
            raise KeyError("no such")
        return self.flat(images.flatten(1))
def net():
    return Net()
"""


def test_a_cut_spread_by_sensitivity_spares_what_matters(dense: Variant, digits: Data) -> None:
    made = compress(dense, digits, target={"sparsity": 0.8}, allocate="sensitivity", finetune=None)
    alike = compress(dense, digits, target={"sparsity": 0.8}, allocate="per_layer", finetune=None)
    assert made.summary["achieved"]["reached"] == pytest.approx(0.8, abs=1e-3)
    layers = measure(variants.build(made.variant)).layers
    assert max(layers.values()) - min(layers.values()) > 0.1
    ours, theirs = (each.summary["accuracy"]["result"]["value"] for each in (made, alike))
    assert ours > theirs


def test_greedy_and_independent_selection_take_the_same_share(dense: Variant, digits: Data) -> None:
    cuts = [
        compress(dense, digits, "l1_channels", target={"sparsity": 0.5}, allocate=how, finetune=None)
        for how in ("independent", "greedy")
    ]
    assert cuts[0].summary["achieved"]["macs"] == cuts[1].summary["achieved"]["macs"]
    assert cuts[0].variant.hash != cuts[1].variant.hash
    with pytest.raises(InputError, match="greedy selection takes one share"):
        compress(dense, digits, "l1_channels", target={"macs": 0.5}, allocate="greedy", finetune=None)
    with pytest.raises(InputError, match="'erk' is no allocation of channels"):
        compress(dense, digits, "l1_channels", target={"macs": 0.5}, allocate="erk", finetune=None)
    with pytest.raises(InputError, match="leave out allocate"):
        compress(dense, digits, "low_rank", target={"macs": 0.5}, allocate="erk", finetune=None)


def test_the_caller_s_model_is_left_as_it_was(dense: Variant, digits: Data) -> None:
    before, state = dense.hash, torch.get_rng_state()
    compress(dense, digits, "l1_channels", target={"macs": 0.5}, finetune=None)
    fresh_hash = Variant(**{name: getattr(dense, name) for name in Variant.__dataclass_fields__}).hash
    assert fresh_hash == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("schedule", ["stepwise", "iterative"])
def test_rounds_begin_at_what_is_gone_already(digits: Data, dense: Variant, schedule: str) -> None:
    half = compress(dense, digits, target={"sparsity": 0.5}, finetune=None).variant
    tenth = compress(half, digits, target={"sparsity": 0.9}, schedule=schedule, finetune=QUICK, rounds=2).variant
    assert measure(variants.build(tenth)).sparsity == pytest.approx(0.9, abs=1e-3)
    with pytest.raises(InputError, match=r"expected a sparsity above the model's 0\.5, got 0\.4"):
        compress(half, digits, target={"sparsity": 0.4}, schedule=schedule, finetune=QUICK)


def test_parts_are_values_in_a_recipe_too(digits: Data, dense: Variant, tmp_path: Path) -> None:
    objective = bw.objectives.pgd_at(threat="linf 0.1", steps=1)
    made = compress(
        dense, digits, target={"sparsity": 0.5}, finetune={**QUICK, "objective": objective}, out=tmp_path / "one"
    )
    said = json.loads((tmp_path / "one" / "compress.json").read_text())
    assert said["summary"]["finetune"]["objective"]["use"] == "pgd_at"
    named = compress(dense, digits, target={"sparsity": 0.5}, finetune={**QUICK, "objective": objective.spec})
    assert made.variant.hash == named.variant.hash
    gradual = {**QUICK, "compress": bw.pruning.gradual(sparsity=0.5, every=5)}
    cut = compress(dense, digits, target={"sparsity": 0.6}, schedule="gradual", finetune=gradual).variant
    assert measure(variants.build(cut)).sparsity == pytest.approx(0.6, abs=1e-3)
