"""`bantam compress`: a lighter variant that meets a target, judged beside its parent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bantamweight.cli._attack import with_settings
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
from bantamweight.cli._watched import counted
from bantamweight.errors import InputError, near

__all__ = ["compress"]


def compress(
    model: ModelArgument,
    data: DataArgument,
    target: Annotated[
        str,
        typer.Option("--target", metavar="KIND=VALUE", help="sparsity, macs, parameters, size_bytes or latency_ms."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder for the variant.")],
    use: Annotated[
        str, typer.Option("--use", help="A criterion or scheme of `bantam list compressions`.")
    ] = "magnitude",
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting of it.")] = None,
    schedule: Annotated[
        str,
        typer.Option(
            "--schedule",
            help="one-shot, stepwise (scored anew before each of several cuts), iterative (trained after each), or "
            "gradual (weights to a sparsity).",
        ),
    ] = "one-shot",
    rounds: Annotated[
        int | None, typer.Option("--rounds", help="Cuts: 10 of a stepwise schedule, 3 of an iterative one.")
    ] = None,
    finetune: Annotated[
        list[str] | None,
        typer.Option(
            "--finetune", metavar="NAME|KEY=VALUE", help="none, adam, cycle, distill, sgd, or a setting of training."
        ),
    ] = None,
    allocate: Annotated[
        str | None,
        typer.Option("--allocate", help="global, per_layer, funnel, erk, sensitivity; of channels greedy, per_mac."),
    ] = None,
    round_to: Annotated[int, typer.Option("--round-to", help="Channels are left in multiples of this.")] = 1,
    layers: Annotated[
        list[str] | None, typer.Option("--layer", metavar="LAYER", help="Only this layer or block; may be repeated.")
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option("--skip", metavar="LAYER", help="A layer or block to leave alone.")
    ] = None,
    say_uncut: Annotated[
        bool, typer.Option("--say-uncut", help="Report groups that can't be cut instead of refusing.")
    ] = False,
    runtime: Annotated[str, typer.Option("--runtime", help="Where latency_ms is measured.")] = "onnxruntime",
    threads: Annotated[int | None, typer.Option("--threads", help="Processor threads for latency_ms.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Judged on: default test, else val, else all.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the training after a cut.")] = 0,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make a model lighter until it meets a target, fine-tune it, and judge it beside what it was.

    A run that was killed goes on when it is run again.
    """
    from bantamweight.recipes.compress import compress as run

    asked, spec, recipe = _target(target), with_settings(use, settings), _recipe(finetune)
    variant = named_model(model, weights, classes, size, channels, trust)
    with counted() as heard:
        found = run(
            variant,
            data,
            spec,
            target=asked,
            schedule=schedule,  # type: ignore[arg-type]
            rounds=rounds,
            finetune=recipe,
            allocate=allocate,
            round_to=round_to,
            layers=layers or None,
            skip=skip or (),
            uncut="say" if say_uncut else "refuse",
            runtime=runtime,
            threads=threads,
            split=split,
            seed=seed,
            out=out,
            trust=trust,
            heard=heard,
        )
    said = {**found.summary, "path": str(out)}
    typer.echo(json.dumps(said) if as_json else "\n".join(_sentences(said)))


def _target(text: str) -> dict[str, float]:
    """`macs=0.5` as a target.

    >>> _target("size_bytes=200000")
    {'size_bytes': 200000.0}
    """
    kind, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not equals or not math.isfinite(number):
        raise InputError(f"expected --target KIND=VALUE, such as macs=0.5, got {text[:60]!r}")
    return {kind.strip(): number}


def _recipe(given: Sequence[str] | None) -> Any:
    """A recipe by name with settings laid over it; the default one when nothing is said."""
    from bantamweight.recipes import FINETUNE, FINETUNES

    names = [item for item in given or () if "=" not in item]
    if len(names) > 1 or (names and names[0] not in FINETUNES):
        raise InputError(
            f"expected one recipe of {', '.join(FINETUNES)} or KEY=VALUE, got {', '.join(names)[:60]!r}"
            f"{near(names[0], FINETUNES)}"
        )
    changed = {
        key: value for key, value in with_settings("", [i for i in given or () if "=" in i]).items() if key != "use"
    }
    base = FINETUNES[names[0]] if names else FINETUNE
    if base is None:
        if changed:
            raise InputError("expected no settings beside --finetune none, got some; leave one of them out")
        return None
    return {**base, **changed}


def _sentences(said: Mapping[str, Any]) -> Iterator[str]:
    """The answer as a person would want to read it."""
    ((kind, value),) = said["asked"].items()
    achieved, dense, accuracy = said["achieved"], said["dense"], said["accuracy"]
    beside = [f"{achieved[side]:.4g}" for side in ("below", "above") if achieved[side] is not None]
    yield f"asked {kind} {value:g}, achieved {achieved['reached']:.4g}" + (
        f" (next: {', '.join(beside)})" if beside else ""
    )
    for name in ("macs", "parameters", "nonzeros"):
        yield f"{name:<11} {dense[name]:>14,} -> {achieved[name]:>14,}  ({dense[name] / max(1, achieved[name]):.2f}x)"
    for form, size in achieved["size_bytes"].items():
        yield f"{form:<11} {dense['size_bytes'][form]:>14,} -> {size:>14,} bytes"
    for name in (name for name in ("dense", "cut", "result") if name in accuracy):
        row = accuracy[name]
        yield f"{name:<6} accuracy {row['value']:.2%} ({row['low']:.2%} to {row['high']:.2%}, n = {row['n']})"
    paired = said["against_parent"]
    yield (
        f"difference {100 * paired['value']:+.2f} points ({100 * paired['low']:+.2f} to {100 * paired['high']:+.2f}), "
        f"exact McNemar p = {paired['p']:.3g}"
    )
    for name, reason in achieved["uncut"].items():
        yield f"left alone: {name}: {reason}"
    yield f"variant in {said['path']}"
