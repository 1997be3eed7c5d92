"""What an attack is asked: arguments that do not fit, norms without a reference, classes aimed for, hostile folders."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import bantamweight as bw
from bantamweight.attacks._wrappers import eot
from bantamweight.attacks.apgd import apgd_t
from bantamweight.attacks.fab import fab_t
from bantamweight.attacks.pgd import pgd
from bantamweight.errors import InputError
from bantamweight.oracle import oracle
from bantamweight.recipes import robustness as recipe
from bantamweight.recipes._campaign import Campaign, adversarial
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


def test_inference_mode_is_refused_and_not_called_robust(scene):
    model, images, labels = scene
    with torch.inference_mode():
        with pytest.raises(InputError, match="inference_mode"):
            bw.attack(model, images, labels, "pgd", "linf 1/255")
        with pytest.raises(InputError, match="inference_mode"):
            ask(scene)


class Writes(nn.Module):
    """The same answers, but for what it does to the images."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        return self.module(images.mul_(0.5) * 2)


def test_a_model_that_writes_into_its_images_is_refused_before_it_has_written_into_ours(scene):
    model, images, labels = scene
    before = images.clone()
    for use in ("square", "pgd"):
        with pytest.raises(InputError, match="writes into the images it is given; clone them"):
            bw.attack(Writes(model), images, labels, use, "linf 1/255")
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda model: lambda x: (model(x), x), "answers logits, a row per image and a column per class, got tuple"),
        (lambda model: lambda x: model(x).argmax(dim=1), r"got shape \("),
    ],
)
def test_a_model_that_answers_no_logits_is_refused(scene, spoilt, said):
    model, images, labels = scene
    wrapped = nn.Module()
    wrapped.module, answers = model, spoilt(model)
    wrapped.forward = answers
    with pytest.raises(InputError, match=said):
        bw.attack(wrapped, images, labels, "pgd", "linf 1/255")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": lambda y: y.bool()}, "labels as whole numbers"),
        ({"labels": lambda y: y - 9}, "labels of 0 or more"),
        ({"labels": lambda y: y + 90}, "classes apart, and a label says"),
        ({"labels": lambda y: y.tolist()}, "labels as a torch tensor, got list"),
        ({"images": lambda x: x.double()}, "expected float32 images"),
        ({"images": lambda x: x.numpy()}, "images as a torch tensor, got ndarray"),
    ],
)
def test_what_is_no_image_and_no_label_is_one_sentence(scene, change, said):
    model, images, labels = scene
    given = {"images": images, "labels": labels}
    given |= {name: spoil(given[name]) for name, spoil in change.items()}
    with pytest.raises(InputError, match=said):
        bw.attack(model, given["images"], given["labels"], "pgd", "linf 1/255")


def test_labels_of_any_whole_kind_and_images_with_a_gradient_are_taken(scene):
    model, images, labels = scene
    plain = bw.attack(model, images, labels, "pgd", "linf 1/255")
    other = bw.attack(model, images.clone().requires_grad_(True), labels.to(torch.uint8), "pgd", "linf 1/255")
    assert (plain["success"] == other["success"]).all()


def test_of_a_targeted_run_every_image_of_the_class_is_left_out(scene):
    model, images, labels = scene
    told = labels.clone()
    told[:3] = (told[:3] + 1) % int(model(images).shape[1])  # wrong before, whatever happens
    goal = int(told[0])
    said = ask((model, images, told), "linf 1/255", targets=goal).summary()
    assert said["targeted"]
    assert said["left_out"] == int((told == goal).sum())
    assert said["n"] == int((told != goal).sum())
    everything = ask((model, images, told), "linf 1/255", targets="all").summary()
    assert everything["left_out"] == 0
    few = labels == labels[0]
    with pytest.raises(InputError, match=r"all \d+ images are of the class that is aimed for"):
        ask((model, images[few], labels[few]), "linf 1/255", targets=int(labels[0]))


