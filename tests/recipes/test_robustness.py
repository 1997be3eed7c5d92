"""Verdicts with their evidence: audit, escalation, warm start, resume, targets, distances."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from bantamweight.attacks._cascade import cascade
from bantamweight.attacks.pgd import pgd
from bantamweight.attacks.protocols.autoattack import autoattack
from bantamweight.errors import InputError
from bantamweight.oracle import oracle
from bantamweight.recipes import _campaign
from bantamweight.recipes._campaign import adversarial
from bantamweight.recipes.robustness import robustness
from bantamweight.threats import linf
from tests.attacks.nets import Convolutional, images_in_box

KEYS = {"n", "clean", "robust", "seconds", "forwards", "backwards", "attacks", "checks", "audit", "survivors"}
EPS = "linf 1/255"


@pytest.fixture(scope="module")
def scene():
    model, images = Convolutional().eval(), images_in_box(70, (3, 9, 9))
    images = (images * 255).round().to(torch.uint8)
    with torch.no_grad():
        labels = model(images.float() / 255).argmax(dim=1)
    labels[::7] = (labels[::7] + 1) % 5
    return model, images, labels


def ask(scene, against=EPS, **settings):
    model, images, labels = scene
    settings.setdefault("protocol", {"use": "fast", "steps": 6})
    return robustness(model, images, labels, against, **{"checks": "none", "precision": "fp32", **settings})


def test_summary_is_plain_json_that_adds_up(scene):
    answer = ask(scene, checks="probe")
    said = json.loads(json.dumps(answer.summary()))
    assert set(said) >= KEYS
    assert said["clean"]["correct"] - sum(part["broken"] for part in said["attacks"]) == said["robust"]["correct"]
    assert said["robust"]["low"] <= said["robust"]["correct"] / said["n"] <= said["robust"]["high"]
    assert len(said["survivors"]) == said["robust"]["correct"] > 0
    assert sum(part["forwards"] for part in said["attacks"]) == said["forwards"]
    assert {check["state"] for check in said["checks"]} <= {"pass", "fail", "did not run"}
    assert said["escalated"] == "", said["checks"]
    model, _images, labels = scene
    with torch.no_grad():
        fooled = (model(answer.images).argmax(dim=1) != labels).numpy()
    assert (fooled == ~(answer.columns["right"] & ~answer.columns["success"])).all()


def test_an_audit_that_breaks_nothing_states_its_bound(scene, monkeypatch):
    small = autoattack(linf(eps=1 / 255), steps=8, queries=30)
    monkeypatch.setattr("bantamweight.recipes.robustness._reference", lambda _: small)
    answer = ask(scene, protocol=small, audit=10)
    assert (answer.audit.n, answer.audit.broken) == (10, 0)
    assert answer.audit.survivors == answer.summary()["audit"]["survivors"] == len(answer.survivors) > 10
    # The most survivors that could have fallen, where ten drawn of all of them would be none of those once in twenty.
    n = answer.audit.survivors
    likely = [math.comb(n - fallen, 10) / math.comb(n, 10) for fallen in range(n + 1)]
    assert answer.audit.bound == max(fallen for fallen in range(n + 1) if likely[fallen] > 0.05) / n
    assert not answer.escalated


def test_one_kill_in_the_audit_escalates_to_the_reference(scene, monkeypatch):
    threat = linf(eps=4 / 255)
    strong = autoattack(threat, steps=10, queries=40)
    monkeypatch.setattr("bantamweight.recipes.robustness._reference", lambda _: strong)
    weak = cascade("weak", pgd(threat, steps=1, rate=1e-4))
    answer, best = (ask(scene, threat, protocol=protocol, audit=audit) for protocol, audit in [(weak, 30), (strong, 0)])
    assert answer.audit.broken > 0
    assert answer.escalated
    assert answer.survivors == best.survivors
    assert {part.name.partition("/")[0] for part in answer.attacks} == {"pgd", "audit", "escalated"}


def test_a_failed_check_escalates(scene, monkeypatch):
    small = autoattack(linf(eps=1 / 255), steps=8, queries=30)
    monkeypatch.setattr("bantamweight.recipes.robustness._reference", lambda _: small)

    class Probabilities(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, images):
            return torch.softmax(1000 * self.inner(images), dim=1)

    model, images, labels = scene
    answer = ask((Probabilities(model), images, labels), checks="probe")
    assert "logits" in answer.escalated
    assert any(part.name.startswith("escalated/") for part in answer.attacks)


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_a_killed_run_goes_on_to_the_same_bits(scene, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(_campaign, "SHARD", 16)
    calls = 0

    def dies(*_):
        nonlocal calls
        calls += 1
        if calls > 3 * stop:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        ask(scene, out=out, heard=dies)
    assert not (out / "result.json").exists()
    begun = len(list((out / "stages").glob("main-*")))
    assert begun >= stop - 1
    resumed, whole = ask(scene, out=out), ask(scene)
    for column, values in whole.columns.items():
        assert (values == resumed.columns[column]).all(), column
    held = torch.cat([load_file(path)["images"] for path in sorted(out.glob("images-*"))])
    assert torch.equal(held, whole.images)
    table = pq.read_table(out / "verdicts.parquet")
    assert (table["success"].to_numpy() == whole.columns["success"]).all()
    assert json.loads((out / "result.json").read_text())["robust"] == whole.summary()["robust"]
    assert not (out / "stages").exists()


def test_a_folder_answers_one_question(scene, tmp_path):
    ask(scene, out=tmp_path / "out")
    with pytest.raises(InputError, match="another question"):
        ask(scene, "linf 2/255", out=tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="empty"):
        ask(scene, out=tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_images_of_another_variant_are_tried_first_and_counted_apart(scene, tmp_path):
    model, images, labels = scene
    parent = ask(scene, "linf 4/255", out=tmp_path / "parent")
    order = torch.arange(len(images)).flip(0)  # found by content, not by place
    starts = adversarial(tmp_path / "parent", images[order])
    child = ask((model, images[order], labels[order]), "linf 4/255", starts=starts)
    assert child.attacks[0].name == "transferred"
    assert child.attacks[0].broken == parent.columns["success"].sum() > 0
    assert child.attacks[0].backwards == 0
    with pytest.raises(InputError, match="other pictures"):
        adversarial(tmp_path / "parent", 255 - images)
    with pytest.raises(InputError, match="finished attack"):
        adversarial(tmp_path, images)


def test_targets_by_class_least_likely_and_all(scene):
    model, images, labels = scene
    everyone = ask(scene, "linf 4/255", targets="all")
    each = [ask(scene, "linf 4/255", targets=target) for target in range(5)]
    broken = np.any([answer.columns["success"] for answer in each], axis=0)
    assert (everyone.columns["success"] == broken).all()
    assert [part.name.partition("/")[0] for part in everyone.attacks[::3]] == [f"to {target}" for target in range(5)]
    least = ask(scene, "linf 4/255", targets="least-likely")
    clean = oracle(model).judge(images.float() / 255)
    others = clean.scatter(1, labels[:, None], torch.inf)
    assert (least.columns["target"] == others.argmin(dim=1).numpy()).all()
    assert least.columns["success"].sum() <= everyone.columns["success"].sum()


def test_without_a_budget_the_smallest_perturbations_are_reported(scene):
    answer = ask(scene, "l2 unbounded", attack={"use": "ddn", "steps": 60})
    said = answer.summary()
    assert said["robust"]["correct"] == 0
    size = np.where(answer.columns["right"], answer.columns["size_l2"], 0.0)
    assert said["distance"]["median"] == pytest.approx(np.median(size))
    assert [row["robust"] for row in said["curve"]] == sorted((row["robust"] for row in said["curve"]), reverse=True)
    assert said["curve"][-1]["robust"] == 0
    with pytest.raises(InputError, match="needs an eps"):
        ask(scene, "l2 unbounded")


def test_the_least_likely_class_is_never_the_label(scene):
    model, images, labels = scene
    with torch.no_grad():
        worst = model(images.float() / 255).argmin(dim=1)
    answer = ask((model, images, worst), targets="least-likely", attack={"use": "pgd", "steps": 2})
    said = answer.summary()
    assert (said["n"], said["left_out"], said["clean"]["correct"]) == (len(labels), 0, 0)
    assert (answer.columns["target"] != worst.numpy()).all()


def test_nothing_escalates_where_nothing_stands(scene):
    _model, images, labels = scene

    class Silent(torch.nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :5] * math.nan

    answer = ask((Silent(), images, labels), checks="probe")
    assert any(check.state == "fail" for check in answer.checks)
    assert answer.escalated == ""


def test_an_audit_draws_anew(scene, monkeypatch):
    """What withstood some random starts says little about others; the same again would say nothing."""
    keys = []

    def noting(threat):
        made = pgd(threat, steps=1, rate=1e-9)

        def init(rows):
            keys.append(set(rows.keys.tolist()))
            return made.init(rows)

        return cascade("noting", dataclasses.replace(made, init=init))

    monkeypatch.setattr("bantamweight.recipes.robustness._reference", noting)
    answer = ask(scene, "linf 1e-6", protocol=noting(linf(eps=1e-6)), audit=100)
    assert answer.audit.n == answer.audit.survivors == len(answer.survivors)
    assert answer.audit.bound == 0.0, "of all that stand it is known"
    ran, audited = keys[: len(keys) // 2], keys[len(keys) // 2 :]
    assert set.union(*ran).isdisjoint(set.union(*audited))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"audit": 1.5}, "audit"),
        ({"batch": "7"}, "batch"),
        ({"against": 0.05}, "threat"),
        ({"against": linf}, "threat"),
    ],
)
def test_what_is_of_another_kind_is_refused_before_anything_runs(scene, given, said):
    with pytest.raises(InputError, match=said):
        ask(scene, **given)


def test_a_name_is_no_model(scene):
    with pytest.raises(InputError, match="load_model"):
        robustness("resnet20", *scene[1:], EPS)


def test_a_folder_may_be_named_by_text(scene, tmp_path):
    assert ask(scene, out=str(tmp_path / "out")).folder == tmp_path / "out"


def test_transfer_access_is_shown_images_of_another_model_and_nothing_else(scene):
    model, images, labels = scene
    found = ask(scene, "linf 8/255")
    hidden = oracle(model, access="transfer")
    carried = ask((hidden, images, labels), "linf 8/255", starts=found.images)
    assert carried.summary()["forwards"] == carried.summary()["backwards"] == 0
    assert carried.survivors == found.survivors
    for more in ({}, {"attack": "square", "starts": found.images}):
        with pytest.raises(InputError, match="needs more than transfer access; give starts"):
            ask((hidden, images, labels), **more)
