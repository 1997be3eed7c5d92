"""Numbers as the page says them."""

from __future__ import annotations

import pytest

from bantamweight.facts import Fact, proportion
from bantamweight.reports import _words


@pytest.mark.parametrize(
    ("fact", "expected"),
    [
        (proportion("accuracy", 692, 1000), "69.2% [66.3, 72.0], n = 1,000"),
        (
            Fact(metric="latency_ms", kind="time", value=1.284, low=1.27, high=1.3, n=100, unit="ms"),
            "1.28 ms [1.27, 1.30], n = 100",
        ),
        (Fact(metric="speedup", kind="ratio", value=1.0, low=0.994, high=1.012), "1.000 [0.994, 1.012]"),
        (Fact(metric="size_bytes", kind="count", value=2_483_240, unit="bytes"), "2.48 MB"),
        (Fact(metric="size_bytes", kind="count", value=812, unit="bytes"), "812 bytes"),
        (Fact(metric="parameters", kind="count", value=620_810), "620,810"),
        (
            Fact(metric="eps_for_half", kind="median", value=None, low=0.2, high=None, n=64),
            "unknown [0.200, …], n = 64",
        ),
        (
            Fact(metric="accuracy_difference", kind="paired", value=-0.031, low=-0.05, high=-0.01, n=1000),
            "-3.1 points [-5.0, -1.0], n = 1,000",
        ),
        (
            Fact(metric="iterations_for_half", kind="median", value=12.0, low=8.0, high=20.0, unit="queries"),
            "12 [8, 20]",
        ),
        (Fact(metric="recommended", kind="flag", value=1.0), "yes"),
    ],
)
def test_a_fact_in_words(fact: Fact, expected: str) -> None:
    assert _words.said(fact).replace("\xa0", " ") == expected


def test_no_fact_is_a_dash() -> None:
    assert _words.said(None) == _words.NONE


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (0.03125, "0.0312"), (1.5e-6, "1.50e-06"), (1234.5, "1,234"), (3.0, "3"), (None, "unknown")],
)
def test_plain_numbers(value: float | None, expected: str) -> None:
    assert _words.number(value) == expected


@pytest.mark.parametrize(
    ("threat", "expected"), [("linf 8/255", 8 / 255), ("l2 0.5", 0.5), ("linf", None), ("l2 x/0", None)]
)
def test_the_budget_of_a_threat(threat: str, expected: float | None) -> None:
    assert _words.eps(threat) == expected
