"""Numbers as the page says them: a value never goes without its interval and its n where it has them."""

from __future__ import annotations

from bantamweight.facts import Fact

__all__ = [
    "NONE",
    "bare",
    "eps",
    "figure",
    "interval",
    "norm",
    "number",
    "p_value",
    "percent",
    "plural",
    "said",
    "short",
    "size",
    "whole",
]

UNKNOWN = "unknown"
NONE = "\N{EN DASH}"
"""What stands in a cell without a fact."""


def percent(share: float | None, *, unit: bool = True) -> str:
    """`69.2%`."""
    return UNKNOWN if share is None else f"{100 * share:.1f}" + ("%" if unit else "")


def whole(count: float | None) -> str:
    """`1,000`."""
    return UNKNOWN if count is None else f"{count:,.0f}"


def number(value: float | None, digits: int = 3) -> str:
    """Three significant digits, without an exponent where that stays readable: `0.0312`, `620,810`."""
    if value is None:
        return UNKNOWN
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return figure(value, digits)


def figure(value: float, digits: int = 3) -> str:
    """As `number`, but a whole value keeps its digits, so that a column of results lines up: `1.00`, `0.994`."""
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    if abs(value) < 1e-4:
        return f"{value:.{digits - 1}e}"
    text = f"{value:#.{digits}g}"
    return text.rstrip(".")


def size(count: float | None) -> str:
    """Decimal units (1 MB = 1,000,000 bytes): `2.48 MB`."""
    if count is None:
        return UNKNOWN
    for unit, power in (("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= power:
            return f"{count / power:.2f} {unit}"
    return f"{count:,.0f} bytes"


def plural(count: int, one: str, many: str = "") -> str:
    """`1 image`, `2 images`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def bare(fact: Fact) -> str:
    """The value alone, with its unit."""
    if fact.value is None:
        return UNKNOWN
    if fact.kind == "proportion":
        return percent(fact.value)
    if fact.kind == "paired":
        return f"{100 * fact.value:+.1f} points"
    if fact.unit == "bytes":
        return size(fact.value)
    if fact.kind == "flag":
        return "yes" if fact.value else "no"
    if fact.kind == "count":
        return whole(fact.value)
    unit = fact.unit if fact.unit in ("ms", "s") else ""
    return f"{_result(fact, fact.value)} {unit}".strip()


def _result(fact: Fact, value: float) -> str:
    """Ratios and correlations are read against 1: always three decimals. Counts of things stay whole."""
    if fact.kind == "count" or fact.unit in ("queries", "pixels", "per attacked image"):
        return number(value)
    return f"{value:.3f}" if fact.kind == "ratio" and abs(value) < 10 else figure(value)


def interval(fact: Fact) -> str:
    """`[66.3, 72.0]`, in the unit of the value; nothing where there is none."""
    if fact.low is None and fact.high is None:
        return ""
    ends = []
    for end in (fact.low, fact.high):
        if end is None:
            ends.append("…")
        elif fact.kind in ("proportion", "paired"):
            ends.append(f"{100 * end:+.1f}" if fact.kind == "paired" else percent(end, unit=False))
        else:
            ends.append(_result(fact, end))
    return f"[{ends[0]}, {ends[1]}]"


def said(fact: Fact | None, *, n: bool = True) -> str:
    """Everything: `69.2% [66.3, 72.0], n = 1,000`; a dash where there is no such fact.

    >>> from bantamweight.facts import proportion
    >>> said(proportion("accuracy", 692, 1000))
    '69.2% [66.3, 72.0], n\\xa0=\\xa01,000'
    """
    if fact is None:
        return NONE
    text = f"{bare(fact)} {interval(fact)}".strip()
    return f"{text}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{whole(fact.n)}" if n and fact.n is not None else text


def p_value(fact: Fact) -> str:
    """The p of a comparison, adjusted where there were several."""
    p = fact.p_adjusted if fact.p_adjusted is not None else fact.p
    return NONE if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def short(fact: Fact | None) -> str:
    """Value and interval, where one n holds for the whole column."""
    return said(fact, n=False)


def norm(threat: str) -> str:
    """`linf` of `linf 8/255`."""
    return threat.partition(" ")[0]


def eps(threat: str) -> float | None:
    """0.0314 of `linf 8/255`; None where the text has no number.

    >>> eps("linf 51/255")
    0.2
    """
    top, _, bottom = threat.partition(" ")[2].partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return None
