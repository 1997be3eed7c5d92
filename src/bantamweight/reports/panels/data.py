"""The images: how many, what was left out, and whether splits share any."""

from __future__ import annotations

from bantamweight.reports import _words
from bantamweight.reports._blocks import Block, Panel, Prose, Table
from bantamweight.reports._run import Context

__all__ = ["data"]

SHOWN = 12


def data(context: Context) -> Panel | None:
    """Counts, files skipped and near-duplicates across splits; None without any such fact."""
    images, skipped, leaks = (context.find(metric) for metric in ("data_images", "data_skipped", "data_leaks"))
    if not (images or skipped or leaks):
        return None
    blocks: list[Block] = []
    if images:
        rows = [[fact.split or "all", _words.bare(fact)] for fact in images]
        blocks.append(Table("Images per split", ["split", "images"], rows))
    for fact in skipped:
        if fact.value:
            blocks.append(
                Prose(f"{_words.plural(int(fact.value), 'file')} could not be used, among them: {fact.note}.")
            )
        else:
            blocks.append(Prose("No file was left out."))
    found = [fact for fact in leaks if fact.value]
    if leaks and not found:
        blocks.append(Prose(f"No image is a near-duplicate of one in another split ({leaks[0].note or 'as checked'})."))
    if found:
        rows = [[f"{fact.split} and {fact.against}", _words.bare(fact)] for fact in found]
        note = "Accuracy on images that were met in training says less. " + (found[0].note or "")
        blocks.append(Table("Near-duplicates across splits", ["splits", "pairs"], rows, note))
        blocks += _pairs(context)
    size, classes = context.data.get("size"), context.classes
    shape = f" Images are {' x '.join(str(side) for side in size)} pixels." if isinstance(size, list) else ""
    lead = f"{context.data.get('name', 'The images')}: {_words.plural(len(classes), 'class', 'classes')}.{shape}"
    return Panel("The images", 10, blocks, lead)


def _pairs(context: Context) -> list[Block]:
    """The first few pairs of a leak, by file name."""
    for job in context.jobs("data"):
        pairs = job.json("leaks.json") or []
        rows = [[f"{one}: {first}", f"{other}: {second}"] for one, first, other, second in pairs[:SHOWN]]
        if rows:
            caption = f"{len(rows)} of {_words.plural(len(pairs), 'pair')}"
            return [Table(caption, ["image", "is near"], rows, folded=True)]
    return []
