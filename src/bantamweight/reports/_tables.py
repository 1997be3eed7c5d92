"""Facts laid out as tables: rows are what is told apart, columns are metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bantamweight.facts import Fact
from bantamweight.reports import _words
from bantamweight.reports._blocks import Cell, Table
from bantamweight.reports._run import Context

__all__ = ["Asked", "measured", "paired", "pivot", "untargeted"]


NO_MORE: Mapping[str, Any] = {}


def untargeted(fact: Fact) -> bool:
    """Whether a fact of an attack is of one that only wants a wrong answer."""
    return fact.target in ("", "none")


class Asked(NamedTuple):
    """What was asked of variants under attack: facts that agree in this are of one table."""

    attack: str
    threat: str
    target: str
    split: str
    seed: int | None

    @classmethod
    def of(cls, fact: Fact) -> Asked:
        """What a fact is an answer to."""
        return cls(fact.attack, fact.threat, fact.target, fact.split, fact.seed)

    @property
    def place(self) -> tuple[str, str, float, str, str, int]:
        """Where it stands among others."""
        budget = _words.norm(self.threat), _words.eps(self.threat) or 0.0
        return self.attack, *budget, self.target, self.split, self.seed or 0

    def said(self, among: Iterable[Asked]) -> str:
        """`fast, linf 0.03, towards 3`; the split and the seed only where others have another."""
        others = list(among)
        words = [self.attack, self.threat.replace(" ", "\N{NO-BREAK SPACE}")]
        words += [f"towards {self.target}"] if self.target not in ("", "none") else []
        words += [f"on {self.split}"] if len({one.split for one in others}) > 1 else []
        words += [f"seed {self.seed}"] if len({one.seed for one in others}) > 1 else []
        return ", ".join(words)


def measured(*groups: Iterable[Fact]) -> str:
    """The sentence under a table with measured numbers: threads, machine, protocol; nothing without any."""
    facts = [fact for group in groups for fact in group if fact.origin == "measured"]
    if not facts:
        return ""
    threads = sorted({fact.threads for fact in facts if fact.threads})
    machines = sorted({fact.machine for fact in facts if fact.machine})
    protocols = sorted({fact.protocol for fact in facts if fact.protocol and not fact.attack})
    said = ["Measured"]
    if machines:
        said.append(f" on {'; '.join(machines)}")
    if threads:
        said.append(f", {', '.join(str(one) for one in threads)} thread{'s' if threads != [1] else ''}")
    return "".join(said) + (f"; {'; '.join(protocols)}." if protocols else ".")


def pivot(
    context: Context,
    caption: str,
    keys: Mapping[str, str],
    metrics: Mapping[str, str],
    *,
    where: Callable[[Fact], bool] = lambda _fact: True,
    only: Mapping[str, Any] = NO_MORE,
    say: Callable[[Fact | None], str] = _words.said,
    note: str = "",
    folded: bool = False,
) -> Table | None:
    """A table with one row per combination of `keys` (column of a fact -> heading) and one column per metric
    (name -> heading), of the facts that `where` keeps and whose columns are as in `only`.
    Columns that no fact fills are left out; None without any fact."""
    found: dict[tuple[Any, ...], dict[str, Fact]] = {}
    for metric in metrics:
        for fact in context.find(metric, **only):
            if where(fact):
                found.setdefault(tuple(getattr(fact, key) for key in keys), {}).setdefault(metric, fact)
    if not found:
        return None
    columns = [metric for metric in metrics if any(metric in row for row in found.values())]
    # A key that is the same everywhere says nothing in a table, except the first, which names the rows.
    shown = [at for at in range(len(keys)) if at == 0 or len({key[at] for key in found}) > 1]
    names = list(keys.values())
    rows: list[Sequence[str | Cell]] = [
        [*(_plain(key[at]) for at in shown), *(say(found[key].get(metric)) for metric in columns)]
        for key in sorted(found, key=lambda key: _place(context, list(keys), key))
    ]
    return Table(caption, [*(names[at] for at in shown), *(metrics[name] for name in columns)], rows, note, folded)


def _plain(value: Any) -> str:
    if value is None or value == "":
        return _words.NONE
    return _words.number(value) if isinstance(value, float) else str(value)


def _place(context: Context, keys: Sequence[str], values: Sequence[Any]) -> tuple[Any, ...]:
    """Variants in the run's order, threats by norm and size, the rest as text."""
    found: list[Any] = []
    for key, value in zip(keys, values, strict=True):
        if key in ("variant", "source", "other"):
            found.append((context.place(value), str(value)))
        elif key == "threat":
            found.append((_words.norm(value), _words.eps(value) or 0.0))
        elif isinstance(value, int | float):
            found.append((float(value), ""))
        else:
            found.append((0.0, "" if value is None else str(value)))
    return tuple(found)


def paired(facts: Sequence[Fact], caption: str) -> Table | None:
    """Comparisons on the same images: what was gained and lost, and what the test could have shown; folded."""
    if not facts:
        return None
    attacked = any(fact.attack for fact in facts)
    rows: list[Sequence[str | Cell]] = []
    for fact in facts:
        p = fact.p_adjusted if fact.p_adjusted is not None else fact.p
        shown = p is not None and p < 0.05
        missed = _words.NONE if fact.detectable is None else f"{100 * fact.detectable:.1f} points"
        under = [f"{fact.attack}, {fact.threat}"] if attacked else []
        told = Cell("shown" if shown else "not shown", kind="" if shown else "quiet")
        counts = f"{fact.gained} / {fact.lost}"
        rows.append([fact.variant, fact.other, *under, _words.said(fact), counts, _words.p_value(fact), missed, told])
    heads = ["variant", "against", *(["under"] if attacked else []), "difference", "gained / lost", "p (Holm)"]
    note = "Not shown is not the same as equal: a difference under the detectable one would usually be missed."
    return Table(caption, [*heads, "detectable", "difference is"], rows, note, folded=True)
