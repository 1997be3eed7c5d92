"""Cuts of channels: paths by hand, budgets met from below, edits replayed elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bantamweight import compression, parts, variants
from bantamweight.compression import AchievedChannels, ChannelCriterion, compress_channels, coupled, cut_channels
from bantamweight.compression._channels import score_channels
from bantamweight.compression._groups import Group, Part, groups
from bantamweight.compression._path import costs, path
from bantamweight.compression.bn_scale import bn_scale
from bantamweight.compression.l1_channels import l1_channels
from bantamweight.compression.magnitude import magnitude
from bantamweight.compression.random_channels import random_channels
from bantamweight.errors import InputError
from bantamweight.loading import load_model, untrained
from bantamweight.models import folded, profile
from bantamweight.predict import logits_of
from bantamweight.recipes.export import export
from bantamweight.variants import Variant

RATIOS = np.linspace(0.05, 0.99, 20)


def group(name: str, size: int) -> Group:
    return Group(name, size, (Part(name, "out", tuple((number,) for number in range(size))),))


TWO = (group("a", 4), group("b", 2))
SCORES = {"a": torch.tensor([4.0, 1.0, 3.0, 2.0]), "b": torch.tensor([2.5, 0.5])}


def test_a_global_path_is_as_on_paper() -> None:
    """Sorted: b1 .5, a1 1, a3 2, b0 2.5 (stays, the last of b), a2 3, a0 4 (stays)."""
    along = path(TWO, SCORES, allocate="global", round_to=1, comparable=True)
    assert along.order == ((1, 3, 2, 0), (1, 0))
    assert along.steps.tolist() == [1, 0, 0, 0]
    assert along.widths.tolist() == [[4, 2], [4, 1], [3, 1], [2, 1], [1, 1]]
    assert [along.point(ratio) for ratio in (0, 1 / 6, 0.5, 0.9)] == [0, 1, 3, 4]
    assert along.channels(along.widths[3]) == [[1, 3], [1]]
    assert along.removed(along.widths[3]) == {"a": {"out": [1, 3]}, "b": {"out": [1]}}


def test_scores_that_do_not_compare_are_divided_by_their_mean() -> None:
    """a / 2.5 = 1.6 .4 1.2 .8 and b / 1.5 = 1.67 .33: now b's first goes before a's first, and 100 x b is no other."""
    large = SCORES | {"b": 100 * SCORES["b"]}
    steps = [path(TWO, scores, allocate="global", round_to=1, comparable=False).steps for scores in (SCORES, large)]
    assert steps[0].tolist() == steps[1].tolist() == [1, 0, 0, 0]
    assert path(TWO, large, allocate="global", round_to=1, comparable=True).steps.tolist() == [0, 0, 0, 1]


def test_a_path_per_mac_takes_the_expensive_first() -> None:
    """a's 1 2 3 (4 stays) over 10 are .1 .2 .3, before b's .5; the other way round b's .05 comes first."""
    rule = {"allocate": "per_mac", "round_to": 1, "comparable": True}
    assert path(TWO, SCORES, **rule, prices=[10, 1]).steps.tolist() == [0, 0, 0, 1]
    assert path(TWO, SCORES, **rule, prices=[1, 10]).steps.tolist() == [1, 0, 0, 0]
    # Two convolutions, 3x3 over 6x6 and 1x1 over 6x6 outputs: a channel between them costs 9 x 36 + 2 x 36 MACs.
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = tuple(each for each in groups(net, torch.rand(2, 1, 8, 8)) if not each.reason)
    assert costs(net, found, (1, 8, 8)).prices() == [9 * 36 + 2 * 36]


def test_a_local_path_thins_all_groups_alike() -> None:
    """Half gone at 1/8, 3/8, 5/8 of a and at 1/4 of b: the widths are the nearest to (1 - ratio) x size."""
    along = path(TWO, SCORES, allocate="local", round_to=1, comparable=True)
    assert along.steps.tolist() == [0, 1, 0, 0]
    assert along.widths[along.point(0.2)].tolist() == [3, 2]
    assert along.widths[along.point(0.5)].tolist() == [2, 1]
    assert along.widths[along.point(0.99)].tolist() == [1, 1]


