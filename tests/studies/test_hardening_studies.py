"""The bundled studies of robust training: they can be planned, and ask what they say they ask."""

from __future__ import annotations

from collections import Counter
from itertools import product

import pytest

from bantamweight.studies.plan import Plan, Subject, plan
from bantamweight.studies.spec import read

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COUNTS = {"train": 9000, "val": 1000, "test": 10000}
SUBJECTS = {
    "robust-digits": Subject(
        "digits", "c0", tuple("0123456789"), {"train": 1078, "val": 269, "test": 450}, "test", 1, (8, 8)
    ),
    "robust-cifar": Subject(
        "cifar10_jpeg", "c1", CIFAR, {"train": 9000, "val": 1000, "test": 10000}, "test", 3, (32, 32)
    ),
    "thesis-004": Subject("cifar10", "c2", CIFAR, {"train": 45000, "val": 5000, "test": 10000}, "test", 3, (32, 32)),
}


@pytest.fixture(scope="module", params=SUBJECTS)
def planned(request: pytest.FixtureRequest) -> tuple[str, Plan]:
    return request.param, plan(read(request.param), SUBJECTS[request.param], threads=2)


def carried(found: Plan) -> dict[str, set[tuple[str, str]]]:
    """Whose images were shown to whom, by threat."""
    pairs: dict[str, set[tuple[str, str]]] = {}
    for job in found.jobs:
        if job.kind == "transfer":
            pairs.setdefault(job.labels["threat"], set()).add((job.labels["source"], job.labels["variant"]))
    return pairs


def test_images_are_shown_to_the_others_at_several_eps(planned: tuple[str, Plan]) -> None:
    name, found = planned
    pairs = carried(found)
    assert len(pairs) >= 3
    benign, robust = {"thesis-004": ("resnet34", "resnet34-eps10"), "robust-digits": ("benign", "robust")}.get(
        name, ("resnet20-benign", "resnet20-robust")
    )
    for threat, seen in pairs.items():
        assert {(benign, robust), (robust, benign)} <= seen, threat


def test_nothing_is_attacked_twice_in_the_same_way(planned: tuple[str, Plan]) -> None:
    _, found = planned
    seen = Counter(tuple(sorted(job.labels.items())) for job in found.jobs if job.kind == "attack")
    assert seen
    assert max(seen.values()) == 1


def test_averages_are_attacked_as_what_they_are(planned: tuple[str, Plan]) -> None:
    _, found = planned
    kinds = Counter(job.kind for job in found.jobs)
    assert kinds["combine"] >= 1
    averages = {job.labels["variant"] for job in found.jobs if job.kind == "combine"}
    assert averages <= {job.labels["variant"] for job in found.jobs if job.kind == "attack"}


def test_the_thesis_is_asked_what_it_asked() -> None:
    found = plan(read("thesis-004"), SUBJECTS["thesis-004"], threads=2)
    nets = {f"{net}{eps}{cut}" for net in ("resnet34", "mobile") for eps in ("", "-eps03", "-eps10")
            for cut in ("", "-50", "-10")}  # fmt: skip
    assert {one.name for one in found.variants} == nets | {"resnet34-both", "mobile-both"}
    asked = {
        (job.labels["threat"], attack["use"], attack.get("steps"), job.labels["variant"])
        for job in found.jobs
        if job.kind == "attack" and (attack := job.settings["attack"])
    }
    for eps, steps, net in product(("linf 0.03", "linf 0.1"), (21, 100, 2000), nets):
        assert (eps, "pgd", steps, net) in asked
    for net in ("resnet34-both", "mobile-both", "resnet34-eps10", "mobile-eps10"):
        assert {("linf 0.1", "cw", 100, net), ("linf 0.1", "pgd", 32, net)} <= asked
    (timed,) = [job for job in found.jobs if job.kind == "latency"]
    assert timed.settings["batches"] == [1, 16, 100]


def test_maps_of_benign_and_robust_nets_stand_beside_each_other() -> None:
    for name, nets in (
        ("robust-digits", {"benign", "robust"}),
        ("robust-cifar", {"resnet20-benign", "resnet20-robust", "mobile-benign", "mobile-robust"}),
    ):
        found = plan(read(name), SUBJECTS[name], threads=2)
        assert {job.labels["variant"] for job in found.jobs if job.kind == "explain"} == nets
