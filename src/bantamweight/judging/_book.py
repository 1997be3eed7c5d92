"""Facts with their rows, as the claims look them up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

from bantamweight.facts import Fact
from bantamweight.judging._evidence import SPLITS, Evidence, gather
from bantamweight.judging._words import compared, missed

__all__ = ["Book", "Claim", "Entry", "cut_share", "dense", "difference", "rows"]

Verdict = Literal["supported", "not supported"]


@dataclass(frozen=True)
class Claim:
    """One plain sentence, whether the facts carry it, and their rows in the list it was made from.

    A claim that is not supported says why in `reason`; all text is plain, with names from the user unescaped.
    """

    topic: str
    text: str
    verdict: Verdict
    evidence: tuple[int, ...]
    reason: str = ""


class Entry(NamedTuple):
    """A fact and its row."""

    row: int
    fact: Fact


@dataclass(frozen=True)
class Book:
    """Every fact, findable by metric; `evidence` holds the cell at which robustness is read."""

    facts: Sequence[Fact]

    @cached_property
    def _by_metric(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for row, fact in enumerate(self.facts):
            found.setdefault(fact.metric, []).append(Entry(row, fact))
        return found

    @cached_property
    def evidence(self) -> Evidence:
        """One point per variant, as a recommendation sees them."""
        return gather(self.facts, None, "", "")

    @cached_property
    def split(self) -> str:
        """The split that accuracy is read on."""
        read = [entry for metric in ("accuracy", "accuracy_difference") for entry in self.find(metric)]
        there = {entry.fact.split for entry in read}
        return next((split for split in SPLITS if split in there), "")

    def find(self, metric: str, **columns: Any) -> list[Entry]:
        """Entries of one metric whose columns have these values and whose number is known."""
        return [
            entry
            for entry in self._by_metric.get(metric, [])
            if all(getattr(entry.fact, name) == value for name, value in columns.items())
        ]

    def one(self, metric: str, **columns: Any) -> Entry | None:
        """The first such entry with a known value."""
        return next((entry for entry in self.find(metric, **columns) if entry.fact.value is not None), None)


def rows(entries: Iterable[Entry]) -> tuple[int, ...]:
    """Their rows, each once, in order."""
    return tuple(sorted({entry.row for entry in entries}))


def dense(variant: str) -> bool:
    """Whether a variant is a net as trained: cuts are named `net/cut`."""
    return "/" not in variant


def cut_share(book: Book, variant: str) -> float:
    """How much of a variant is zeros, 0 for a dense one; a fine-tuned variant has what its cut has."""
    name = variant
    while name:
        entry = book.one("sparsity", variant=name) or book.one("sparsity_asked", variant=name)
        if entry is not None:
            return entry.fact.value or 0.0
        name = name.rpartition("/")[0]
    return 0.0


def difference(topic: str, entry: Entry, more: str, less: str, differ: str) -> Claim:
    """A paired fact as a claim: `more` or `less` (whichever way it points) or `differ` where it points nowhere.

    What the test does not show is not supported, and the reason says how large a difference would have been missed.
    """
    fact = entry.fact
    value, p = fact.value or 0.0, fact.p_adjusted if fact.p_adjusted is not None else fact.p
    text = f"{fact.variant} {more if value > 0 else less if value < 0 else differ} {fact.other}"
    if p is None or value == 0 or p >= 0.05:
        reason = f"no difference shown ({compared(fact)}); {missed(fact)}"
        return Claim(topic, f"{text}.", "not supported", (entry.row,), reason)
    return Claim(topic, f"{text} ({compared(fact)}).", "supported", (entry.row,))
