"""Cuts in studies: targets, schedules, teachers and controls, planned as chains and run to facts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.export import Dim, export
from torch.export import save as save_program

from bantamweight.data import load as load_data
from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.reports import report
from bantamweight.studies import Run, run
from bantamweight.studies.plan import Plan, Subject, plan
from bantamweight.studies.spec import read
from bantamweight.training import fresh, train
from bantamweight.variants import build, load, masks

DIGITS = Subject("digits", "c0", tuple("0123456789"), {"train": 1078, "val": 269, "test": 450}, "test", 1, (8, 8))
NET = {"study": "cuts", "data": "digits", "train": [{"model": "small_cnn", "epochs": 1, "name": "net"}]}
ONE = {"epochs": 1, "batch": 128}


def planned(*blocks: dict[str, Any], **more: Any) -> Plan:
    return plan(read({**NET, "compress": list(blocks), **more}), DIGITS, threads=1)


def jobs(found: Plan, kind: str) -> list[Any]:
    return [job for job in found.jobs if job.kind == kind]


def test_targets_name_their_variants() -> None:
    found = planned(
        {"use": ["l1_channels", "low_rank"], "target": {"macs": [0.5, 0.25]}},
        {"use": "magnitude", "target": {"size_bytes": 100_000}, "finetune": ONE},
    )
    assert [one.name for one in found.variants] == [
        "net",
        "net/l1_channels-macs-0.5",
        "net/l1_channels-macs-0.25",
        "net/low_rank-macs-0.5",
        "net/low_rank-macs-0.25",
        "net/magnitude-size_bytes-100000",
        "net/magnitude-size_bytes-100000/tuned",
    ]
    assert [one.sparsity for one in found.variants] == [None, 0.5, 0.75, 0.5, 0.75, None, None]
    assert found.variants[1].criterion == "l1_channels to macs"


def test_a_schedule_is_one_job_and_its_end_one_variant() -> None:
    block = {
        "use": "l1_channels",
        "target": {"macs": 0.5},
        "schedule": "iterative",
        "finetune": {**ONE, "seeds": [0, 1]},
    }
    found = planned(block)
    assert [one.name for one in found.variants[1:]] == [
        "net/l1_channels-macs-0.5-iterative/tuned@0",
        "net/l1_channels-macs-0.5-iterative/tuned@1",
    ]
    assert Counter(job.kind for job in found.jobs)["scheduled"] == 2
    assert all(one.tuned and one.parent == "net" for one in found.variants[1:])


def test_a_cut_depends_on_the_data_only_where_it_looks_at_them() -> None:
    found = planned({"use": ["magnitude", "taylor_weights", "l1_channels"], "sparsity": 0.5})
    looks = {job.labels["variant"]: "data" in str(job.record["inputs"]) for job in jobs(found, "compress")}
    assert looks == {"net/magnitude-0.5": False, "net/taylor_weights-0.5": True, "net/l1_channels-0.5": True}


def test_the_parent_teaches_unless_another_is_named() -> None:
    distilled = {**ONE, "objective": "distill"}
    found = planned(
        {"use": "magnitude", "sparsity": 0.5, "finetune": distilled},
        {"use": "random", "sparsity": 0.5, "finetune": {**distilled, "teacher": "net/magnitude-0.5/tuned"}},
        {"use": "lamp", "sparsity": 0.5, "finetune": ONE},
    )
    keys = {one.name: one.key for one in found.variants}
    taught = [job.inputs.get("teacher") for job in jobs(found, "finetune")]
    assert taught == [keys["net"], keys["net/magnitude-0.5/tuned"], None]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Run]:
    store = tmp_path_factory.mktemp("cuts") / "store"
    study = {
        **NET,
        "train": [{"model": "small_cnn", "epochs": 2, "name": "net"}],
        "compress": [
            {"use": "l1_channels", "sparsity": [0, 0.5], "finetune": ONE},
            {"use": "low_rank", "target": {"macs": 0.5}},
            {"use": "lamp", "sparsity": 0.8, "schedule": "gradual", "finetune": {**ONE, "epochs": 2}},
        ],
        "measure": [{"use": "sizes"}],
    }
    return store, run(study, store=store, threads=1)


def test_what_was_asked_and_reached_are_facts_side_by_side(done: tuple[Path, Run]) -> None:
    _, found = done
    asked = {fact.variant: (fact.item, fact.value) for fact in select(found.facts, "target_asked")}
    reached = {fact.variant: (fact.item, fact.value) for fact in select(found.facts, "target_reached")}
    assert asked == {
        "net/l1_channels-0": ("sparsity", 0.0),
        "net/l1_channels-0.5": ("sparsity", 0.5),
        "net/low_rank-macs-0.5": ("macs", 0.5),
        "net/lamp-0.8-gradual/tuned": ("sparsity", 0.8),
    }
    assert reached.keys() == asked.keys()
    assert reached["net/l1_channels-0"] == ("sparsity", 0.0)
    assert 0.4 < (reached["net/low_rank-macs-0.5"][1] or 0) <= 0.5
    shares = {fact.variant: fact.value for fact in select(found.facts, "macs_share")}
    macs = {fact.variant: fact.value or 0.0 for fact in select(found.facts, "macs")}
    assert shares == {name: pytest.approx(macs[name] / macs["net"]) for name in shares}
    zeros = {fact.variant: fact.value for fact in select(found.facts, "sparsity")}
    assert zeros == {"net/lamp-0.8-gradual/tuned": pytest.approx(0.8, abs=1e-4)}


def test_a_cut_to_zero_is_the_net_itself_trained_as_the_others_are(done: tuple[Path, Run]) -> None:
    store, found = done
    keys = {one["name"]: one["key"] for one in json.loads((found.path / "run.json").read_text())["variants"]}
    net, control = (load(store / "jobs" / keys[name] / "variant") for name in ("net", "net/l1_channels-0"))
    assert all(torch.equal(control.weights[key], value) for key, value in net.weights.items())
    epochs = {fact.variant for fact in select(found.facts, "epoch_loss")}
    assert {"net/l1_channels-0/tuned", "net/l1_channels-0.5/tuned"} <= epochs


def test_the_report_of_such_a_study_stands(done: tuple[Path, Run]) -> None:
    _, found = done
    page = report(found.path).read_text(encoding="utf-8")
    assert "l1_channels" in page
    assert "low_rank to macs" in page


CIFAR = Subject(
    "CIFAR-10 (JPEG)",
    "c2",
    tuple(f"class {n}" for n in range(10)),
    {"train": 45_000, "test": 8_000},
    "test",
    3,
    (32, 32),
)
DEPTHS = [0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_the_sweep_asks_what_the_thesis_asked_and_what_it_could_not_answer() -> None:
    """Two nets, two criteria, a control and ten depths, three seeds, two ways to fine-tune the robust one.

    Two attacks, four norms, 512 images; DDN on every net, FMN on those tuned naturally with the first seed.
    """
    found = plan(read("sweep"), CIFAR, threads=2)
    for family, ways in {"plain": ("",), "robust": ("", ", hardened")}.items():
        for use in ("l1_channels", "random_channels"):
            mine = [one for one in found.variants if one.family == family]
            assert [one.sparsity for one in mine if one.criterion == use and not one.tuned] == DEPTHS
            for way in ways:
                tuned = Counter(one.sparsity for one in mine if one.criterion == use + way and one.tuned)
                assert tuned == dict.fromkeys(DEPTHS, 3)
    attacks = [job for job in found.jobs if job.kind == "minimum_norm"]
    assert {(job.settings["attack"]["use"], job.settings["norm"]) for job in attacks} == {
        ("ddn", "l2"),
        *(("fmn", norm) for norm in ("linf", "l1", "l0")),
    }
    assert {job.settings["n"] for job in attacks} == {512}
    tuned = 3 * 2 * 11
    assert len(attacks) == (2 + tuned * 3) + 3 * (2 + 2 * 2 * 11)


def test_an_average_answers_the_mean_probabilities_and_is_a_variant_like_any_other(tmp_path: Path) -> None:
    text = """
