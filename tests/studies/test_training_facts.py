"""What a training says of its adversary, as facts."""

from __future__ import annotations

from bantamweight.data import Data, load
from bantamweight.facts import select
from bantamweight.studies._curves import adversary, training_facts
from bantamweight.training import fresh, train


def test_what_the_adversary_cost_is_counted_in_images_and_a_natural_training_has_none() -> None:
    whole = load("digits")
    splits = {"train": whole.splits["train"].take(slice(0, 128))}
    data = Data("few", splits, whole.classes, whole.preprocessing)
    start, given = fresh("mlp", data, seed=0), {"epochs": 2, "batch": 64, "precision": "fp32"}
    trades = {"use": "trades", "threat": "linf 0.1", "steps": 3}
    facts = {fact.metric: fact for fact in training_facts(train(start, data, **given, objective=trades))}
    assert (facts["attack_forwards"].value, facts["attack_backwards"].value) == (2 * 128 * 4, 2 * 128 * 3)
    assert facts["attack_forwards"].kind == "count"
    natural = {fact.metric for fact in training_facts(train(start, data, **given))}
    assert not natural & {"attack_forwards", "attack_backwards", "attack_share"}


def test_rows_say_against_what_they_are_and_accuracy_around_a_cut_is_of_validation_images() -> None:
    whole = load("digits")
    splits = {name: whole.splits[name].take(slice(0, 64)) for name in ("train", "val")}
    data = Data("few", splits, whole.classes, whole.preprocessing)
    objective = {"use": "awp", "objective": {"use": "pgd_at", "threat": "linf 0.1", "steps": 2}}
    given = {"epochs": 2, "batch": 32, "objective": objective, "monitor": "robust_accuracy"}
    trained = train(fresh("mlp", data, seed=0), data, **given, compress={"use": "gradual", "keep": 0.5})
    facts = training_facts(trained, objective)
    said = {(fact.split, fact.attack, fact.threat) for fact in select(facts, "epoch_loss")}
    assert said == {("train", "awp of pgd_at", "linf 0.1"), ("val", "", "")}
    robust = select(facts, "epoch_robust_accuracy")
    assert {(fact.n, fact.attack, fact.threat) for fact in robust} == {(64, "pgd", "linf 0.1")}
    grown = {**objective["objective"], "growth": "stepwise"}
    assert adversary(grown) == {"attack": "pgd_at, eps stepwise", "threat": "linf 0.1"}
    for metric in ("epoch_accuracy_before_cut", "epoch_accuracy_after_cut"):
        (fact,) = select(facts, metric)
        assert (fact.kind, fact.split, fact.n, fact.threat) == ("proportion", "val", 64, "")
        assert fact.low is not None
