"""Claims on attacks: what they do, whether they carry over, and whether they move the gaze."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise

from bantamweight.judging._book import Book, Claim, Entry, cut_share, dense, difference, rows
from bantamweight.judging._words import percent, spread, whole

__all__ = ["attacks", "gaze", "robustness", "transfers"]

ONE_STEP = "fgsm"


def attacks(book: Book) -> Iterable[Claim]:
    """Success of each attack on each dense net, along eps; whether an iterative attack did what it should."""
    for metric in ("attack_success", "targeted_success"):
        lines: dict[tuple[str, str, str, str], list[Entry]] = defaultdict(list)
        for entry in book.find(metric, source=""):
            fact = entry.fact
            aimed = fact.target not in ("", "none")
            if dense(fact.variant) and fact.value is not None and aimed == (metric == "targeted_success"):
                lines[fact.variant, fact.attack, fact.target, _norm(fact.threat)].append(entry)
        for entries in lines.values():
            yield _line(sorted(entries, key=lambda entry: _eps(entry.fact.threat)))
    yield from _failures(book)
    for entry in book.find("eps_for_half"):
        if dense(entry.fact.variant) and entry.fact.target in ("", "none"):
            yield _half(entry)


def robustness(book: Book) -> Iterable[Claim]:
    """How often each dense net stays right at the cell where robustness is read, and what cutting did to that."""
    evidence = book.evidence
    for point in evidence.points:
        if point.robust is not None and dense(point.variant):
            fact = point.robust.fact
            text = (
                f"Under {fact.attack} ({fact.threat}) {fact.variant} stays right on {whole(fact.k)} of {whole(fact.n)} "
                f"images: {percent(fact.value)} ({spread(fact)})."
            )
            yield Claim("robustness", text, "supported", (point.robust.row,))
    for entry in book.find("robust_accuracy_difference", source=""):
        fact = entry.fact
        if f"{fact.attack} {fact.threat}" == evidence.under and fact.target in ("", "none"):
            related = fact.variant.startswith(f"{fact.other}/") and dense(fact.other)
            if related or (dense(fact.variant) and dense(fact.other)):
                more, less = (f"is {word} accurate under {evidence.under} than" for word in ("more", "less"))
                yield difference("robustness", entry, more, less, f"differs under {evidence.under} from")


def transfers(book: Book) -> Iterable[Claim]:
    """Whether images made on one net fool another, and that net's own cuts, at the cell with most evidence."""
    found = [entry for entry in book.find("transfer_success") if entry.fact.target in ("", "none")]
    if not found:
        return
    cells = Counter((entry.fact.attack, entry.fact.threat) for entry in found)
    attack, threat = max(cells, key=lambda cell: (cells[cell], " ".join(cell) == book.evidence.under, cell))
    found = [entry for entry in found if (entry.fact.attack, entry.fact.threat) == (attack, threat)]
    own: dict[str, list[Entry]] = defaultdict(list)
    for entry in found:
        source, judged = entry.fact.source, entry.fact.variant
        if dense(source) and dense(judged):
            yield _carried(book, entry)
        elif judged.startswith(f"{source}/") and dense(source):
            own[source].append(entry)
    for source, entries in own.items():
        ordered = sorted(entries, key=lambda entry: entry.fact.value or 0.0)
        ends = [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
        said = [f"{percent(end.fact.value)} ({spread(end.fact)}) of what {end.fact.variant} had right" for end in ends]
        text = f"Images made on {source} by {attack} ({threat}) fool its cut forms too: {' to '.join(said)}."
        yield Claim("transfer", text, "supported", rows(entries))


def gaze(book: Book) -> Iterable[Claim]:
    """How far maps move under attack and when a net is cut, and where a method is not defined."""
    for entry in book.find("explainer_undefined"):
        if dense(entry.fact.variant):
            text = f"{entry.fact.item} is not defined for {entry.fact.variant}: {entry.fact.note.rstrip('.')}."
            yield Claim("gaze", text, "supported", (entry.row,))
    for entry in book.find("map_correlation"):
        fact = entry.fact
        with_dense = fact.against == "dense" or (fact.other != "" and fact.against == "")
        sparsest = not dense(fact.variant) and _sparsest(book, fact.variant)
        if not (sparsest if with_dense else dense(fact.variant)):
            continue
        if with_dense:
            text = f"{fact.item} maps of {fact.variant} and of the dense net correlate in rank"
        else:
            by = f"{fact.attack} ({fact.threat})" if fact.attack else "the attack"
            text = f"{fact.item} maps of {fact.variant} before and after {by} correlate in rank"
        if fact.value is None or fact.low is None:
            reason = f"no interval can be given for {whole(fact.n)} maps"
            yield Claim("gaze", f"{text}.", "not supported", (entry.row,), reason)
        else:
            text += f" by {fact.value:.2f} on average, 1 being unmoved ({spread(fact)})."
            yield Claim("gaze", text, "supported", (entry.row,))


def _sparsest(book: Book, variant: str) -> bool:
    """Whether no variant of the same net has maps of a larger cut."""
    family = variant.partition("/")[0]
    names = {entry.fact.variant for entry in book.find("map_correlation")}
    rivals = [name for name in names if name.partition("/")[0] == family]
    return cut_share(book, variant) >= max(cut_share(book, name) for name in rivals)


def _line(entries: Sequence[Entry]) -> Claim:
    """One attack on one net along eps; not supported where a larger eps is shown to break less."""
    first, last = entries[0].fact, entries[-1].fact
    aimed = first.target not in ("", "none")
    did, whose = (
        ("moves", f"images of other classes {first.variant}") if aimed else ("fools", f"images {first.variant}")
    )
    where = f" to {first.target}" if aimed else ""
    text = f"{first.attack} {did} {percent(first.value)} of the {whose} had right{where} at {first.threat}"
    text += f" ({spread(first)})"
    if len(entries) > 1:
        text += f", and {percent(last.value)} at {last.threat} ({spread(last)})"
    for smaller, larger in pairwise(entries):
        if _name(first.attack) != ONE_STEP and _below(larger, smaller):  # one step may overshoot
            reason = (
                f"{larger.fact.threat} is shown to break less than {smaller.fact.threat}, which a sound iterative "
                "attack does not: its settings don't fit"
            )
            return Claim("attack", f"{text}.", "not supported", rows(entries), reason)
    return Claim("attack", f"{text}.", "supported", rows(entries))


def _failures(book: Book) -> Iterable[Claim]:
    """An iterative attack that is shown to break less than one step has failed; no robustness follows from it."""
    cells = {
        (entry.fact.variant, entry.fact.threat, entry.fact.attack): entry
        for entry in book.find("attack_success", source="")
        if entry.fact.target in ("", "none") and entry.fact.value is not None
    }
    for (variant, threat, attack), entry in cells.items():
        step = cells.get((variant, threat, ONE_STEP))
        if step is not None and _name(attack) != ONE_STEP and _below(entry, step):
            reason = (
                f"it fools {percent(entry.fact.value)} where one step ({ONE_STEP}) fools {percent(step.fact.value)}: "
                "the attack failed, and no robustness may be read from it"
            )
            text = f"{attack} measures how robust {variant} is at {threat}."
            yield Claim("attack", text, "not supported", rows([entry, step]), reason)


def _half(entry: Entry) -> Claim:
    fact = entry.fact
    text = f"{fact.variant} is wrong on half of all images under {fact.attack}"
    if fact.value is None:
        reason = (
            f"it is on {whole(fact.k)} of {whole(fact.n)}, those counted that it had wrong before, whatever the eps"
        )
        return Claim("attack", f"{text}.", "not supported", (entry.row,), reason)
    return Claim(
        "attack", f"{text} within {_norm(fact.threat)} {fact.value:.3g} ({spread(fact)}).", "supported", (entry.row,)
    )


def _carried(book: Book, entry: Entry) -> Claim:
    fact = entry.fact
    text = (
        f"Images made on {fact.source} by {fact.attack} ({fact.threat}) fool {fact.variant} on "
        f"{percent(fact.value)} of those it had right ({spread(fact)})"
    )
    given = book.one("transfer_given_source", source=fact.source, variant=fact.variant, attack=fact.attack,
                     threat=fact.threat, target=fact.target)  # fmt: skip
    if given is None:
        return Claim("transfer", f"{text}.", "supported", (entry.row,))
    text += f", and on {percent(given.fact.value)} of those that fooled {fact.source} ({spread(given.fact)})"
    return Claim("transfer", f"{text}.", "supported", rows([entry, given]))


def _below(one: Entry, other: Entry) -> bool:
    """Whether the first is shown smaller: the intervals lie apart."""
    high, low = one.fact.high, other.fact.low
    return high is not None and low is not None and high < low


def _name(attack: str) -> str:
    return attack.partition("(")[0].strip()


def _norm(threat: str) -> str:
    return threat.partition(" ")[0]


def _eps(threat: str) -> float:
    """`linf 8/255` as a number, for sorting; unreadable text comes first."""
    top, _, bottom = threat.partition(" ")[2].partition("/")
    try:
        return float(top) / float(bottom or 1)
    except (ValueError, ZeroDivisionError):
        return 0.0
