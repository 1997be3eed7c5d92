"""What an attack is asked: arguments that do not fit, norms without a reference, classes aimed for, hostile folders."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bantamweight.attacks._wrappers import eot
from bantamweight.attacks.apgd import apgd_t
from bantamweight.attacks.fab import fab_t
from bantamweight.errors import InputError
from bantamweight.recipes import robustness as recipe
from bantamweight.recipes._campaign import adversarial
from bantamweight.recipes.robustness import robustness
from bantamweight.threats import linf
from tests.attacks.nets import Convolutional, images_in_box

N = 30


@pytest.fixture(scope="module")
def scene():
    model, images = Convolutional().eval(), images_in_box(N, (3, 9, 9))
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)


def ask(scene, against="linf 1/255", **settings):
    model, images, labels = scene
    settings.setdefault("protocol", {"use": "fast", "steps": 4})
    return robustness(model, images, labels, against, **{"checks": "none", "precision": "fp32", **settings})


def _small(budget):
    return recipe.cascade("small", apgd_t(budget, steps=2, classes=1))


def test_a_warm_start_only_ever_shortens_the_distance(scene):
    far = ask(scene, "l2 0.6", attack={"use": "pgd", "steps": 5})
    cold = ask(scene, "l2 unbounded", attack={"use": "fmn", "steps": 50})
    warm = ask(scene, "l2 unbounded", attack={"use": "fmn", "steps": 50}, starts=far.images)
    assert far.columns["success"].sum() > N // 2
    assert (warm.columns["size_l2"] <= far.columns["size_l2"] + 1e-5)[far.columns["success"]].all(), (
        "no farther than the start"
    )
    given, broken = ([getattr(part, name) for part in warm.attacks] for name in ("given", "broken"))
    assert given == [N, N], "the walk is given what the start broke already"
    assert sum(broken) == warm.columns["success"].sum()
    assert warm.summary()["distance"]["median"] <= 1.05 * cold.summary()["distance"]["median"]


def test_without_a_reference_nothing_is_audited_or_escalated(scene):
    with pytest.raises(InputError, match=r"no reference ensemble for l0 .*--audit"):
        ask(scene, "l0 2", audit=5)

    class Saturated(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, images):
            return torch.softmax(1e4 * self.inner(images), dim=1)

    model, images, labels = scene
    answer = ask((Saturated(model), images, labels), "l0 2", checks="probe")
    assert any(check.state == "fail" for check in answer.checks)
    assert not answer.escalated


def test_an_audit_is_made_where_escalation_is_off(scene, monkeypatch):
    failing = [type("Check", (), {"name": "planted", "state": "fail", "figure": math.nan, "detail": ""})()]
    monkeypatch.setattr(recipe, "_checks", lambda *_: tuple(failing))
    monkeypatch.setattr(recipe, "_reference", _small)
    answer = ask(scene, "linf 1e-5", checks="probe", audit=4, escalate=False)
    assert answer.audit is not None
    assert answer.audit.n == 4
    assert not answer.escalated


def test_only_the_reference_itself_is_not_sent_on(scene, monkeypatch):
    failing = [type("Check", (), {"name": "planted", "state": "fail", "figure": 0.0, "detail": ""})()]
    monkeypatch.setattr(recipe, "_checks", lambda *_: tuple(failing))
    monkeypatch.setattr(recipe, "_reference", _small)
    weak = ask(scene, "linf 1e-5", protocol={"use": "autoattack", "steps": 2, "queries": 2}, checks="probe")
    assert weak.escalated


def test_all_targets_in_turn_attack_what_stands(scene):
    answer, n = ask(scene, "linf 2/255", targets="all"), N
    stands = answer.columns["attacked"] & ~answer.columns["success"]
    assert 0 < stands.sum() < n
    assert (answer.columns["target"] != answer.columns["label"]).all()
    assert (answer.columns["size_linf"][stands] > 0).all(), "the closest call is of a walk, not the image itself"
    assert sum(part.broken for part in answer.attacks) + stands.sum() == n
    assert answer.attacks[-1].given < n


def test_images_of_the_class_aimed_for_are_left_out(scene):
    labels = scene[2]
    target = int(labels.mode().values)
    answer = ask(scene, "linf 1", targets=target)
    said, kept = answer.summary(), int((labels != target).sum())
    assert (said["n"], said["left_out"]) == (kept, N - kept)
    assert said["robust"]["correct"] == len(said["survivors"]) == kept - int(answer.columns["success"].sum())
    free = ask(scene, "l2 unbounded", targets=target, attack={"use": "ddn", "steps": 30})
    assert free.summary()["distance"]["median"] is not None


@pytest.mark.parametrize("attack", [
    lambda threat: apgd_t(threat, steps=4, classes=3),
    lambda threat: fab_t(threat, steps=3, targets=3),
    lambda threat: eot(apgd_t(threat, steps=4, classes=2), 3),
])  # fmt: skip
def test_a_success_is_dated_in_forwards(scene, attack):
    threat = linf(eps=2 / 255)
    answer = ask(scene, threat, protocol=recipe.cascade("one", attack(threat)))
    success = answer.columns["success"]
    assert success.sum() > 0
    assert (answer.columns["query"][success] < answer.columns["forwards"][success]).all()
    assert (answer.columns["query"][success] >= 0).all()


def test_an_answer_of_nan_is_not_right(scene):
    model, images, labels = scene

    class Gaps(torch.nn.Module):
        def forward(self, given):
            said = model(given)
            return torch.where((said.argmax(dim=1) == labels[0])[:, None], math.nan, said)

    answer = ask((Gaps(), images, torch.zeros_like(labels)))
    lost = (labels == labels[0]).numpy()
    assert not answer.columns["right"][lost].any()
    json.dumps(answer.summary(), allow_nan=False)


WRONG = {
    "targets of -1": ({"targets": -1}, "class to aim for"),
    "a class there is none of": ({"targets": 99}, "99 is aimed for"),
    "too few targets": ({"targets": torch.zeros(3, dtype=torch.int64)}, "one whole number per image"),
    "a mode nobody knows": ({"targets": "least likely"}, "did you mean"),
    "other starts": ({"starts": torch.zeros(N, 3, 4, 4)}, "expected starts as the images"),
    "few starts": ({"starts": torch.zeros(2, 3, 9, 9)}, "expected starts as the images"),
    "checks": ({"checks": "ful"}, "did you mean 'full'"),
    "precision": ({"precision": "fp16"}, "fp32 or bf16"),
}


@pytest.mark.parametrize(("settings", "said"), WRONG.values(), ids=WRONG)
def test_what_does_not_fit_is_said_first(scene, settings, said):
    with pytest.raises(InputError, match=said):
        ask(scene, **settings)


@pytest.mark.parametrize(("change", "said"), [
    (lambda images, labels: (images.numpy(), labels), "torch tensor"),
    (lambda images, labels: (images.double(), labels), "float32"),
    (lambda images, labels: (images.half(), labels), "float32"),
    (lambda images, labels: ((images * 255).to(torch.int16), labels), "float32"),
    (lambda images, labels: (images, labels.float()), "whole number"),
    (lambda images, labels: (images, labels - 9), "0 or more"),
    (lambda images, labels: (images, labels[:4]), "whole number"),
])  # fmt: skip
def test_images_and_labels_that_are_none(scene, change, said):
    model, images, labels = scene
    with pytest.raises(InputError, match=said):
        ask((model, *change(images, labels)))


def test_folders_of_strangers_are_refused_in_a_sentence(scene, tmp_path):
    images = scene[1]
    (tmp_path / "result.json").write_text("{}")
    held = tmp_path / "images-00000.safetensors"
    for content in (
        {"images": images},
        {"images": images, "keys": torch.zeros(2, dtype=torch.int64)},
        {"images": images + 2, "keys": torch.zeros(N, dtype=torch.int64)},
    ):
        save_file(content, held)
        with pytest.raises(InputError, match="attack that variant again"):
            adversarial(tmp_path, images)
    held.write_bytes(b"garbage")
    with pytest.raises(InputError, match="no whole file"):
        adversarial(tmp_path, images)
    (tmp_path / "question.json").write_text("{ not JSON")
    with pytest.raises(InputError, match="another question"):
        ask(scene, out=tmp_path)
    with pytest.raises(InputError, match="to be empty"):
        ask(scene, out=held)


def test_every_target_and_no_target_are_two_questions(scene, tmp_path):
    ask(scene, out=tmp_path / "out")
    with pytest.raises(InputError, match="another question"):
        ask(scene, out=tmp_path / "out", targets="all")
    assert np.isfinite(json.loads((tmp_path / "out" / "result.json").read_text())["n"])