def test_widths_are_the_nearest_multiples_and_never_less_than_one() -> None:
    found = (group("wide", 40), group("odd", 13), group("slim", 5))
    scores = {each.name: torch.arange(each.size) + 1.0 for each in found}
    along = path(found, scores, allocate="local", round_to=8, comparable=False)
    assert along.widths[0].tolist() == [40, 13, 5]
    # 40 x .7 = 28 (halves up to 32) and 13 x .7 = 9.1; 5 is less than one multiple and stays whole.
    assert along.widths[along.point(0.3)].tolist() == [32, 8, 5]
    assert along.widths[-1].tolist() == [8, 8, 5]
    assert along.point(0.99) == len(along.widths) - 1


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=20), min_size=1, max_size=4),
    st.sampled_from(["global", "local", "per_mac"]),
    st.sampled_from([1, 3, 8]),
)
def test_paths_are_nested_and_empty_nothing(drawn: list[list[int]], allocate: str, round_to: int) -> None:
    found = tuple(group(f"g{number}", len(values)) for number, values in enumerate(drawn))
    scores = {each.name: torch.tensor(values) for each, values in zip(found, drawn, strict=True)}
    prices = [float(each.size) for each in found]
    along = path(found, scores, allocate=allocate, round_to=round_to, comparable=False, prices=prices)
    sizes = np.array([each.size for each in found])
    assert along.widths[0].tolist() == sizes.tolist()
    assert (np.diff(along.widths, axis=0) <= 0).all()
    assert (along.widths >= np.minimum(round_to, sizes)).all()
    assert ((along.widths % round_to == 0) | (along.widths == sizes)).all()
    points = [along.point(ratio) for ratio in (0.0, *RATIOS)]
    assert points == sorted(points)
    assert points[0] == 0
    for less, more in pairwise(along.channels(along.widths[point]) for point in points):
        assert all(set(one) <= set(other) for one, other in zip(less, more, strict=True))


@pytest.mark.parametrize("name", ["simple_cnn", "resnet20", "mobilenet_v2"])
def test_macs_never_rise_with_the_ratio(name: str) -> None:
    """For L1 and random, in all allocations, to single channels and to multiples of 8."""
    dense = untrained(name, size=16)
    module = variants.build(dense)
    found = tuple(each for each in coupled(dense) if not each.reason)
    cost = costs(module, found, dense.input_shape)
    for criterion in (l1_channels(), random_channels(seed=1)):
        scores = score_channels(module, criterion, found)
        for allocate in ("global", "local", "per_mac"):
            for round_to in (1, 8):
                rule = {"allocate": allocate, "round_to": round_to, "comparable": criterion.comparable}
                along = path(found, scores, **rule, prices=cost.prices())
                macs = [int(cost.at("macs", along.widths)[along.point(ratio)]) for ratio in RATIOS]
                assert macs == sorted(macs, reverse=True)
                assert macs[-1] < 0.2 * profile(module, dense.input_shape).macs
    # What is counted in closed form is what the last of these cuts really has.
    last = along.widths[along.point(0.5)][None]
    measured = profile(variants.build(cut_channels(dense, along.removed(last[0]), name="half")), dense.input_shape)
    assert (measured.macs, measured.parameters) == (int(cost.at("macs", last)[0]), int(cost.at("parameters", last)[0]))


@pytest.fixture(scope="module")
def dense() -> Variant:
    return untrained("resnet20", size=16)


@pytest.mark.parametrize("kind", ["macs", "parameters"])
@pytest.mark.parametrize("value", [0.9, 0.5, 0.2])
def test_a_budget_is_met_from_below_within_two_percent(dense: Variant, kind: str, value: float) -> None:
    cut, achieved = compress_channels(dense, l1_channels(), target={kind: value})
    share = {"macs": achieved.macs_share, "parameters": achieved.parameters / achieved.dense_parameters}[kind]
    assert share == pytest.approx(achieved.reached)
    assert value - 0.02 <= share <= value
    assert achieved.below is not None
    assert achieved.above is not None
    assert achieved.below <= achieved.reached <= value < achieved.above
    assert achieved.asked == {kind: value}
    measured = profile(variants.build(cut), cut.input_shape)
    assert (achieved.macs, achieved.parameters) == (measured.macs, measured.parameters)
    assert cut.name == f"resnet20/l1_channels-{kind}-{value:g}"


def test_a_budget_can_be_a_count_or_bytes(dense: Variant, tmp_path: Path) -> None:
    _, counted = compress_channels(dense, l1_channels(), target={"parameters": 100_000})
    assert 95_000 < counted.parameters == counted.reached <= 100_000
    cut, achieved = compress_channels(dense, l1_channels(), target={"size_bytes": 300_000})
    variants.save(cut, tmp_path / "cut")
    assert (tmp_path / "cut" / "weights.safetensors").stat().st_size == achieved.size_bytes == achieved.reached
    assert 280_000 < achieved.size_bytes <= 300_000 < (achieved.above or 0)


def test_a_latency_is_measured_on_the_way(dense: Variant) -> None:
    """With parameters / 10,000 as the clock the point is the one for that many parameters."""
    asked: list[str] = []

    def clock(variant: Variant) -> float:
        asked.append(variant.hash)
        return sum(p.numel() for p in variants.build(variant).parameters()) / 10_000

    _, achieved = compress_channels(dense, random_channels(), target={"latency_ms": 12.5}, latency=clock)
    assert achieved.parameters / 10_000 == achieved.reached <= 12.5 < (achieved.above or 0)
    assert len(asked) == len(set(asked)) < 14
    with pytest.raises(InputError, match="has to be measured; pass latency="):
        compress_channels(dense, random_channels(), target={"latency_ms": 12.5})