def test_of_all_targets_each_image_is_credited_to_the_smallest(scene):
    answer = ask(scene, "l2 unbounded", attack={"use": "ddn", "steps": 10}, targets="all")
    parts = answer.columns["part"][answer.columns["success"]]
    assert [part.broken for part in answer.attacks] == [
        int((parts == number).sum()) for number in range(len(answer.attacks))
    ]
    assert sum(part.broken for part in answer.attacks) == answer.columns["success"].sum() > 0


def test_a_cascade_with_other_steps_does_not_go_on_where_one_stopped(scene, tmp_path):
    budget = recipe.threat("linf 1/255")
    ask(scene, protocol=recipe.cascade("mine", apgd_t(budget, steps=2, classes=1)), out=tmp_path / "out")
    with pytest.raises(InputError, match="holds the answer to another question"):
        ask(scene, protocol=recipe.cascade("mine", apgd_t(budget, steps=3, classes=1)), out=tmp_path / "out")


def test_time_spent_before_a_kill_counts(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(Campaign, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        ask(scene, out=tmp_path / "out")
    monkeypatch.undo()
    resumed = ask(scene, out=tmp_path / "out")
    assert resumed.seconds >= sum(part.seconds for part in resumed.attacks)


def test_who_sees_scores_only_is_refused_what_needs_a_gradient(scene):
    model, images, labels = scene
    blind = oracle(model, access="score")
    with pytest.raises(InputError, match="needs more than score access"):
        robustness(blind, images, labels, "linf 1/255", checks="none")
    with pytest.raises(InputError, match="an audit needs gradients, and there is score access only"):
        robustness(blind, images, labels, "linf 1/255", attack={"use": "square", "queries": 5}, audit=3, checks="none")


class Hidden(nn.Module):
    """NaN wherever a pixel lies off the grid of 8 bits: every adversarial image answers nothing."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        off = ((images * 255).round() - images * 255).abs().flatten(1).amax(dim=1) > 1e-3
        return torch.where(off[:, None], torch.nan, self.module(images))


def test_a_model_that_answers_nothing_beside_the_image_fails_a_check(scene):
    model, images, _ = scene
    images = (images * 255).round() / 255
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    answer = ask((Hidden(model), images, labels), "linf 4/255", checks="probe", escalate=False)
    assert answer.summary()["robust"]["correct"] == N
    assert "slope" in [check.name for check in answer.checks if check.state == "fail"]


def test_keys_that_are_no_keys_are_refused(scene, tmp_path):
    (tmp_path / "result.json").write_text("{}")
    held = {"keys": torch.tensor([float("nan")]), "images": torch.zeros(1, 3, 9, 9)}
    save_file(held, tmp_path / "images-00000.safetensors")
    with pytest.raises(InputError, match="no adversarial images with their keys"):
        adversarial(tmp_path, scene[1])


def test_a_place_that_can_t_be_written_is_one_sentence(scene, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="can't be written"):
        ask(scene, out=tmp_path / "file" / "out")


def test_attacks_with_other_settings_or_another_budget_in_the_last_digits_are_other_questions(scene, tmp_path):
    budget = linf(eps=1 / 255)
    ask(scene, protocol=recipe.cascade("mine", pgd(budget, steps=3)), out=tmp_path / "out")
    again = ask(scene, protocol=recipe.cascade("mine", pgd(budget, steps=3)), out=tmp_path / "out")
    assert again.columns["attacked"].any()
    for against, other in (
        (budget, pgd(budget, steps=3, rate=1e-6)),
        (linf(eps=1.00000001 / 255), pgd(budget, steps=3)),
    ):
        with pytest.raises(InputError, match="holds the answer to another question"):
            ask(scene, against, protocol=recipe.cascade("mine", other), out=tmp_path / "out")
    model, images, labels = scene
    guided = oracle(model, surrogate=Convolutional(seed=1).eval())
    with pytest.raises(InputError, match="holds the answer to another question"):
        robustness(guided, images, labels, budget, protocol=recipe.cascade("mine", pgd(budget, steps=3)), checks="none",
                   out=tmp_path / "out")  # fmt: skip


class Stepped(nn.Module):
    """No slope anywhere, and a step too high for a small perturbation."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, images):
        return self.module((images * 2).round() / 2)


def test_of_a_run_that_breaks_nothing_nothing_is_said(scene):
    model, images, _ = scene
    images = (images * 2).round() / 2
    said = ask((Stepped(model), images, model(images).argmax(dim=1)), "l2 unbounded", attack={"use": "ddn", "steps": 3})
    told = said.summary()
    assert told["distance"] == {"n": N, "median": None, "low": None, "high": None}
    assert (told["successes"], told["survives_8bit"]) == (0, 0)
    assert told["queries_for_half"] is None
    assert [(row["eps"], row["robust"]) for row in told["curve"]] == [(0.0, N)]


def test_distances_count_wrong_images_as_zero_and_say_so_beside_those_that_were_right(scene):
    model, images, labels = scene
    told = labels.clone()
    told[::2] = (told[::2] + 1) % 5
    settings = {"attack": {"use": "ddn", "steps": 20}}
    answer = ask((model, images, told), "l2 unbounded", **settings)
    said, right = answer.summary(), answer.columns["right"]
    assert (said["distance"]["n"], said["distance_right"]["n"]) == (N, N // 2)
    size = answer.columns["size_l2"][right]
    assert said["distance_right"]["median"] == pytest.approx(np.median(size))
    assert said["distance"]["median"] < said["distance_right"]["low"]
    assert said["successes"] == int(answer.columns["success"].sum()) >= said["survives_8bit"]
    assert {type(value) for value in (said["successes"], said["survives_8bit"])} == {int}


def test_a_wrong_image_that_is_not_the_target_is_no_success_at_no_distance(scene):
    model, images, labels = scene
    told = labels.clone()
    told[::2] = (told[::2] + 1) % 5
    answer = ask((model, images, told), "l2 unbounded", targets="least-likely", attack={"use": "ddn", "steps": 20})
    said = answer.summary()
    tried = int(answer.columns["attacked"].sum())
    assert 0 < tried <= N // 2
    assert said["distance"] == said["distance_right"]
    assert said["distance"]["n"] == tried
    assert said["distance"]["median"] > 0
    assert all(row["eps"] > 0 for row in said["curve"])
    assert said["curve"][0]["robust"] < tried
    nobody = ask((model, images, (labels + 1) % 5), "l2 unbounded", targets="all", attack={"use": "ddn", "steps": 3})
    json.dumps(nobody.summary(), allow_nan=False)


def test_what_a_run_leaves_is_readable_as_the_umask_says(scene, tmp_path):
    ask(scene, out=tmp_path / "out")
    (tmp_path / "plain").write_text("")
    usual = (tmp_path / "plain").stat().st_mode
    assert {path.name: path.stat().st_mode for path in (tmp_path / "out").iterdir()} == dict.fromkeys(
        ["question.json", "images-00000.safetensors", "verdicts.parquet", "result.json"], usual
    )


@pytest.mark.parametrize("eps", ["8/0", "abc", "nan", "", "-inf", "8/255/2", "9" * 400 + "/7"])
def test_an_epsilon_that_is_no_number_is_one_sentence(eps):
    with pytest.raises(InputError, match=r"expected an epsilon in pixel values of 0 to 1, such as 8/255 .*, got '"):
        recipe.threat(f"linf {eps}")


def test_who_shows_scores_only_is_not_sent_on_to_who_needs_gradients(scene):
    model, images, labels = scene
    blind = oracle(nn.Sequential(model, nn.Softmax(dim=1)), access="score")
    answer = robustness(blind, images, labels, "linf 1/255", attack={"use": "square", "queries": 5})
    assert "logits" in {check.name for check in answer.checks if check.state == "fail"}
    assert not answer.escalated


def test_targets_are_classes_that_there_are_and_classes_are_two(scene):
    model, images, labels = scene
    for target in (5, -2):
        with pytest.raises(InputError, match="expected targets between 0 and 4, or -1 for none"):
            bw.attack(model, images, labels, "pgd", "linf 1/255", targets=torch.full_like(labels, target))
    one = nn.Sequential(nn.Flatten(), nn.Linear(243, 1))
    with pytest.raises(InputError, match="a logit for each of two classes or more, got 1"):
        ask((one, images, torch.zeros_like(labels)))
