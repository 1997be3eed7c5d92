"""Answers read back: counts by hand, agreement, paired tests; files that don't fit refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bantamweight.errors import InputError
from bantamweight.facts import select
from bantamweight.judging.ratings import Answers, Key, rating_facts, read_answers, read_key

KEY: dict[str, Any] = {
    "sheet": "abc",
    "methods": {"m0": "grad_cam", "m1": "gradient"},
    "items": [{"id": f"i{row}", "name": f"{row}.png", "said": "cat", "label": "cat"} for row in range(6)],
}


def answers(rater: str, likes: str = "m0", *, first: int = 5, second: int = 2) -> dict[str, Any]:
    other = "m1" if likes == "m0" else "m0"
    one = {"order": ["m1", "m0"], "likert": {likes: first, other: second}, "ranking": [likes, other], "choice": likes}
    return {"sheet": "abc", "rater": rater, "answers": [{"item": item["id"], **one} for item in KEY["items"]]}


def facts(*found: dict[str, Any]):
    return rating_facts([Answers.model_validate(one) for one in found], Key.model_validate(KEY), study="s")


def test_names_of_a_hostile_key_are_text() -> None:
    hostile = KEY | {"methods": {"m0": "\x1b]0;owned\x07grad", "m1": "two\nlines\u202e"}}
    found = rating_facts([Answers.model_validate(answers("a"))], Key.model_validate(hostile))
    shown = {text for fact in found for text in (fact.item, fact.against, fact.note)}
    assert all(text.isprintable() for text in shown)
    assert any("grad" in text for text in shown)


@pytest.mark.parametrize("other", ["grad_cam", " grad_cam "])
def test_two_keys_with_one_name_are_refused(other: str, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps(KEY | {"methods": {"m0": "grad_cam", "m1": other}}))
    with pytest.raises(InputError, match="two keys are called 'grad_cam'"):
        read_key(tmp_path / "key.json")


def test_means_by_hand() -> None:
    """Two raters like Grad-CAM (5 to 2), one the gradient: (5 + 5 + 2) / 3 = 4 and (2 + 2 + 5) / 3 = 3."""
    found = facts(answers("a"), answers("b"), answers("c", "m1"))
    likert = {fact.item: fact.value for fact in select(found, "rating_likert")}
    assert likert == {"grad_cam": pytest.approx(4.0), "gradient": pytest.approx(3.0)}
    ranks = {fact.item: fact.value for fact in select(found, "rating_rank")}
    assert ranks == {"grad_cam": pytest.approx(4 / 3), "gradient": pytest.approx(5 / 3)}
    chosen = {fact.item: (fact.k, fact.n) for fact in select(found, "rating_choice")}
    assert chosen == {"grad_cam": (12, 18), "gradient": (6, 18)}
    assert {fact.study for fact in found} == {"s"}


def test_pairs_are_tested_image_by_image() -> None:
    (likert, rank, choice) = select(facts(answers("a"), answers("b")), "rating_difference")
    assert (likert.item, likert.against, likert.value, likert.n) == ("grad_cam", "gradient", 3.0, 6)
    assert likert.p == pytest.approx(2 * 2**-6)
    assert (rank.value, rank.note) == (-1.0, "rank, lower is better")
    assert choice.value == 1.0


def test_agreement_is_perfect_absent_or_unknown() -> None:
    agreed = {fact.item: fact.value for fact in select(facts(answers("a"), answers("b")), "rating_agreement")}
    assert agreed["likert, Krippendorff's alpha"] == pytest.approx(1.0)
    assert agreed["choice, Fleiss' kappa"] is None, "all chose the same everywhere: there is nothing to agree on"
    opposed = {fact.item: fact.value for fact in select(facts(answers("a"), answers("b", "m1")), "rating_agreement")}
    assert opposed["likert, Krippendorff's alpha"] < 0
    assert opposed["choice, Fleiss' kappa"] == pytest.approx(-1.0)
    alone = select(facts(answers("a")), "rating_agreement")
    assert all(fact.value is None and fact.note.startswith("nothing to compare") for fact in alone)


def test_images_that_were_not_answered_are_left_out() -> None:
    short = answers("b")
    short["answers"] = short["answers"][:2]
    found = facts(answers("a"), short)
    assert select(found, "rating_choice")[0].n == 8
    assert not [fact for fact in found if "Fleiss" in fact.item]


def changed(change) -> dict[str, Any]:
    made = json.loads(json.dumps(answers("b")))
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(sheet="other"), "answers sheet 'other' and the key is of 'abc'"),
        (lambda one: one.update(rater="a"), "the rater 'a' is there twice"),
        (lambda one: one["answers"][0].update(item="i9"), "at most once"),
        (lambda one: one["answers"].append(one["answers"][0]), "at most once"),
        (lambda one: one["answers"][0].update(ranking=["m0", "m0"]), "every method once"),
        (lambda one: one["answers"][0].update(choice="m7"), "every method once"),
        (lambda one: one["answers"][0]["likert"].update(m0=6), "likert.m0 is not so"),
        (lambda one: one["answers"][0]["likert"].update(m0=True), "likert.m0 is not so"),
        (lambda one: one.update(extra=1), "extra is not so"),
        (lambda one: one.update(answers=[]), "answers is not so"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, change, said: str) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    paths[0].write_text(json.dumps(answers("a")))
    paths[1].write_text(json.dumps(changed(change)))
    with pytest.raises(InputError, match=said) as raised:
        read_answers(paths, Key.model_validate(KEY))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, '{"sheet": NaN}', "\udcff"])
def test_hostile_files_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match="expected the key"):
        read_key(path)
    with pytest.raises(InputError, match="can't be read"):
        read_key(tmp_path / "absent.json")
