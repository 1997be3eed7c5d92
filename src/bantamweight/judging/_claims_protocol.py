"""Claims on protocols: what the audit proves of their survivors, and which checks forbid to trust them."""

from __future__ import annotations

from collections.abc import Iterable

from bantamweight.judging._book import Book, Claim, Entry, rows
from bantamweight.judging._words import percent, whole

__all__ = ["vouched"]


def vouched(book: Book) -> Iterable[Claim]:
    """One claim per audit and per variant whose checks failed."""
    for entry in book.find("audit_bound"):
        fact = entry.fact
        broken = book.one("audit_broken", **_cell(entry))
        if fact.value is not None and broken is not None:
            kept = f"the images that {fact.variant} keeps under {fact.attack} ({fact.threat})"
            seen, to = f"{whole(broken.fact.k)} of {whole(broken.fact.n)}", "to the reference ensemble"
            text = f"At most {percent(fact.value)} of {kept} would fall {to} (at 95% confidence: {seen} audited fell)."
            if fact.value == broken.fact.value:
                text = f"Of {kept} {seen} fall {to}: all of them were audited."
            yield Claim("robustness", text, "supported", rows([entry, broken]))
    failed: dict[tuple[str, ...], list[Entry]] = {}
    for entry in book.find("check", value=0.0):
        failed.setdefault(tuple(_cell(entry).values()), []).append(entry)
    for entries in failed.values():
        fact = entries[0].fact
        said = "; ".join(f"{entry.fact.item}: {entry.fact.note}" for entry in entries)
        text = f"{fact.attack} ({fact.threat}) by itself measures how robust {fact.variant} is."
        yield Claim("robustness", text, "not supported", rows(entries), f"its checks failed ({said})")


def _cell(entry: Entry) -> dict[str, str]:
    return {name: getattr(entry.fact, name) for name in ("variant", "attack", "threat", "target")}
