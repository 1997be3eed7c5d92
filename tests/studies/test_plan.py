"""From a study to jobs: names, order, shared prefixes, and what a key follows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bantamweight.errors import InputError
from bantamweight.studies.plan import Plan, Subject, plan, select
from bantamweight.studies.spec import read

DIGITS = Subject("digits", "c0", tuple("0123456789"), {"train": 1078, "val": 269, "test": 450}, "test", 1, (8, 8))
SPORTS = (
    "baseball",
    "basketball",
    "cricket",
    "football",
    "gymnastics",
    "hockey",
    "swimming",
    "tennis",
    "volleyball",
    "weightlifting",
)
SPORTS10 = Subject("sports10", "c1", SPORTS, {"train": 1600, "val": 500, "test": 1000}, "test", 3, (32, 32))

NETS = {"study": "s", "data": "digits", "train": [{"model": "small_cnn", "epochs": 1}, {"model": "mlp", "epochs": 1}]}
CUTS = {"use": "magnitude", "sparsity": [0.5, 0.8], "finetune": {"epochs": 1}}


def _plan(extra: dict[str, Any] | None = None, **columns: Any) -> Plan:
    return plan(read({**NETS, **(extra or {})}), columns.pop("subject", DIGITS), threads=1, **columns)


def test_the_digits_study_attacks_and_explains_every_variant() -> None:
    found = plan(read("digits"), DIGITS, threads=1)
    names = [one.name for one in found.variants]
    assert names[:2] == ["small_cnn", "mlp"]
    assert {"small_cnn/magnitude-0.8", "small_cnn/magnitude-0.8/tuned"} <= set(names)
    kinds = Counter(job.kind for job in found.jobs)
    assert kinds["attack"] >= 5 * len(names)
    for kind in ("data", "train", "compress", "finetune", "evaluate", "transfer", "explain", "sensitivity", "latency"):
        assert kinds[kind], kind
    assert (kinds["protocol"], kinds["minimum_norm"]) == (3 * 5 + 1, 5)
    asked = [job for job in found.jobs if job.kind == "protocol"]
    assert [job.labels["variant"] for job in asked if job.settings["audit"]] == ["small_cnn"]
    assert {job.labels.get("parent") for job in asked} == {None, "small_cnn"}


def test_the_sports_study_is_seed_000_entire() -> None:
    found = plan(read("sports"), SPORTS10, threads=2)
    assert {one.family for one in found.variants} == {"simple_cnn", "resnet_small"}
    assert {one.sparsity for one in found.variants} == {None, 0.2, 0.5, 0.8}
    attacks = [job for job in found.jobs if job.kind == "attack"]
    shipped = [one.name for one in found.variants if one.tuned or not one.parent]
    for name in shipped:
        mine = [job for job in attacks if job.labels["variant"] == name]
        fgsm = {(job.labels["threat"], job.labels.get("target")) for job in mine if job.settings["n"] == 1000}
        wanted = {"linf 0.01", "linf 0.03", "linf 0.05", "linf 0.1"}
        assert {threat for threat, target in fgsm if target is None} == wanted
        assert {threat for threat, target in fgsm if target == "basketball"} == wanted
        pgd = [job for job in mine if job.settings["attack"]["use"] == "pgd"]
        assert {job.labels.get("target") for job in pgd} == {None, "basketball"}
        for job in pgd:
            assert (job.settings["attack"]["steps"], job.settings["attack"]["rate"]) == (40, 0.01)
            assert job.settings["n"] >= 200
    carried = {(job.labels["source"], job.labels["variant"]) for job in found.jobs if job.kind == "transfer"}
    assert {("simple_cnn", "resnet_small"), ("resnet_small", "simple_cnn")} <= carried
    assert ("simple_cnn", "simple_cnn/magnitude-0.8/tuned") in carried
    (timed,) = [job for job in found.jobs if job.kind == "latency"]
    assert (timed.settings["batches"], timed.settings["warmups"]) == ([1, 16], 10)
    assert timed.settings["runs"] >= 100


def test_sports_001_prunes_the_cnn_and_carries_images_both_ways() -> None:
    found = plan(read("sports-001"), SPORTS10, threads=2)
    assert {one.family for one in found.variants if one.parent} == {"small_cnn"}
    carried = {(job.labels["source"], job.labels["variant"]) for job in found.jobs if job.kind == "transfer"}
    assert {("mlp", "small_cnn"), ("small_cnn", "mlp")} <= carried
    assert [block.model_extra["epochs"] for block in found.study.train if block.model_extra] == [30, 60]


def test_every_job_comes_after_its_inputs_and_chains_share_their_prefix() -> None:
    found = _plan(
        {
            "compress": [CUTS, {**CUTS, "sparsity": [0.8, 0.9]}],
            "attack": [{"use": "fgsm", "threats": "linf 0.1", "transfer": {}}, {"use": "fgsm", "threats": "linf 0.1"}],
            "explain": [{"use": "gradient"}],
        }
    )
    seen: set[str] = set()
    for job in found.jobs:
        assert set(job.inputs.values()) <= seen
        seen.add(job.key)
    kinds = Counter(job.kind for job in found.jobs)
    assert kinds["compress"] == kinds["finetune"] == 2 * 3
    assert len(found.keys) == len(found.jobs)


def test_the_same_cell_of_two_blocks_is_one_job() -> None:
    block = {"variants": "mlp", "use": "fgsm", "threats": "linf 0.1"}
    assert sum(job.kind == "attack" for job in _plan({"attack": [block, block]}).jobs) == 1


PROTOCOL: dict[str, Any] = {"protocol": "fast", "threats": ["linf 0.1", "linf 0.3"], "n": 20}


def test_a_protocol_begins_with_the_nearest_ancestor_that_was_asked_the_same() -> None:
    cut = {"compress": [{**CUTS, "variants": "mlp", "sparsity": 0.5}]}
    shipped = {**PROTOCOL, "variants": ["mlp", "mlp/*/tuned"]}
    found = _plan({**cut, "attack": [{**PROTOCOL, "variants": "mlp/**"}, shipped]})
    jobs = {(job.labels["variant"], job.labels["threat"]): job for job in found.jobs if job.kind == "protocol"}
    assert {variant for variant, _ in jobs} == {"mlp", "mlp/magnitude-0.5", "mlp/magnitude-0.5/tuned"}
    for threat in ("linf 0.1", "linf 0.3"):
        dense, pruned, tuned = (jobs[name, threat] for name in sorted({variant for variant, _ in jobs}))
        assert "parent" not in dense.inputs
        assert (tuned.inputs["parent"], tuned.labels["parent"]) == (pruned.key, pruned.labels["variant"])
        assert tuned.labels["attack"] == tuned.labels["protocol"] == "fast"
        assert "target" not in tuned.labels
    alone = _plan({**cut, "attack": [shipped]})
    tuned = next(job for job in alone.jobs if job.kind == "protocol" and job.labels["variant"].endswith("tuned"))
    assert tuned.labels["parent"] == "mlp"
    for other in ({"warm": False}, {"n": 21}):
        apart = _plan({**cut, "attack": [{**PROTOCOL, "variants": "mlp"}, {**shipped, "variants": "mlp/**", **other}]})
        tuned = next(job for job in apart.jobs if job.kind == "protocol" and job.labels["variant"].endswith("tuned"))
        assert tuned.labels.get("parent") == (None if "warm" in other else "mlp/magnitude-0.5")


def test_what_the_key_of_a_protocol_follows() -> None:
    def key(**settings: Any) -> str:
        (job,) = (
            job
            for job in _plan({"attack": [{**PROTOCOL, "variants": "mlp", "threats": "linf 0.1", **settings}]}).jobs
            if job.kind == "protocol"
        )
        return job.key

    base = key()
    assert base == key(protocol={"use": "fast", "steps": 30}, audit=0, warm=False)
    changed = [
        {"protocol": {"use": "fast", "steps": 20}},
        {"audit": 3},
        {"checks": "full"},
        {"targeted": "3"},
        {"n": 8},
    ]
    assert len({base, *(key(**one) for one in changed)}) == 1 + len(changed)


def test_more_to_audit_than_there_is_and_every_kind_of_target_can_be_meant() -> None:
    block = {**PROTOCOL, "variants": "mlp", "audit": 1000, "targeted": ["none", "3", "least-likely", "all"]}
    jobs = [job for job in _plan({"attack": [block]}).jobs if job.kind == "protocol"]
    assert {job.labels.get("target") for job in jobs} == {None, "3", "least-likely", "all"}


def test_protocols_carry_their_images_over_too() -> None:
    found = _plan({"attack": [{**PROTOCOL, "threats": "linf 0.1", "transfer": {"n": 10}}]})
    carried = {(job.labels["source"], job.labels["variant"]) for job in found.jobs if job.kind == "transfer"}
    assert carried == {("small_cnn", "mlp"), ("mlp", "small_cnn")}


def test_minimum_norm_is_planned_without_a_budget() -> None:
    block = {"use": "minimum_norm", "variants": "*", "attack": {"use": "ddn", "steps": 5}, "norm": "l2"}
    jobs = [job for job in _plan({"measure": [block]}).jobs if job.kind == "minimum_norm"]
    assert {job.labels["threat"] for job in jobs} == {"l2 unbounded"}
    assert len(jobs) == 2


def _keys(found: Plan) -> dict[str, str]:
    return {f"{job.kind} {job.labels.get('variant', '')} {job.labels.get('split', '')}": job.key for job in found.jobs}


def test_what_a_key_follows() -> None:
    extra = {"measure": [{"use": "sizes"}, {"use": "latency", "runtimes": "torch"}]}
    base = _keys(_plan(extra))
    assert base == _keys(_plan(extra))
    assert base == _keys(_plan({**extra, "title": "other words", "gates": ["accuracy >= 2"]}))
    renamed = _keys(_plan({**extra, "train": [{**NETS["train"][0], "name": "net"}, NETS["train"][1]]}))
    assert renamed["train net "] == base["train small_cnn "]
    other = _keys(_plan(extra, subject=Subject(**{**vars(DIGITS), "content": "c9"})))
    assert not set(other.values()) & set(base.values())
    longer = _keys(_plan({**extra, "train": [{"model": "small_cnn", "epochs": 2}, NETS["train"][1]]}))
    changed = {name for name in base if longer[name] != base[name]}
    assert {name.split()[1] for name in changed if len(name.split()) > 1} == {"small_cnn"}
    assert any(name.startswith("latency") for name in changed)


def test_seeds_and_selectors() -> None:
    found = _plan(
        {"train": [{"model": "mlp", "epochs": 1, "seeds": [0, 1]}], "compress": [{**CUTS, "variants": "*@1"}]}
    )
    assert [one.name for one in found.variants][:3] == ["mlp@0", "mlp@1", "mlp@1/magnitude-0.5"]
    names = ["a", "b", "a/cut", "a/cut/tuned"]
    assert select(("**",), names, "x") == names
    assert select(("*", "*/*/tuned"), names, "x") == ["a", "b", "a/cut/tuned"]
    assert select(("**", "!b"), names, "x") == ["a", "a/cut", "a/cut/tuned"]
    with pytest.raises(InputError, match=r"x: no variant is called 'aa'"):
        select(("aa",), names, "x")


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"attack": [{"use": "fgsm", "threats": "linf 0.1", "targets": "11"}]}, "attack.0: '11' is not a class"),
        ({"attack": [{"use": "fgsm", "threats": "linf 0.1", "split": "tets"}]}, "did you mean 'test'?"),
        ({"attack": [{"use": "fgsm", "threats": "linf 0.1", "variants": "mpl"}]}, "did you mean 'mlp'?"),
        ({"attack": [{**PROTOCOL, "targeted": "al"}]}, "attack.0: 'al' is neither a class nor"),
        ({"attack": [{**PROTOCOL, "protocol": "autoattack", "threats": "l0 3"}]}, "attack.0: "),
        ({"measure": [{"use": "minimum_norm", "attack": "pgd", "norm": "l2"}]}, "measure.0: pgd needs an eps"),
        ({"measure": [{"use": "minimum_norm", "attack": "ddn", "norm": "linf"}]}, "measure.0: "),
        ({"compress": [{**CUTS, "variants": "x*"}]}, "compress.0: no variant is called"),
        ({"explain": [{"use": "gradient", "attack": "fgsm"}]}, "both 'attack' and 'threat'"),
        ({"train": [{"model": {"use": "mlp", "size": 3}, "epochs": 1}]}, "train.0.model"),
        ({"train": [{"load": "/nowhere/net.pt2"}]}, "can't be read"),
    ],
)
def test_what_can_not_be_meant_is_said_before_anything_runs(extra: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as caught:
        _plan(extra)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_study_in_the_manual_is_one(tmp_path: Path) -> None:
    manual = Path(__file__).resolve().parents[2] / "docs" / "studies.md"
    text = manual.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "manual.yaml").write_text(text, encoding="utf-8")
    found = plan(read(tmp_path / "manual.yaml"), SPORTS10, threads=2)
    assert {"cnn", "cnn/magnitude-0.5/tuned"} <= {one.name for one in found.variants}
    assert {"pgd(rate=0.01)", "fast(steps=20)"} <= {job.labels.get("attack") for job in found.jobs}
    asked = [job for job in found.jobs if job.kind == "protocol"]
    assert {(job.settings["audit"], job.settings["checks"]) for job in asked} == {(59, "full")}
    assert {job.labels.get("target") for job in asked} == {None, "least-likely"}
    assert "cnn" in {job.labels.get("parent") for job in asked}