def test_bad_targets_are_one_sentence(dense: Variant) -> None:
    wrong = {
        r"ratio of channels in \[0, 1\)": {"ratio": 1.0},
        "expected a positive macs": {"macs": -0.5},
        "no target for cutting channels; did you mean 'macs'": {"mac": 0.5},
        "expected one target out of ratio, macs": {"macs": 0.5, "ratio": 0.5},
        "smallest that a cut of channels reaches is 0.00": {"macs": 0.0001},
        "smallest that a cut of channels reaches is [0-9]{4,}": {"size_bytes": 10},
    }
    for said, target in wrong.items():
        with pytest.raises(InputError, match=said):
            compress_channels(dense, l1_channels(), target=target)
    for setting, said in ({"allocate": "globl"}, "did you mean 'global'"), ({"round_to": 0}, "multiple of 1 to 1024"):
        with pytest.raises(InputError, match=said):
            compress_channels(dense, l1_channels(), target={"ratio": 0.5}, **setting)
    with pytest.raises(InputError, match="scores weights, not channels"):
        compress_channels(dense, magnitude(), target={"ratio": 0.5})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="scores channels, not weights"):
        compression.compress(dense, l1_channels(), sparsity=0.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="leaves none"):
        compress_channels(dense, l1_channels(), target={"ratio": 0.5}, layers=["linear"])
    odd = ChannelCriterion("odd", "none", lambda _, __, each: torch.full((each.size,), float("nan")))
    with pytest.raises(InputError, match="finite scores for the group 'conv1' from odd"):
        compress_channels(dense, odd, target={"ratio": 0.5})


def test_what_can_not_be_cut_is_an_error_or_said() -> None:
    net = untrained("simple_cnn", size=8)
    with pytest.raises(InputError, match=r"bn_scale needs a batch norm .* 'classifier\.2'; skip"):
        compress_channels(net, bn_scale(), target={"ratio": 0.5})
    _, said = compress_channels(net, bn_scale(), target={"ratio": 0.5}, uncut="say", skip=["features.0"])
    assert set(said.uncut) == {"features.0", "classifier.2", "classifier.5"}
    assert said.uncut["features.0"] == "skipped"
    assert set(said.widths) == {"features.4", "features.8"}


def program(folder: Path) -> Variant:
    """ResNet-20 as a program: its shortcuts pad by numbers written into the plan."""
    net = variants.build(untrained("resnet20", size=8))
    example = (torch.rand(2, 3, 8, 8),)
    torch.export.save(
        torch.export.export(net, example, dynamic_shapes=({0: torch.export.Dim("b")},)), folder / "net.pt2"
    )
    return load_model(folder / "net.pt2")


def test_a_program_is_cut_where_its_plan_allows_and_refused_by_name_where_not(tmp_path: Path) -> None:
    net = program(tmp_path)
    with pytest.raises(InputError, match=r"the channels of 'conv1' can't be cut: .*\(and 2 more such groups\); skip"):
        compress_channels(net, l1_channels(), target={"macs": 0.6})
    cut, achieved = compress_channels(net, l1_channels(), target={"macs": 0.6}, uncut="say")
    assert {"conv1", "layer2.0.conv2", "layer3.0.conv2", "linear"} == set(achieved.uncut)
    assert 0.58 < achieved.macs_share <= 0.6
    variants.save(cut, tmp_path / "cut")
    images = torch.rand(4, 3, 8, 8)
    again = variants.build(variants.load(tmp_path / "cut"))
    assert torch.equal(logits_of(again, images), logits_of(variants.build(cut), images))


