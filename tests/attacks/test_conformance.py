"""What every attack owes: the threat respected, the same answer twice, nobody's things touched, honest counts."""

from __future__ import annotations

import pytest
import torch

from bantamweight.attacks._core import run
from bantamweight.errors import AccessError, InputError
from bantamweight.oracle import oracle
from bantamweight.parts import configure, names
from bantamweight.predict import LARGER, SMALLER, TILE
from bantamweight.threats import TOLERANCE, Threat, l0, l1, l2, linf
from tests.attacks.exact import distances
from tests.attacks.nets import Convolutional, grey_images, images_in_box, linear

THREATS = [linf(eps=8 / 255), l2(eps=0.5), l1(eps=4.0), l0(eps=6)]
# Enough of the long attacks to see what they are like.
SHORT = {
    "apgd": {"steps": 12},
    "apgd_t": {"steps": 8, "classes": 3},
    "boundary": {"steps": 300},
    "cw": {"steps": 20, "rounds": 3, "const": 0.5, "shrink": 0.5},
    "ddn": {"steps": 20},
    "fab": {"steps": 6},
    "fab_t": {"steps": 6, "targets": 3},
    "fmn": {"steps": 20},
    "hop_skip_jump": {"steps": 5, "evaluations": 20, "most_evaluations": 60},
    "pgd": {"steps": 12},
    "pma": {"steps": 12},
    "square": {"queries": 60},
}
# The share of images that are broken far inside the budget, where that is not all: one step moves few pixels, and these
# short runs of the others do not get far.
PARTLY = {
    ("fgsm", "l1"): 0.0, ("r_fgsm", "l1"): 0.0, ("r_fgsm", "l0"): 0.0,
    ("cw", "l2"): 0.5, ("pgd", "l1"): 0.4, ("pma", "l1"): 0.4,
}  # fmt: skip
LEVELS = ["transfer", "decision", "score", "white"]
FOLD = True


def attack(name, threat, **settings):
    return configure("attacks", {"use": name, **SHORT.get(name, {}), **settings}).make(threat)


def defined(name, threat):
    """Whether the attack has a form for the norm; one that raises for another reason counts, and fails its tests."""
    try:
        attack(name, threat)
    except InputError as error:
        return threat.norm.name not in str(error)
    return True


COMPONENTS = [(name, threat) for name in names("attacks") for threat in THREATS if defined(name, threat)]
IDS = [f"{name}-{threat.norm.name}" for name, threat in COMPONENTS]


@pytest.fixture(scope="module")
def scene():
    model = Convolutional().eval()
    images = images_in_box(40)
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    labels[::5] = (labels[::5] + 1) % 5  # some images that the model gets wrong from the start
    return model, images, labels


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
@pytest.mark.parametrize("until", ["first", "budget"])
def test_stored_images_respect_threat_and_box(scene, name, threat, until):
    model, images, labels = scene
    verdicts = run(attack(name, threat), oracle(model, fold=FOLD), images, labels, threat, until=until)
    size = threat.norm.size(verdicts.images - images)
    assert float(size.max()) <= threat.eps + TOLERANCE * max(threat.eps, 1.0)
    assert float(verdicts.images.min()) >= 0
    assert float(verdicts.images.max()) <= 1
    assert torch.equal(torch.tensor(verdicts[f"size_{threat.norm.name}"]), size)
    assert not verdicts["success"][~verdicts["right"]].any(), "wrong from the start is not a success"
    assert (verdicts[f"size_{threat.norm.name}"][~verdicts["right"]] == 0).all()
    assert verdicts["success"].any()


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
def test_success_is_what_the_float32_model_says_of_the_stored_image(scene, name, threat):
    model, images, labels = scene
    for precision in ("fp32", "bf16"):
        verdicts = run(attack(name, threat), oracle(model, precision=precision), images, labels, threat, until="budget")
        with torch.no_grad():
            wrong = model(verdicts.images).argmax(dim=1) != labels
        assert (wrong.numpy() & verdicts["right"] == verdicts["success"]).all()


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
def test_targeted_success_means_the_target(scene, name, threat):
    model, images, labels = scene
    targets = torch.full_like(labels, 3)
    verdicts = run(attack(name, threat), oracle(model, fold=FOLD), images, labels, threat, targets=targets)
    with torch.no_grad():
        hit = model(verdicts.images).argmax(dim=1) == 3
    assert (verdicts["success"] == (hit.numpy() & verdicts["attacked"])).all()
    assert not verdicts["attacked"][labels.numpy() == 3].any(), "an image of the target class is not attacked"


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_are_enough(name, threat, classes):
    """Whatever is within a quarter of a budget is broken, on a linear model, and nothing that is beyond it."""
    model, images, norm = linear(classes, seed=classes), grey_images(16), threat.norm
    labels = model(images).argmax(dim=1)
    exact = distances(norm.name, model, images, labels)
    for eps, least, most in (4 * exact.max(), PARTLY.get((name, norm.name), 1.0), 1.0), (0.99 * exact.min(), 0.0, 0.0):
        given = Threat(norm, float(eps))
        verdicts = run(attack(name, given), oracle(model, fold=FOLD), images, labels, given)
        assert verdicts["attacked"].all()
        assert least <= verdicts["success"].mean() <= most
        assert ((model(verdicts.images).argmax(dim=1) != labels).numpy() == verdicts["success"]).all()


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
def test_same_seed_same_answer_and_another_seed_another_start(scene, name, threat):
    model, images, labels = scene
    first, again = (
        run(attack(name, threat), oracle(model, fold=FOLD), images, labels, threat, seed=7) for _ in range(2)
    )
    assert torch.equal(first.images, again.images)
    if "start" in configure("attacks", name).settings:
        drawn = [
            run(attack(name, threat, start="random"), oracle(model, fold=FOLD), images, labels, threat, seed=seed)
            for seed in (7, 8)
        ]
        assert not torch.equal(drawn[0].images, drawn[1].images)


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
def test_model_inputs_and_global_randomness_are_untouched(scene, name, threat):
    model, images, labels = scene
    model = Convolutional()  # in train mode, its gradients on
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    kept_images, kept_labels, state = images.clone(), labels.clone(), torch.get_rng_state()
    run(attack(name, threat), oracle(model, fold=FOLD), images, labels, threat)
    assert model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert torch.equal(images, kept_images)
    assert torch.equal(labels, kept_labels)
    assert torch.equal(torch.get_rng_state(), state)