study: both
data: digits
train:
  - {name: one, model: mlp, epochs: 1}
  - {name: other, model: small_cnn, epochs: 1, compress: {use: gradual, sparsity: 0.5}}
compress: {variants: one, use: magnitude, sparsity: 0.5}
combine: {name: both, of: [one/magnitude-0.5, other]}
attack: {variants: both, use: {use: pgd, steps: 3}, threats: linf 0.1, n: 32}
"""
    (tmp_path / "both.yaml").write_text(text)
    done = run(tmp_path / "both.yaml", store=tmp_path / "store", threads=1)
    places = {
        one["labels"]["variant"]: tmp_path / "store" / one["folder"] / "variant"
        for one in json.loads((done.path / "run.json").read_text())["jobs"]
        if one["kind"] in ("train", "compress", "combine")
    }
    nets = {name: build(load(place)) for name, place in places.items()}
    images = torch.rand(5, 1, 8, 8)
    mean = (nets["one/magnitude-0.5"](images).softmax(1) + nets["other"](images).softmax(1)) / 2
    assert torch.allclose(nets["both"](images).exp(), mean, atol=1e-6)
    both = load(places["both"])
    alive = {name: mask for name, mask in masks(both).items() if not mask.all()}
    assert {name.partition(".layers")[0].partition(".net")[0][:9] for name in alive} == {"members.0", "members.1"}
    more = train(both, load_data("digits"), epochs=1).variant
    assert more is not None
    assert not any(more.weights[name][~mask].any() for name, mask in alive.items())
    assert select(done.facts, "robust_accuracy", variant="both")
    (asked,), (zeros,) = (select(done.facts, metric, variant="other") for metric in ("sparsity_asked", "sparsity"))
    assert (asked.value, zeros.value) == (0.5, pytest.approx(0.5, abs=1e-3))
    (tmp_path / "not.yaml").write_text(text.replace("other]", "neither]"))
    with pytest.raises(InputError, match=r"combine\.0\.of: no variant is called 'neither'"):
        run(tmp_path / "not.yaml", store=tmp_path / "store", threads=1)


def test_an_average_of_a_net_with_narrower_layers_is_refused_before_anything_is_trained() -> None:
    narrow = {"use": "l1_channels", "target": {"macs": 0.5}, "finetune": ONE}
    for member in ("net/l1_channels-macs-0.5", "net/l1_channels-macs-0.5/tuned"):
        with pytest.raises(InputError, match=r"combine\.0\.of: expected nets of this package, whole or with zeros"):
            planned(narrow, combine={"name": "both", "of": ["net", member]})


def test_an_average_of_a_strangers_net_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    own = {"model": "tests.studies.test_compress:own_net", "epochs": 1, "name": "own"}
    program = export(build(fresh("mlp", load_data("digits"))), (torch.rand(2, 1, 8, 8),),
                     dynamic_shapes=({0: Dim("batch")},))  # fmt: skip
    save_program(program, tmp_path / "net.pt2")
    loaded = {"load": str(tmp_path / "net.pt2"), "name": "program"}
    for block in (own, loaded):
        spec = {**NET, "train": [*NET["train"], block], "combine": {"name": "both", "of": ["net", block["name"]]}}
        with pytest.raises(
            InputError, match=f"expected nets of this package, whole or with zeros, got '{block['name']}'"
        ):
            plan(read(spec, trust=True), DIGITS, threads=1, trust=True)


def own_net(*, channels: int = 1, classes: int = 10, size: int = 8) -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * size * size, classes))


def test_a_study_cuts_to_milliseconds(tmp_path: Path) -> None:
    text = """
