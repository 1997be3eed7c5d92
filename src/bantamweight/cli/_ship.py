"""`bantam export` and `bantam bench`: the file that ships, and how long it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bantamweight.cli._options import (
    ChannelsOption,
    ClassesOption,
    JsonOption,
    ModelArgument,
    SizeOption,
    TrustOption,
    WeightsOption,
    named_model,
)
from bantamweight.errors import InputError

if TYPE_CHECKING:
    from bantamweight.facts import Fact
    from bantamweight.recipes.export import Exported

__all__ = ["bench", "export"]

CalibrateOption = Annotated[
    str | None, typer.Option("--calibrate", metavar="DATA", help="Images that int8 takes its ranges from.")
]
ImagesOption = Annotated[int, typer.Option("--n", help="Images to calibrate on, 32 or more.")]
ThreadsOption = Annotated[int | None, typer.Option("--threads", help="Processor threads (default: all).")]

JUDGED = 1000
"""Images that int8 is judged on, where there are as many."""


def export(
    model: ModelArgument,
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write, NAME.onnx.")],
    int8: Annotated[bool, typer.Option("--int8", help="In static int8; needs --calibrate.")] = False,
    calibrate: CalibrateOption = None,
    n: ImagesOption = 256,
    weight_bits: Annotated[int, typer.Option("--weight-bits", help="8, or 7 for x86 processors without VNNI.")] = 8,
    most_lost: Annotated[
        float, typer.Option("--most-lost", help="Share of images that int8 may lose and be recommended.")
    ] = 0.01,
    threads: ThreadsOption = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a model as one ONNX file that runs without this package, and say how it answers beside torch."""
    from bantamweight.machine import describe
    from bantamweight.recipes._images import for_calibration, for_judging
    from bantamweight.recipes.export import export as write

    if weight_bits not in (7, 8):
        raise InputError(f"expected --weight-bits 7 or 8, got {weight_bits}")
    if calibrate is None and int8:
        raise InputError("int8 needs images to take its ranges from; pass --calibrate DATA")
    if calibrate is not None and not int8:
        raise InputError("images to calibrate on are for int8; pass --int8 as well, or leave out --calibrate")
    variant = named_model(model, weights, classes, size, channels, trust)
    seen = shown = None
    if calibrate is not None:
        seen = for_calibration(variant, calibrate, n, trust=trust)
        shown = for_judging(variant, calibrate, JUDGED, without=seen, trust=trust)
    made = write(
        variant,
        out,
        int8=int8,
        calibrate=seen,
        images=None if shown is None else shown.floats(),
        labels=None if shown is None else shown.labels,
        most_lost=most_lost,
        weight_bits=7 if weight_bits == 7 else 8,
        threads=describe().cores if threads is None else threads,
        trust=trust,
    )
    typer.echo(json.dumps(_summary(made)) if as_json else "\n".join(_sentences(made)))


def _summary(made: Exported) -> dict[str, Any]:
    parity = made.parity
    return {
        "path": str(made.artifact.path),
        "kind": made.artifact.kind,
        "parent": made.artifact.parent,
        "size_bytes": made.artifact.size_bytes,
        "hash": made.artifact.meta["hash"],
        "parity": {"n": parity.n, "same": parity.same, "max_abs": parity.max_abs, "scale": parity.scale},
        "int8": None if made.int8 is None else made.int8.summary(),
    }


def _sentences(made: Exported) -> Iterator[str]:
    parity, found = made.parity, made.int8
    yield f"{made.artifact.path}  {made.artifact.size_bytes:,} bytes"
    yield f"float32 ONNX beside torch: logits differ by at most {parity.max_abs:.2g} on {parity.n} images"
    if found is None:
        return
    yield f"int8 beside float32: the same first choice on {found.same} of {found.n} images"
    if found.right is not None:
        yield f"right: {found.right[0]} in float32, {found.right[1]} in int8 ({found.gained} gained, {found.lost} lost)"
    if found.equivalence is not None:
        inside = "is shown" if found.equivalence.p < 0.05 else "is not shown"
        yield f"a difference within {100 * found.most_lost:g} points {inside} (p = {found.equivalence.p:.2g})"
    yield str(found.fusion)
    for node in found.fusion.heavy:
        yield f"  {node.operation} {node.name} stayed float: {node.because}"
    yield found.because