class Counting(torch.nn.Module):
    """Counts the rows that pass through."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.seen = inner, []

    def forward(self, images):
        self.seen.append(len(images))
        return self.inner(images)


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
def test_the_ledger_counts_every_row_that_the_proposer_saw(scene, name, threat):
    model, images, labels = scene
    asked = oracle(model, fold=False, fuse=False)
    counter = Counting(asked.proposer)
    object.__setattr__(asked, "proposer", counter)
    asked.judge(images)
    judge_probed = asked.ledger.probed
    assert judge_probed == 8 + TILE + 3 * SMALLER[0], "looked at once, and for a smaller tile that agrees"
    made = attack(name, threat)
    verdicts = run(made, asked, images, labels, threat)
    if made.access == "decision":  # who sees labels alone asks the judge itself
        assert not set(counter.seen) - {8}
        assert asked.ledger.forwards == verdicts["forwards"].sum()
        return
    probed = asked.ledger.probed - judge_probed
    assert sum(counter.seen) == asked.ledger.forwards + asked.ledger.padding + probed
    if made.lanes == 1:
        assert asked.ledger.forwards == verdicts["forwards"].sum()
    else:  # an image is not charged for what ran ahead of the lane that broke it
        assert asked.ledger.forwards >= verdicts["forwards"].sum()
    assert verdicts["backwards"].sum() <= asked.ledger.backwards
    assert set(counter.seen) <= {8, *SMALLER, TILE, *LARGER}


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
@pytest.mark.parametrize("access", ["score", "decision", "transfer"])
def test_access_is_enforced(scene, name, threat, access):
    model, images, labels = scene
    made, asked = attack(name, threat), oracle(model, access=access)
    if LEVELS.index(made.access) <= LEVELS.index(access):
        run(made, asked, images, labels, threat)
        return
    with pytest.raises(AccessError, match=f"{access} access"):
        run(made, asked, images, labels, threat)


@pytest.mark.parametrize(("name", "threat"), COMPONENTS, ids=IDS)
def test_only_a_white_box_attack_is_charged_backwards(scene, name, threat):
    model, images, labels = scene
    asked = oracle(model)
    made = attack(name, threat)
    verdicts = run(made, asked, images, labels, threat)
    assert (asked.ledger.backwards > 0) == (made.access == "white")
    assert (verdicts["backwards"].sum() > 0) == (made.access == "white")
    assert (verdicts["forwards"] <= made.lanes * made.queries).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, labels: (images * 255, labels), r"expected images in \[0, 1\]"),
        (lambda images, labels: ((images - 0.5) / 0.2, labels), "normalisation belongs inside the model"),
        (lambda images, labels: (images, labels[:-1]), "expected one of labels per image"),
        (lambda images, labels: (images[:0], labels[:0]), "expected images of shape"),
        (lambda images, labels: ((images * 255).byte(), labels), "divide bytes by 255"),
        (lambda images, labels: (images * float("nan"), labels), r"expected images in \[0, 1\]"),
    ],
)
def test_bad_images_are_refused_in_one_sentence(scene, change, message):
    model, images, labels = scene
    images, labels = change(images, labels)
    with pytest.raises(InputError, match=message):
        run(attack("fgsm", THREATS[0]), oracle(model, fold=FOLD), images, labels, THREATS[0])


def test_nan_logits_are_not_a_success():
    class Broken(torch.nn.Module):
        def forward(self, images):
            logits = torch.zeros(len(images), 3)
            logits[:, 0] = 1.0 + images.flatten(1).sum(dim=1)
            return torch.where(images.flatten(1).amax(dim=1, keepdim=True) > 0.9, logits * torch.nan, logits)

    images, labels = torch.full((8, 1, 8, 8), 0.88), torch.zeros(8, dtype=torch.int64)
    threat = linf(eps=0.1)
    verdicts = run(attack("pgd", threat), oracle(Broken(), fold=False), images, labels, threat)
    assert verdicts["right"].all()
    assert not verdicts["success"].any()