study: quick
data: digits
train: {name: net, model: small_cnn, epochs: 1}
compress: {use: l1_channels, target: {latency_ms: 50}, runtime: onnxruntime_int8}
"""
    (tmp_path / "quick.yaml").write_text(text)
    with pytest.raises(InputError, match="runtime says where latency_ms is measured"):
        read(tmp_path / "quick.yaml", overrides=["compress.0.target={macs: 0.5}"])
    planned = plan(read(tmp_path / "quick.yaml"), DIGITS, threads=1)
    (job,) = [job for job in planned.jobs if job.kind == "compress"]
    assert job.settings["runtime"]["use"] == "onnxruntime_int8"
    assert "machine" in job.record["environment"]
    facts = run(tmp_path / "quick.yaml", store=tmp_path / "store", threads=1).facts
    (asked,), (reached,) = select(facts, "target_asked"), select(facts, "target_reached")
    assert asked.value == 50
    assert 0 < reached.value <= 50


def test_sensitivity_of_groups_of_channels_and_of_rules_that_look_at_images(tmp_path: Path) -> None:
    text = """
study: alone
data: digits
train: {name: net, model: small_cnn, epochs: 1}
measure:
  - {use: sensitivity, criterion: l1_channels, sparsity: [0.5], n: 32}
  - {use: sensitivity, criterion: taylor_weights, sparsity: [0.5], n: 32}
"""
    (tmp_path / "alone.yaml").write_text(text)
    facts = run(tmp_path / "alone.yaml", store=tmp_path / "store", threads=1).facts
    items = {fact.item for fact in select(facts, "sensitivity_accuracy")}
    assert {"features.0", "features.0.weight"} <= items
    assert all(0 <= fact.k <= fact.n == 32 for fact in select(facts, "sensitivity_accuracy"))
    (tmp_path / "not.yaml").write_text(text.replace("criterion: l1_channels", "criterion: low_rank"))
    with pytest.raises(InputError, match="says nothing of one layer alone"):
        plan(read(tmp_path / "not.yaml"), DIGITS, threads=1)
