"""Claims on what a variant weighs, how long it takes, and whether its export answers as it does."""

from __future__ import annotations

from collections.abc import Iterable

from bantamweight.judging._book import Book, Claim, Entry, cut_share, dense, rows
from bantamweight.judging._words import megabytes, percent, spread, whole

__all__ = ["exports", "sizes", "speeds"]


def sizes(book: Book) -> Iterable[Claim]:
    """The smallest file of each net's sparsest form against the dense fp32 file: an exact ratio."""
    for name in _families(book, "size_bytes"):
        whole_file = book.one("size_bytes", variant=name, item="dense_fp32")
        cut = _sparsest(book, "size_bytes", name)
        if whole_file is None or cut is None:
            continue
        files = [entry for entry in book.find("size_bytes", variant=cut, runtime="") if entry.fact.value]
        best = min(files, key=lambda entry: entry.fact.value or 0.0)
        large, small = whole_file.fact.value or 0.0, best.fact.value or 0.0
        share = cut_share(book, cut)
        zeros = f" ({percent(share)} zeros)" if share else ""
        text = (
            f"{cut}{zeros} takes {megabytes(small)} as {best.fact.item} against "
            f"{megabytes(large)} for {name} as dense fp32"
        )
        if small < large:
            yield Claim("size", f"{text}: {large / small:.1f} times smaller.", "supported", rows([whole_file, best]))
        else:
            reason = f"no format of {cut} is smaller than the dense file"
            yield Claim("size", f"{text}, and is smaller.", "not supported", rows([whole_file, best]), reason)


def speeds(book: Book) -> Iterable[Claim]:
    """How long each dense net takes at batch 1, and whether its sparsest form is faster, runtime by runtime."""
    for entry in book.find("latency_ms", batch=1):
        fact = entry.fact
        if dense(fact.variant) and fact.value is not None:
            threads = f", {fact.threads} threads" if fact.threads else ""
            text = (
                f"{fact.variant} answers one image in {fact.value:.3g} ms on {fact.runtime} (median, "
                f"{spread(fact, ' ms')}{threads})."
            )
            yield Claim("speed", text, "supported", (entry.row,))
    for name in _families(book, "speedup"):
        cut = _sparsest(book, "speedup", name)
        for entry in book.find("speedup", variant=cut, other=name):
            yield _faster(entry)


def exports(book: Book) -> Iterable[Claim]:
    """Whether the exported file gives the class that the net gives."""
    for entry in book.find("parity_top1"):
        fact = entry.fact
        if not dense(fact.variant) or fact.value is None:
            continue
        gap = book.one("parity_max_abs", variant=fact.variant, runtime=fact.runtime)
        found = [entry] if gap is None else [entry, gap]
        text = f"On {fact.runtime} {fact.variant} gives the class that torch gives"
        if fact.value == 1:
            apart = "" if gap is None else f", logits at most {gap.fact.value:.2g} apart"
            shown = "on every image tried" if fact.n is None else f"on all {whole(fact.n)} images tried"
            yield Claim("export", f"{text} {shown}{apart}.", "supported", rows(found))
        else:
            yield Claim("export", f"{text}.", "not supported", rows(found), f"only on {percent(fact.value)} of them")


def _faster(entry: Entry) -> Claim:
    """A speed-up is shown when its whole interval is above 1; batch and runtime are part of the claim."""
    fact = entry.fact
    where = f"on {fact.runtime} at batch {fact.batch}"
    text = f"{fact.variant} is faster than {fact.other} {where}"
    said = f"{fact.value or 0.0:.2f} times as fast, {spread(fact)}"
    if fact.low is not None and fact.low > 1:
        return Claim("speed", f"{text} ({said}).", "supported", (entry.row,))
    slower = fact.high is not None and fact.high < 1
    reason = f"it is shown slower ({said})" if slower else f"no speed-up shown ({said})"
    return Claim("speed", f"{text}.", "not supported", (entry.row,), reason)


def _families(book: Book, metric: str) -> list[str]:
    """Nets of which cut forms have that figure, in the order met."""
    names = [entry.fact.variant for entry in book.find(metric) if not dense(entry.fact.variant)]
    return list(dict.fromkeys(name.partition("/")[0] for name in names))


def _sparsest(book: Book, metric: str, family: str) -> str | None:
    """Chosen by its zeros, then its accuracy, not by the figure itself: the claim is not the best of many tries."""
    names = sorted({entry.fact.variant for entry in book.find(metric) if entry.fact.variant.startswith(f"{family}/")})

    def rank(name: str) -> tuple[float, float]:
        accuracy = book.one("accuracy", variant=name, split=book.split, item="")
        return cut_share(book, name), (accuracy.fact.value or 0.0) if accuracy else 0.0

    return max(names, key=rank, default=None)