ELSEWHERE = """
import sys, torch
sys.modules["torch_pruning"] = None
from bantamweight import variants
from bantamweight.predict import logits_of
torch.set_num_threads(1)
variant = variants.load(__import__("pathlib").Path(sys.argv[1]))
images = torch.rand(8, *variant.input_shape, generator=torch.Generator().manual_seed(3))
print(variant.hash, logits_of(variants.build(variant), images).numpy().tobytes().hex())
try:
    from bantamweight.compression import compress_channels
    from bantamweight.compression.l1_channels import l1_channels
    compress_channels(variant, l1_channels(), target={"macs": 0.5})
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_cut_variant_loads_to_the_bit_where_torch_pruning_is_not(tmp_path: Path) -> None:
    """Cut twice, so that the second edit is numbered after the first; a net with padded shortcuts and a deep one."""
    dense = untrained("resnet20", size=16)
    once, _ = compress_channels(dense, l1_channels(), target={"macs": 0.6})
    twice, achieved = compress_channels(once, random_channels(), target={"ratio": 0.3}, allocate="local")
    assert [edit["edit"] for edit in twice.edits] == ["channels", "channels"]
    assert json.loads(json.dumps(list(twice.edits))) == list(twice.edits)
    assert twice.lineage == (dense.hash, once.hash)
    assert achieved.dense_macs == profile(variants.build(once), once.input_shape).macs
    variants.save(twice, tmp_path / "cut")
    run = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "cut")]
    said = subprocess.run(run, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()
    images = torch.rand(8, *twice.input_shape, generator=torch.Generator().manual_seed(3))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        here = logits_of(variants.build(twice), images).numpy().tobytes().hex()
    finally:
        torch.set_num_threads(threads)
    assert said[0] == f"{twice.hash} {here}"
    assert said[1].startswith("InputError cutting channels needs torch-pruning, which is not installed")


def test_zeros_are_kept_through_a_cut_of_channels() -> None:
    sparse, _ = compression.compress(untrained("simple_cnn", size=8), magnitude(), sparsity=0.5)
    cut, achieved = compress_channels(sparse, l1_channels(), target={"ratio": 0.25})
    kept = variants.masks(cut)
    assert set(kept) == set(variants.masks(sparse))
    assert kept["features.4.weight"].shape[0] == achieved.widths["features.4"][0] < 64
    again, more = compression.compress(cut, magnitude(), sparsity=0.9)
    assert more.sparsity == pytest.approx(0.9, abs=1e-3)
    assert variants.build(again)(torch.rand(2, 3, 8, 8)).shape == (2, 10)


def test_folding_and_onnx_answer_alike(tmp_path: Path) -> None:
    cut, _ = compress_channels(untrained("simple_cnn", size=8), l1_channels(), target={"macs": 0.4})
    module, images = variants.build(cut), torch.rand(8, 3, 8, 8)
    assert torch.allclose(folded(module)(images), module(images), atol=1e-5)
    exported = export(cut, tmp_path / "cut.onnx", images=images)
    assert exported.artifact.size_bytes < 0.5 * 4 * 620_810


def test_the_variant_given_and_chance_are_left_alone(dense: Variant) -> None:
    before, drawn = dense.hash, torch.get_rng_state()
    first, _ = compress_channels(dense, l1_channels(), target={"ratio": 0.5})
    again, achieved = compress_channels(dense, l1_channels(), target={"ratio": 0.5})
    assert first.hash == again.hash
    assert Variant("x", dense.factory, dense.arguments, dense.weights, (), dense.preprocessing).hash == before
    assert torch.equal(torch.get_rng_state(), drawn)
    assert isinstance(achieved, AchievedChannels)
    assert abs(achieved.ratio - 0.5) < 0.01


def test_the_answer_is_torch_prunings_to_the_bit() -> None:
    tp = pytest.importorskip("torch_pruning")
    for model in ("resnet_small", "mobilenet_v2"):
        net = untrained(model, size=8)
        cut, achieved = compress_channels(net, l1_channels(), target={"ratio": 0.4}, allocate="local")
        theirs = variants.build(net).requires_grad_(True)
        graph = tp.DependencyGraph().build_dependency(theirs, torch.rand(2, 3, 8, 8))
        for name, (kept, size) in achieved.widths.items():
            root, gone = theirs.get_submodule(name), cut.edits[-1]["removed"][name]["out"]
            assert len(gone) == size - kept > 0
            graph.get_pruning_group(root, tp.prune_conv_out_channels, gone).prune()
        images = torch.rand(4, 3, 8, 8)
        with torch.no_grad():
            assert torch.equal(theirs.eval()(images), variants.build(cut)(images))


def test_every_criterion_of_channels_is_a_part() -> None:
    made = {name: parts.configure("compression", name).make() for name in parts.names("compression")}
    found = {name for name, criterion in made.items() if isinstance(criterion, ChannelCriterion)}
    assert found >= {
        "l1_channels",
        "l2_channels",
        "random_channels",
        "bn_scale",
        "taylor",
        "fpgm",
        "group_norm",
        "lamp_channels",
    }
    assert all(made[name].name == name for name in found)


def test_groups_as_narrow_as_the_multiple_are_named() -> None:
    net = untrained("resnet20", size=8)
    _, achieved = compress_channels(net, l1_channels(), target={"ratio": 0.4}, round_to=16)
    assert {name for name, why in achieved.uncut.items() if "multiples of 16" in why} == {
        name for name, (_, size) in achieved.widths.items() if size == 16
    }
    assert all(kept == size for kept, size in achieved.widths.values() if size == 16)
    with pytest.raises(InputError, match="expected a group of more than 1024 channels"):
        compress_channels(net, l1_channels(), target={"ratio": 0.4}, round_to=1024)
