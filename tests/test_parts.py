"""Signature is schema, folder is registry."""

from __future__ import annotations

import inspect
from typing import Annotated, Literal

import pytest

from bantamweight import parts
from bantamweight.errors import InputError
from bantamweight.parts import Room, configure, find, names, number, objectives, pruning, settings


def example(
    injected,
    *,
    steps: int = 3,
    rate: float | None = None,
    kind: Literal["a", "b"] = "a",
    threat: Annotated[object, Room("threats")] = None,
):
    """A part for the tests."""
    return injected, steps, rate, kind, threat


def test_the_folder_is_the_registry():
    assert {"fgsm", "pgd"} <= set(names("attacks"))
    assert not any(name.startswith("_") for name in names("attacks"))
    assert names("threats") == ["l0", "l1", "l2", "linf"]


@pytest.mark.parametrize("room", parts.ROOMS)
def test_every_part_of_every_room_can_be_found_and_is_documented(room):
    for name in names(room):
        function = find(room, name)
        assert callable(function)
        assert function.__doc__, f"{room}.{name} says nothing about itself"
        settings(function)


def test_a_name_is_short_enough_to_read():
    taylor = configure("compression", {"use": "adversarial_taylor", "threat": "linf 4/255"})
    assert str(taylor) == "adversarial_taylor(threat=linf(eps=0.0156863))"
    hydra = configure("compression", {"use": "hydra", "objective": {"use": "fgsm_rs", "threat": "linf 4/255"}})
    assert str(hydra) == "hydra(objective=fgsm_rs(threat=linf(eps=0.0156863)))"
    grown = configure(
        "compression", {"use": "hydra", "objective": {"use": "fgsm_rs", "threat": "linf 4/255", "growth": "linear"}}
    )
    assert "growth=linear" in str(grown)


def test_settings_come_from_the_signature():
    checked = settings(example)(steps=5, rate="8/255", threat={"use": "linf", "eps": "1/4"})
    assert checked.rate == 8 / 255
    assert checked.threat.make().eps == 0.25


def test_a_part_says_all_its_settings():
    part = configure("attacks", {"use": "pgd", "steps": 7})
    assert part.spec == {"use": "pgd", "steps": 7, "rate": None, "start": "random", "restarts": 1}
    assert str(part) == "pgd(steps=7)"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("pdg", "did you mean 'pgd'"),
        ({"use": "pgd", "stepz": 3}, "no setting 'stepz'; did you mean 'steps'"),
        ({"use": "pgd", "steps": "many"}, "pgd.steps"),
        ({"use": "pgd", "start": "nowhere"}, "pgd.start"),
        ({"use": "pgd", "rate": float("nan")}, "pgd.rate"),
        ({"steps": 3}, "expected a part of attacks"),
        (3, "expected a part of attacks"),
        ("os:system", "--trust"),
        ("../secrets", "is not in attacks"),
        ("_core", "is not in attacks"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(spec, message):
    with pytest.raises(InputError, match=message) as raised:
        configure("attacks", spec)
    assert "\n" not in str(raised.value)


def test_foreign_parts_need_trust_and_a_function():
    assert find("attacks", "bantamweight.attacks.pgd:pgd", trust=True).__name__ == "pgd"
    for name in ("no.such:thing", "bantamweight.attacks.pgd:nothing", "bantamweight.rng:_W0"):
        with pytest.raises(InputError, match="expected"):
            find("attacks", name, trust=True)


def test_numbers():
    assert number("8/255") == 8 / 255
    assert number("a/b") == "a/b"
    assert number("1/0") == "1/0"


def test_a_shelf_has_the_parts_of_its_room_as_functions_of_their_settings():
    made = objectives.trades(beta=3, threat="linf 8/255")
    assert made == configure("objectives", {"use": "trades", "beta": 3, "threat": {"use": "linf", "eps": 8 / 255}})
    assert {"trades", "pgd_at"} <= set(dir(objectives))
    assert dir(pruning) == names("pruning")
    assert list(inspect.signature(objectives.trades).parameters)[:2] == ["threat", "beta"]
    assert "beta KL" in objectives.trades.__doc__
    with pytest.raises(InputError, match="did you mean 'beta'"):
        objectives.trades(bta=3)
    with pytest.raises(AttributeError, match="did you mean 'trades'"):
        objectives.tradse  # noqa: B018
    assert not hasattr(objectives, "__wrapped__")
