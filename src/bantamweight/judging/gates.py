"""Gates: lines over facts that a study must pass, such as `robust_accuracy[net, linf 8/255].low >= 0.30`.

METRIC[SELECTOR, ...].FIELD OPERATOR NUMBER. A selector is a value that some column of the fact must have (a variant, a
threat, an attack, ...), or `column=value` where that is ambiguous; `target=` asks for an empty column. FIELD is
`value` unless said. Exactly one fact must match: a gate that could mean two numbers means neither.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bantamweight.errors import InputError, near
from bantamweight.facts import Fact

__all__ = ["Gate", "Outcome", "evaluate", "parse"]

FIELDS = ("value", "low", "high", "k", "n", "p", "p_adjusted", "detectable", "gained", "lost")
NAMES = ("variant", "threat", "attack", "split", "target", "runtime", "item", "other", "source", "against", "protocol")
NUMBERS = ("step", "seed", "batch", "threads")
OPERATORS = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
FORM = re.compile(
    r"\s*(?P<metric>\w+)\s*(?:\[(?P<selectors>.*)\])?\s*(?:\.(?P<field>\w+))?"
    r"\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<number>[^\s<>=!]\S*)\s*",
    re.DOTALL,
)


@dataclass(frozen=True)
class Gate:
    """One parsed line; a selector's column is "" where any will do."""

    text: str
    metric: str
    selectors: tuple[tuple[str, str], ...]
    field: str
    sign: str
    number: float


class Outcome(NamedTuple):
    """A gate, the one fact it speaks of, and whether that fact passes it."""

    gate: Gate
    fact: Fact
    passed: bool


def parse(text: str) -> Gate:
    """A gate from its line. Raises InputError that says which part is wrong.

    >>> gate = parse("robust_accuracy[resnet_small, linf 8/255].low >= 0.30")
    >>> gate.selectors, gate.field, gate.number
    ((('', 'resnet_small'), ('', 'linf 8/255')), 'low', 0.3)
    """
    found = FORM.fullmatch(text)
    if found is None:
        raise InputError(f"expected a gate like 'accuracy[resnet_small, test].low >= 0.66', got {text!r}")
    field = found["field"] or "value"
    if field not in FIELDS:
        raise InputError(f"gate {text!r}: a fact has no number {field!r}{near(field, FIELDS)}")
    selectors = tuple(_selector(part, text) for part in _split(found["selectors"] or "") if part)
    return Gate(text.strip(), found["metric"], selectors, field, found["sign"], _number(found["number"], text))


def evaluate(gates: Sequence[Gate | str], facts: Sequence[Fact]) -> list[Outcome]:
    """Each gate with its fact and whether it passes; a value that is unknown (None) passes nothing.

    Raises InputError when no fact or more than one matches, or when that fact has no such field.
    """
    return [_judge(parse(gate) if isinstance(gate, str) else gate, facts) for gate in gates]


def _judge(gate: Gate, facts: Sequence[Fact]) -> Outcome:
    fact = _only(gate, facts)
    number = getattr(fact, gate.field)
    if number is None and gate.field != "value":
        raise InputError(f"gate {gate.text!r}: that {fact.metric} has no {gate.field}")
    passed = number is not None and OPERATORS[gate.sign](number, gate.number)
    return Outcome(gate, fact, bool(passed))


def _only(gate: Gate, facts: Sequence[Fact]) -> Fact:
    """The one fact a gate speaks of, or an error that shows the way to it."""
    named = [fact for fact in facts if fact.metric == gate.metric]
    if not named:
        known = near(gate.metric, {fact.metric for fact in facts})
        raise InputError(f"gate {gate.text!r}: there is no fact {gate.metric!r}{known}")
    left = named
    for selector in gate.selectors:
        kept = [fact for fact in left if _matches(fact, selector)]
        if not kept:
            wanted = "=".join(part for part in selector if part) or "an empty value"
            options = {value for fact in left for value in _values(fact, selector[0])}
            raise InputError(f"gate {gate.text!r}: no {gate.metric} has {wanted!r}{near(selector[1], options - {''})}")
        left = kept
    if len(left) > 1:
        raise InputError(f"gate {gate.text!r}: {len(left)} facts match; {_tell_apart(left)}")
    return left[0]


def _matches(fact: Fact, selector: tuple[str, str]) -> bool:
    column, wanted = selector
    if column in NUMBERS:
        held = getattr(fact, column)
        return held is None if wanted == "" else held is not None and held == _number(wanted, column)
    return any(_same(value, wanted) for value in _values(fact, column))


def _same(value: str, wanted: str) -> bool:
    """Equal as text, by a part's name without its settings (`pgd` for `pgd(steps=40)`), or as a word and a number
    (`linf 0.01` is `linf 1/100`)."""
    if wanted in (value, value.partition("(")[0]):
        return True
    pairs = [text.rpartition(" ") for text in (value, wanted)]
    if not pairs[0][0] or pairs[0][0] != pairs[1][0]:
        return False
    try:
        first, second = (_number(number, "") for _, _, number in pairs)
    except InputError:
        return False
    return math.isclose(first, second, rel_tol=1e-9)


def _values(fact: Fact, column: str) -> list[str]:
    return [str(getattr(fact, name)) for name in ([column] if column else NAMES)]


def _tell_apart(facts: Sequence[Fact]) -> str:
    """Which columns differ between the facts, as selectors that would choose."""
    for name in (*NAMES, *NUMBERS):
        found = sorted({"" if (value := getattr(fact, name)) is None else str(value) for fact in facts})
        if len(found) > 1:
            shown = ", ".join(f"{name}={value}" for value in found[:6])
            return f"say which with one of {shown}" + (", ..." if len(found) > 6 else "")
    return "they differ in no column a gate can name"


def _selector(part: str, text: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\w+)\s*=\s*(.*)", part, re.DOTALL)
    if found is None:
        return "", part
    column, value = found.groups()
    if column not in NAMES + NUMBERS:
        raise InputError(f"gate {text!r}: a fact has no column {column!r}{near(column, NAMES + NUMBERS)}")
    if column in NUMBERS and value:
        _number(value, text)
    return column, value


def _split(selectors: str) -> list[str]:
    """At commas, but not at those inside brackets: `pgd(steps=40, rate=0.01)` is one selector."""
    parts, depth = [""], 0
    for letter in selectors:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _number(text: str, where: str) -> float:
    """`0.3`, `8/255` or `5%`."""
    top, _, bottom = text.removesuffix("%").partition("/")
    try:
        number = float(top) / float(bottom or 1) / (100 if text.endswith("%") else 1)
    except (ValueError, ZeroDivisionError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"gate {where!r}: expected a number such as 0.3, 8/255 or 30%, got {text!r}")
    return number
