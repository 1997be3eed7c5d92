"""What a training says of its adversary, as facts."""

from __future__ import annotations

from bantamweight.data import Data, load
from bantamweight.studies._curves import training_facts
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