def bench(
    variants: Annotated[
        list[str],
        typer.Argument(metavar="VARIANT...", help="Saved Variant folders, or names; with --merge, folders of bench."),
    ],
    runtime: Annotated[
        str, typer.Option("--runtime", help="torch, onnxruntime, onnxruntime-int8, openvino, openvino-int8.")
    ] = "torch,onnxruntime",
    batch: Annotated[str, typer.Option("--batch", help="Images per call; several with commas.")] = "1,16",
    threads: ThreadsOption = None,
    runs: Annotated[int, typer.Option("--runs", help="Timed calls of each, at the least.")] = 100,
    calibrate: CalibrateOption = None,
    n: ImagesOption = 256,
    merge: Annotated[bool, typer.Option("--merge", help="Put facts of several machines into one report.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where facts and report go.")] = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    classes: ClassesOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Time variants on runtimes in turns, each beside the first on the first; or merge what several machines said."""
    from bantamweight.recipes.bench import bench as measured
    from bantamweight.recipes.bench import check_place, keep, merged

    if out is not None:
        check_place(out)
    if merge:
        if out is None:
            raise InputError("a merged report needs a place; pass -o FOLDER")
        found = merged(variants)
    else:
        batches = _numbers("--batch", batch)
        chosen = [name.strip() for name in runtime.split(",") if name.strip()]
        models = [named_model(name, None, classes, size, channels, trust) for name in variants]
        if len({model.name for model in models}) < len(models):  # two trainings of one cut, told apart by their places
            models = [replace(model, name=text) for model, text in zip(models, variants, strict=True)]
        images = None
        if calibrate is not None:
            from bantamweight.recipes._images import for_calibration

            images = for_calibration(models[0], calibrate, n, trust=trust)
        settings: dict[str, Any] = {"batches": batches, "threads": threads, "runs": runs, "trust": trust}
        found = measured(models, runtimes=chosen, calibrate=images, **settings)
    page = None
    if out is not None:
        from bantamweight.reports import report

        page = report(keep(found, out))
    typer.echo(_facts(found) if as_json else "\n".join(_lines(found)))
    if page is not None and not as_json:
        typer.echo(f"report  {page}")


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(one) for one in text.split(","))
    except ValueError as error:
        raise InputError(f"expected {option} as whole numbers with commas, such as 1,16, got {text!r}") from error


def _facts(found: Sequence[Fact]) -> str:
    return json.dumps([fact.model_dump(exclude_defaults=True) for fact in found], indent=1)


def _lines(found: Sequence[Fact]) -> Iterator[str]:
    """One line per variant, runtime and batch size."""
    over = {_place(fact): fact for fact in found if fact.metric == "speedup_over"}
    several = len({fact.machine for fact in found if fact.metric == "latency_ms"}) > 1
    for fact in found:
        if fact.metric != "latency_ms":
            continue
        ratio = over.get(_place(fact))
        beside = f"{ratio.value:>8.2f} times as fast as {ratio.other} on {ratio.against}" if ratio else ""
        where = f"  [{fact.machine}]" if several else ""
        spread = f"({fact.low:.3f} to {fact.high:.3f})" if fact.low is not None and fact.high is not None else ""
        name = f"{fact.variant:<32} {fact.runtime:<17} batch {fact.batch:>3}"
        yield f"{name} {fact.value:>9.3f} ms {spread:<22}{beside}{where}".rstrip()
    for fact in found:
        if fact.metric == "size_bytes":
            yield f"{fact.variant:<32} {fact.item:<17} {int(fact.value or 0):>12,} bytes"


def _place(fact: Fact) -> tuple[str, str, int | None, str]:
    return fact.variant, fact.runtime, fact.batch, fact.machine
