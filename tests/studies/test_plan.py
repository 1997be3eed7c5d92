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
    assert "pgd(rate=0.01)" in {job.labels.get("attack") for job in found.jobs}
