"""Facts sorted for a choice: one point per variant, and the paired comparisons between points."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bantamweight.facts import Fact

__all__ = ["Cell", "Evidence", "Paired", "Point", "gather", "untargeted"]

SPLITS = ("test", "val", "all", "")
FIELDS = {"accuracy_difference": "accuracy", "robust_accuracy_difference": "robust"}


class Cell(NamedTuple):
    """A fact with its row and its interval filled in (a number without one is its own interval)."""

    row: int
    fact: Fact
    value: float
    low: float
    high: float

    @property
    def n(self) -> int | None:
        """How many images it stands on."""
        return self.fact.n


class Paired(NamedTuple):
    """A comparison and the row it was read from."""

    row: int
    fact: Fact


@dataclass(frozen=True)
class Point:
    """One variant's figures; None where the facts have none."""

    variant: str
    accuracy: Cell | None = None
    robust: Cell | None = None
    latency: Cell | None = None
    p95: Cell | None = None
    size: Cell | None = None

    def scores(self) -> tuple[float, float, float, float]:
        """Accuracy, robust accuracy, minus latency, minus bytes: higher is better, unknown is worst."""
        worst = float("-inf")
        return (
            self.accuracy.value if self.accuracy else worst,
            self.robust.value if self.robust else worst,
            -self.latency.value if self.latency else worst,
            -self.size.value if self.size else worst,
        )

    def rows(self, *fields: str) -> list[int]:
        """Rows of the facts behind those figures."""
        cells = (getattr(self, field) for field in fields)
        return [cell.row for cell in cells if cell is not None]

    def milliseconds(self) -> float:
        """Median latency."""
        return self.latency.value if self.latency else float("inf")

    def latency_low(self) -> float:
        """Lower end of the median's interval."""
        return self.latency.low if self.latency else float("inf")

    def latency_high(self) -> float:
        """Upper end of the median's interval."""
        return self.latency.high if self.latency else float("inf")

    def deadline(self) -> float:
        """What a frame budget must hold: the 95th percentile, or the median's upper end where that is larger."""
        return max(self.p95.value if self.p95 else 0.0, self.latency_high())

    def bytes(self) -> float:
        """Size of the smallest file."""
        return self.size.value if self.size else float("inf")


@dataclass(frozen=True)
class Evidence:
    """Everything a choice may look at. `under` names the attack and threat that robustness is read at."""

    facts: Sequence[Fact]
    points: tuple[Point, ...]
    chance: float
    under: str
    pairs: Mapping[tuple[str, frozenset[str]], int]

    def paired(self, variant: str, other: str, field: str) -> Paired | None:
        """The paired comparison of two variants, from the first's side whichever way it was written."""
        row = self.pairs.get((field, frozenset((variant, other))))
        if row is None:
            return None
        fact = self.facts[row]
        if fact.variant == variant:
            return Paired(row, fact)
        turned = {"value": fact.value, "low": fact.high, "high": fact.low}
        signs = {name: None if end is None else -end for name, end in turned.items()}
        swapped = {"variant": variant, "other": other, "gained": fact.lost, "lost": fact.gained}
        return Paired(row, fact.model_copy(update=signs | swapped))


def untargeted(fact: Fact) -> bool:
    """Whether a fact speaks of no attack, or of one without a target made on the variant itself."""
    return fact.target in ("", "none") and not fact.source


