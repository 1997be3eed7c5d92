"""Numbers as sentences say them."""

from __future__ import annotations

from bantamweight.facts import Fact

__all__ = ["compared", "megabytes", "missed", "percent", "points", "spread", "whole"]


def percent(share: float | None) -> str:
    """`66.2%`."""
    return "unknown" if share is None else f"{100 * share:.1f}%"


def points(share: float, *, signed: bool = False) -> str:
    """A difference of two shares: `3.1 points`, or `-3.1 points`."""
    return f"{100 * share:{'+' if signed else ''}.1f} points"


def whole(count: float | None) -> str:
    """`1,000`."""
    return "unknown" if count is None else f"{count:,.0f}"


def megabytes(size: float) -> str:
    """Decimal megabytes (1,000,000 bytes): `2.48 MB`."""
    return f"{size / 1e6:.2f} MB" if size >= 1e4 else f"{size / 1e3:.2f} kB"


def spread(fact: Fact, unit: str = "") -> str:
    """The interval and n of a fact: `95% interval 63.2% to 69.1%, n = 1,000`."""
    said = []
    if fact.low is not None and fact.high is not None:
        ends = [percent(end) if fact.kind == "proportion" else f"{end:.3g}{unit}" for end in (fact.low, fact.high)]
        said.append(f"95% interval {ends[0]} to {ends[1]}")
    if fact.n is not None:
        said.append(f"n = {whole(fact.n)}")
    return ", ".join(said)


def compared(fact: Fact) -> str:
    """What a paired fact says, in one bracket's worth of words."""
    value, low, high = (points(end or 0.0, signed=True) for end in (fact.value, fact.low, fact.high))
    p = fact.p_adjusted if fact.p_adjusted is not None else fact.p
    after = " after Holm" if fact.p_adjusted is not None else ""
    tested = "" if p is None else f", p {'< 0.001' if p < 0.001 else f'= {p:.2g}'}{after}"
    return (
        f"{value}, 95% interval {low.split()[0]} to {high.split()[0]}, {fact.gained} gained and {fact.lost} lost of "
        f"{whole(fact.n)}{tested}"
    )


def missed(fact: Fact) -> str:
    """What a comparison that shows nothing could have shown."""
    if fact.detectable is None:
        return f"with these {whole(fact.n)} images any difference would usually be missed"
    return f"with these {whole(fact.n)} images a difference under {points(fact.detectable)} would usually be missed"
