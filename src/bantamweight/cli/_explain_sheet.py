"""`bantam explain sheet` and `agreement`: maps put before people, and what people said of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bantamweight.cli._explain import BatchOption, used
from bantamweight.cli._explain_score import explain
from bantamweight.cli._options import (
    ChannelsOption,
    ClassesOption,
    DataArgument,
    JsonOption,
    ModelArgument,
    SizeOption,
    TrustOption,
    WeightsOption,
    named_model,
)
from bantamweight.cli._watched import watched
from bantamweight.errors import InputError
from bantamweight.whole import put

if TYPE_CHECKING:
    from bantamweight.facts import Fact

__all__ = ["agreement", "explain", "sheet"]


@explain.command()
def sheet(
    model: ModelArgument,
    data: DataArgument,
    use: Annotated[str, typer.Option("--use", help="Two to eight methods, with commas.")] = "grad_cam,gradient",
    n: Annotated[int, typer.Option("--n", help="Only the first N images.")] = 12,
    split: Annotated[str | None, typer.Option("--split", help="Default: test, else val, else everything.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="The page; its key goes beside it.")] = Path("sheet.html"),
    batch: BatchOption = 64,
    seed: Annotated[int, typer.Option("--seed", help="Of the keys that hide the methods.")] = 0,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a page on which people rate maps blind, and a key that says which map was whose."""
    from bantamweight import pictures
    from bantamweight.recipes.evaluate import judged_images
    from bantamweight.recipes.ratings import stimuli
    from bantamweight.reports import Item, rating_page

    if out.suffix != ".html":
        raise InputError(f"expected -o to name a page that ends in .html, got {out.name!r}")
    variant = named_model(model, weights, classes, size, channels, trust)
    _, chosen, names = judged_images(variant, data, split=split, n=n, trust=trust)
    with watched() as heard:
        made = stimuli(variant, chosen, names, used(use), seed=seed, batch=batch, trust=trust, heard=heard)
    items = [Item(one.id, one.said, one.image, one.maps) for one in made.items]
    page = rating_page(made.sheet, items, legend=pictures.png(pictures.legend(signed=False)))
    key = out.with_suffix(".key.json")
    put(out, page)
    put(key, json.dumps(made.key, indent=1))
    said = {"page": str(out), "key": str(key), "sheet": made.sheet, "images": len(items)}
    lines = f"page  {out}\nkey   {key} (not for the raters)"
    typer.echo(json.dumps(said) if as_json else lines)


@explain.command()
def agreement(
    key: Annotated[Path, typer.Argument(metavar="KEY", help="The key that was written beside the sheet.")],
    answers: Annotated[list[Path], typer.Argument(metavar="ANSWERS...", help="What raters saved, a file each.")],
    as_json: JsonOption = False,
) -> None:
    """Read answers back: means per method, agreement of raters, paired tests."""
    from bantamweight.judging.ratings import rating_facts, read_answers, read_key

    known = read_key(key)
    facts = rating_facts(read_answers(answers, known), known)
    if as_json:
        typer.echo(json.dumps([fact.model_dump(exclude_defaults=True) for fact in facts]))
        return
    for fact in facts:
        typer.echo(_line(fact))


def _line(fact: Fact) -> str:
    value = "unknown" if fact.value is None else f"{fact.value:.3f}"
    ends = "" if fact.low is None or fact.high is None else f" [{fact.low:.3f}, {fact.high:.3f}]"
    who = fact.item + (f" less {fact.against}" if fact.against else "")
    p = "" if fact.p_adjusted is None else f", p = {fact.p_adjusted:.3f} after Holm"
    return f"{fact.metric:<18} {who:<36} {value}{ends}, n = {fact.n}{p} ({fact.note})"