def gather(facts: Sequence[Fact], variants: set[str] | None, threat: str, attack: str) -> Evidence:
    """The points of the named variants (all that have an accuracy when None) and how to compare them."""
    split, accuracy = _accuracies(facts)
    names = [name for name in accuracy if variants is None or name in variants]
    cell = _strongest(facts, set(names), threat, attack)
    robust = {} if cell is None else _cells(facts, "robust_accuracy", attack=cell[0], threat=cell[1])
    unlike = _unlike(facts)
    latency = _cells(facts, "latency_ms", unlike, batch=1)
    p95 = {
        name: slow
        for runtime in {timed.fact.runtime for timed in latency.values()}
        for name, slow in _cells(facts, "latency_p95_ms", batch=1, runtime=runtime).items()
        if name in latency and latency[name].fact.runtime == runtime
    }
    sizes = _cells(facts, "size_bytes", unlike)
    points = tuple(
        Point(name, accuracy[name], robust.get(name), latency.get(name), p95.get(name), sizes.get(name))
        for name in names
    )
    classes = {fact.item for fact in facts if fact.metric == "recall"}
    under = " ".join(cell or ())
    return Evidence(facts, points, 1 / len(classes) if classes else 0.1, under, _pairs(facts, split, under))


def _pairs(facts: Sequence[Fact], split: str, under: str) -> dict[tuple[str, frozenset[str]], int]:
    """Row of each paired comparison, by figure and pair; on the split, or under the attack, that was chosen."""
    found: dict[tuple[str, frozenset[str]], int] = {}
    for row, fact in enumerate(facts):
        field = FIELDS.get(fact.metric)
        if field is None or not untargeted(fact):
            continue
        if (fact.split == split) if field == "accuracy" else (f"{fact.attack} {fact.threat}" == under):
            found.setdefault((field, frozenset((fact.variant, fact.other))), row)
    return found


def _accuracies(facts: Sequence[Fact]) -> tuple[str, dict[str, Cell]]:
    """The first of test, val, everything and the unnamed split that there is, and accuracy on it."""
    for split in SPLITS:
        found = _cells(facts, "accuracy", split=split, item="")
        if found:
            return split, found
    return "", {}


def _cells(
    facts: Sequence[Fact], metric: str, without: Collection[tuple[str, str]] = (), **columns: object
) -> dict[str, Cell]:
    """One cell per variant: the lowest value where several facts fit (the fastest runtime, the smallest file).

    `without` are variants on runtimes that don't count: a file that answers otherwise than the net is no choice unless
    it was shown to be right as often, since the accuracy beside its milliseconds and bytes is the net's.
    """
    found: dict[str, Cell] = {}
    for row, fact in enumerate(facts):
        fits = fact.metric == metric and fact.value is not None and untargeted(fact)
        fits = fits and (fact.variant, fact.runtime) not in without
        if fits and all(getattr(fact, name) == value for name, value in columns.items()):
            value = float(fact.value or 0.0)
            low = value if fact.low is None else fact.low
            high = value if fact.high is None else fact.high
            if fact.variant not in found or value < found[fact.variant].value:
                found[fact.variant] = Cell(row, fact, value, low, high)
    return found


def _unlike(facts: Sequence[Fact]) -> set[tuple[str, str]]:
    """Variant and runtime of the files whose answers are not the net's and were not shown to be as good."""
    where = [(fact.metric, (fact.variant, fact.runtime)) for fact in facts if fact.runtime and not fact.value]
    kept = {(fact.variant, fact.runtime) for fact in facts if fact.metric == "runtime_keeps" and fact.value}
    return {place for metric, place in where if metric in ("parity_holds", "runtime_keeps")} - kept


def _strongest(facts: Sequence[Fact], names: set[str], threat: str, attack: str) -> tuple[str, str] | None:
    """The (attack, threat) to read robustness at: as asked, else the threat tried by most attacks (then on most
    variants, then the mildest), and there the attack that leaves least."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for fact in facts:
        fits = fact.metric == "robust_accuracy" and fact.value is not None and untargeted(fact)
        if fits and fact.variant in names and threat in ("", fact.threat) and attack in ("", fact.attack):
            values[fact.threat][fact.attack].append(fact.value or 0.0)
    if not values:
        return None
    chosen = max(
        values,
        key=lambda name: (len(values[name]), max(map(len, values[name].values())), _mean_of_all(values[name])),
    )
    return min(values[chosen], key=lambda name: _mean(values[chosen][name])), chosen


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _mean_of_all(cells: dict[str, list[float]]) -> float:
    return _mean([value for values in cells.values() for value in values])
