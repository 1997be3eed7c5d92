"""Facts -> the plain sentences of a report's first page, each with the facts it stands on.

A pure function of facts. What the data cannot carry is printed as "not supported" with the reason, and that two
variants were not told apart is never said as their being the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from statistics import fmean, stdev

from bantamweight import stats
from bantamweight.facts import Fact
from bantamweight.judging._book import Book, Claim, Entry, dense, difference, rows
from bantamweight.judging._claims_attack import attacks, gaze, robustness, transfers
from bantamweight.judging._claims_cost import exports, sizes, speeds
from bantamweight.judging._claims_protocol import vouched
from bantamweight.judging._words import percent, points, spread, whole

__all__ = ["Claim", "claims"]


def claims(facts: Sequence[Fact]) -> list[Claim]:
    """Every claim that the facts speak to, most general first; `evidence` are rows of `facts`.

    >>> from bantamweight.facts import proportion
    >>> claims([proportion("accuracy", 31, 50, variant="net", split="test")])[0].text
    'net is right on 31 of 50 test images: 62.0% (95% interval 48.2% to 74.1%, n = 50).'
    """
    book = Book(facts)
    judged = (accuracies, nets, methods, depths, pruning, tuning)
    attacked = (robustness, vouched, attacks, transfers)
    last = (sizes, speeds, exports, gaze, leaks, recommendations)
    return list(chain(*(topic(book) for topic in (*judged, *attacked, *last))))


def accuracies(book: Book) -> Iterable[Claim]:
    """How often each dense net is right."""
    for entry in book.find("accuracy", split=book.split, item=""):
        fact = entry.fact
        if dense(fact.variant):
            where = f"{book.split} images" if book.split else "images"
            text = f"{fact.variant} is right on {whole(fact.k)} of {whole(fact.n)} {where}: {percent(fact.value)}"
            yield Claim("accuracy", f"{text} ({spread(fact)}).", "supported", (entry.row,))


def nets(book: Book) -> Iterable[Claim]:
    """Dense nets against each other."""
    for entry in _compared(book):
        if dense(entry.fact.variant) and dense(entry.fact.other):
            yield difference(
                "accuracy", entry, "is more accurate than", "is less accurate than", "differs in accuracy from"
            )


def methods(book: Book) -> Iterable[Claim]:
    """What may be said of an architecture rather than of one model file: that needs seeds."""
    seeds: dict[str, list[Entry]] = {}
    for entry in book.find("accuracy", split=book.split, item=""):
        if dense(entry.fact.variant) and entry.fact.value is not None:
            seeds.setdefault(entry.fact.variant.partition("@")[0], []).append(entry)
    single = [name for name, entries in seeds.items() if len(entries) == 1]
    for name, entries in seeds.items():
        if len(entries) > 1:
            values = [entry.fact.value or 0.0 for entry in entries]
            low, high = stats.mean_interval(values) or (values[0], values[0])
            text = (
                f"Over {len(values)} training seeds {name} is right {percent(fmean(values))} of the time (sd "
                f"{points(stdev(values))}, 95% interval {percent(low)} to {percent(high)}, n = {len(values)} seeds)."
            )
            yield Claim("method", text, "supported", rows(entries))
    if len(single) > 1:
        entries = [entry for name in single for entry in seeds[name]]
        reason = "one training seed each: what is said here holds for these files, not for an architecture or a recipe"
        yield Claim(
            "method", f"One of {', '.join(single)} is the better method.", "not supported", rows(entries), reason
        )


def pruning(book: Book) -> Iterable[Claim]:
    """Each cut against its dense net, and accuracy along sparsity."""
    for entry in _compared(book):
        variant, other = entry.fact.variant, entry.fact.other
        if variant.startswith(f"{other}/") and dense(other):
            yield difference(
                "pruning", entry, "is more accurate than", "is less accurate than", "differs in accuracy from"
            )
    for entry in book.find("accuracy_trend", split=book.split):
        yield _trend(entry)


def depths(book: Book) -> Iterable[Claim]:
    """Whether anything gets better again where less is left, over all lines of ever deeper cuts."""
    readings: dict[tuple[str, str], list[Entry]] = {}
    for entry in book.find("over_pruning"):
        readings.setdefault((entry.fact.variant, entry.fact.item), []).append(entry)
    for (net, what), entries in readings.items():
        # A line's p is after Holm over its steps; one line of many is found by chance, so Holm over the lines as well.
        adjusted = stats.holm([1.0 if entry.fact.p is None else entry.fact.p for entry in entries])
        risen = [entry for entry, p in zip(entries, adjusted, strict=True) if p < 0.05]
        count = f"{whole(len(risen))} of {whole(len(entries))} lines of cuts, after Holm over steps and lines"
        text = f"Cut deeper, {net} somewhere gets better again in {what}"
        if risen:
            yield Claim("pruning", f"{text} ({count}; {risen[0].fact.note}).", "supported", rows(risen))
        else:
            yield Claim("pruning", f"{text}.", "not supported", rows(entries), f"no such step is shown ({count})")
    heavier = [entry for entry in book.find("over_pruning") if entry.fact.note.startswith("MACs rose")]
    if heavier:
        text = f"More was asked and more was left: {heavier[0].fact.note}."
        yield Claim("pruning", text, "supported", rows(heavier))


def tuning(book: Book) -> Iterable[Claim]:
    """Each fine-tuned variant against the cut it was made from."""
    for entry in _compared(book):
        variant, other = entry.fact.variant, entry.fact.other
        if variant.startswith(f"{other}/") and not dense(other):
            yield difference("fine-tuning", entry, "gains accuracy over", "loses accuracy against", "differs from")


def leaks(book: Book) -> Iterable[Claim]:
    """Whether images of one split were met in another."""
    entries = [entry for entry in book.find("data_leaks") if entry.fact.value is not None]
    # A pair between two splits that nothing is judged on leaks nothing.
    split = book.split or "test"
    judged = [entry for entry in entries if split in (entry.fact.split, entry.fact.against)]
    count = sum(entry.fact.value or 0.0 for entry in entries)
    if entries and count == 0:
        text = "No image is a near-duplicate of one in another split."
        yield Claim("data", text, "supported", rows(entries))
    elif judged:
        reason = f"{whole(sum(entry.fact.value or 0.0 for entry in judged))} pairs are near-duplicates across splits"
        yield Claim("data", f"The {split} images were not met in training.", "not supported", rows(judged), reason)
    elif entries:
        others = " and ".join(dict.fromkeys(f"{entry.fact.split} and {entry.fact.against}" for entry in entries))
        text = f"No {split} image is a near-duplicate of one in another split ({whole(count)} pairs lie in {others})."
        yield Claim("data", text, "supported", rows(entries))


def recommendations(book: Book) -> Iterable[Claim]:
    """What to ship in each scenario."""
    for entry in book.find("recommended"):
        fact = entry.fact
        if fact.value:
            yield Claim("recommended", f"For {fact.item}: {fact.note}.", "supported", (entry.row,))
        else:
            reason = fact.note.removeprefix("not supported: ")
            yield Claim("recommended", f"A choice for {fact.item}.", "not supported", (entry.row,), reason)


def _compared(book: Book) -> list[Entry]:
    return book.find("accuracy_difference", split=book.split)


def _trend(entry: Entry) -> Claim:
    """Per tenth of the axis, since nothing is cut by a whole unit."""
    fact = entry.fact
    slope, how = (fact.value or 0.0) / 10, f" ({fact.item})" if fact.item else ""
    word = "falls" if slope < 0 else "rises" if slope > 0 else "changes"
    text = f"Accuracy of {fact.variant}{how} {word} as sparsity grows"
    tested = f"{points(slope, signed=True)} per tenth, n = {whole(fact.n)} images"
    if fact.p is not None:
        tested += f", p {'< 0.001' if fact.p < 0.001 else f'= {fact.p:.2g}'}"
    if fact.p is None or fact.p >= 0.05:
        return Claim("pruning", f"{text}.", "not supported", (entry.row,), f"no trend shown ({tested})")
    return Claim("pruning", f"{text} ({tested}).", "supported", (entry.row,))
