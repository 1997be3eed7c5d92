"""The command that counts how often a model is right."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from bantamweight.cli._options import (
    ChannelsOption,
    ClassesOption,
    DataArgument,
    ModelArgument,
    SizeOption,
    TrustOption,
    WeightsOption,
    named_model,
)

__all__ = ["evaluate"]


def evaluate(
    model: ModelArgument,
    data: DataArgument,
    n: Annotated[int | None, typer.Option("--n", help="Only the first N images.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Default: test, else val, else everything.")] = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """Count how often a model is right, with its interval (JSON on stdout)."""
    from bantamweight.recipes.evaluate import evaluate as count

    found = count(named_model(model, weights, classes, size, channels, trust), data, n=n, split=split, trust=trust)
    per_class = {name: {"n": count, "correct": right} for name, (right, count) in found.per_class.items()}
    said = {
        "n": found.n,
        "correct": found.correct,
        "accuracy": found.accuracy,
        "low": found.low,
        "high": found.high,
        "split": found.split,
        "per_class": per_class,
    }
    typer.echo(json.dumps(said, indent=None if as_json else 1))
