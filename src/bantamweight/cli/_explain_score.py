"""`bantam explain score`: how far the maps of some methods may be trusted on one model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bantamweight.cli._explain import BatchOption, explain, used
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

if TYPE_CHECKING:
    from bantamweight.facts import Fact
    from bantamweight.recipes.scores import Scored

__all__ = ["explain", "score"]


@explain.command()
def score(
    model: ModelArgument,
    data: DataArgument,
    use: Annotated[str, typer.Option("--use", help="Methods by name, with commas between.")] = "grad_cam,gradient",
    metrics: Annotated[
        str | None, typer.Option("--metrics", help="Metrics by name, with commas (default: what the data allows).")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Only the first N images.")] = 64,
    split: Annotated[str | None, typer.Option("--split", help="Default: test, else val, else everything.")] = None,
    precision: Annotated[str, typer.Option("--precision", help="Of deletion and its kin: fp32 or bf16.")] = "fp32",
    batch: BatchOption = 64,
    seed: Annotated[int, typer.Option("--seed", help="Of every random number.")] = 0,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Score maps beside maps that know nothing, and say what the scores allow one to say."""
    from bantamweight.recipes.evaluate import judged_images
    from bantamweight.recipes.scores import score as scores_of

    if precision not in ("fp32", "bf16"):
        raise InputError(f"expected --precision to be fp32 or bf16, got {precision!r}")
    variant = named_model(model, weights, classes, size, channels, trust)
    name, chosen, _ = judged_images(variant, data, split=split, n=n, trust=trust)
    with watched() as heard:
        found = scores_of(
            variant,
            chosen.floats(),
            chosen.labels,
            used(use),
            None if metrics is None else _named(metrics),
            objects=chosen.masks,
            seed=seed,
            batch=batch,
            precision=precision,  # type: ignore[arg-type]
            trust=trust,
            heard=heard,
        )
    said = _said(found, name)
    typer.echo(json.dumps(said) if as_json else "\n".join(_lines(found)))


def _named(metrics: str) -> list[str]:
    found = [name.strip() for name in metrics.split(",") if name.strip()]
    if not found:
        raise InputError(f"expected metrics after --metrics, such as deletion,mprt, got {metrics!r}")
    return found


def _said(found: Scored, split: str) -> dict[str, Any]:
    facts = [fact.model_dump(exclude_defaults=True) for fact in found.facts]
    return {"n": found.n, "split": split, "facts": facts, "sentences": list(found.sentences)}


def _lines(found: Scored) -> Iterator[str]:
    """A table with a row per method and baseline and a column per metric, then the sentences."""
    facts = {(fact.item, fact.metric): fact for fact in found.facts if fact.step is None and not fact.against}
    wanted = [f"map_{name}" for name in dict.fromkeys(metric for _, metric in found.scores)]
    methods = list(dict.fromkeys(method for method, _ in found.scores))
    rows = [["", *(name.removeprefix("map_") for name in wanted)]]
    rows += [[_marked(method, facts), *(_cell(facts.get((method, name))) for name in wanted)] for method in methods]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    yield f"means over {found.n} images with 95% intervals; * fails the check of the parameters, ? not shown to pass"
    yield from found.sentences


def _marked(method: str, facts: dict[tuple[str, str], Fact]) -> str:
    gate = facts.get((method, "mprt_failed"))
    return method if gate is None or gate.value == 0 else f"{method} {'?' if gate.value is None else '*'}"


def _cell(fact: Fact | None) -> str:
    if fact is None or fact.value is None:
        return "-"
    ends = "" if fact.low is None or fact.high is None else f" [{fact.low:.2f}, {fact.high:.2f}]"
    return f"{fact.value:.3f}{ends}"
