"""The command that takes a model apart: counts, layers, memory of training, the roofline, and several side by side."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bantamweight.cli._options import (
    ChannelsOption,
    ClassesOption,
    SizeOption,
    TrustOption,
    WeightsOption,
    named_model,
)
from bantamweight.errors import InputError

if TYPE_CHECKING:
    from torch import nn

    from bantamweight.models._anatomy import Anatomy
    from bantamweight.models._comparison import Compared
    from bantamweight.variants import Variant

__all__ = ["profile"]

OPTIMIZERS = ("sgd", "momentum", "adamw")
COMPARED_BATCH = 32


def profile(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="Zoo names, saved Variant folders, .pt2 files, or module:function."),
    ],
    layers: Annotated[bool, typer.Option("--layers", help="What each layer computes, keeps, moves and sees.")] = False,
    train: Annotated[
        int | None, typer.Option("--train", metavar="BATCH", help="Memory of training on so many images at a time.")
    ] = None,
    optimizer: Annotated[
        str, typer.Option("--optimizer", help="What --train and --compare train with: sgd, momentum or adamw.")
    ] = "sgd",
    measured: Annotated[
        bool, typer.Option("--measured", help="With --train: train two steps and measure the peak as well.")
    ] = False,
    roofline: Annotated[
        bool, typer.Option("--roofline", help="Measure this machine's rates, and each layer's time beneath them.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", help="Processor threads for what is measured.")] = 1,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare",
            help="Models side by side, trained on 32 images unless --train says otherwise.",
        ),
    ] = False,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False,
) -> None:
    """Count a model's parameters, multiply-accumulates and bytes, and more where asked (JSON on stdout)."""
    from bantamweight.variants import build

    _check(models, compare, train, optimizer, measured, threads, layers or roofline)
    if compare:
        rows = []
        for name in models:
            variant = named_model(name, weights, classes, size, channels, trust)
            rows.append(_row(variant, build(variant, trust=trust), train or COMPARED_BATCH, optimizer))
        _show(rows, as_json)
        return
    variant = named_model(models[0], weights, classes, size, channels, trust)
    module = build(variant, trust=trust)
    typer.echo(
        json.dumps(
            _said(variant, module, layers, train, optimizer, measured, roofline, threads, trust),
            indent=None if as_json else 1,
        )
    )


def _check(
    models: list[str], compare: bool, train: int | None, optimizer: str, measured: bool, threads: int, one_alone: bool
) -> None:
    if len(models) > 1 and not compare:
        raise InputError(f"expected one model, got {len(models)}; pass --compare to see them side by side")
    if compare and (one_alone or measured):
        raise InputError("expected --compare without --layers, --roofline and --measured; ask for one model alone")
    if optimizer not in OPTIMIZERS:
        raise InputError(f"expected one of {', '.join(OPTIMIZERS)} as --optimizer, got {optimizer!r}")
    if train is not None and not 1 <= train <= 65_536:
        raise InputError(f"expected --train with a batch of 1 to 65,536 images, got {train}")
    if measured and train is None:
        raise InputError("expected --measured together with --train, which says on how many images")
    if threads < 1:
        raise InputError(f"expected 1 thread or more, got --threads {threads}")


def _said(
    variant: Variant,
    module: nn.Module,
    layers: bool,
    train: int | None,
    optimizer: Any,
    measured: bool,
    roofline: bool,
    threads: int,
    trust: bool,
) -> dict[str, Any]:
    """All that was asked about one model."""
    from bantamweight.models import profile as count
    from bantamweight.models._anatomy import anatomy

    counted = count(module, variant.input_shape)
    said: dict[str, Any] = {
        "parameters": counted.parameters,
        "macs": counted.macs,
        "size_bytes": counted.size_bytes,
    }
    if train is not None:
        said["training"] = _training(variant, module, train, optimizer, measured, threads, trust)
    if not layers and not roofline:
        return said
    found = anatomy(module, variant.input_shape)
    said |= {
        "flops": found.flops,
        "depth": found.depth,
        "activation_bytes": found.activation_bytes,
        "saved_bytes": found.saved_bytes,
        "moved_bytes": found.moved_bytes,
        "flops_per_byte": round(found.intensity, 3),
        "receptive_field": found.field,
    }
    rows = [_layer(row, found) for row in found.layers]
    if roofline:
        said["roofline"] = _roofed(module, variant.input_shape, threads, found, rows)
    return {**said, "layers": rows}


def _layer(row: Any, whole: Anatomy) -> dict[str, Any]:
    return {
        "name": row.name,
        "kind": row.kind,
        "output": row.output,
        "parameters": row.parameters,
        "parameters_share": round(row.parameters / max(1, whole.parameters), 5),
        "macs": row.macs,
        "flops": row.flops,
        "flops_share": round(row.flops / max(1, whole.flops), 5),
        "activation_bytes": row.activation_bytes,
        "saved_bytes": row.saved_bytes,
        "saved_share": round(row.saved_bytes / max(1, whole.saved_bytes), 5),
        "moved_bytes": row.moved_bytes,
        "flops_per_byte": round(row.intensity, 3),
        "receptive_field": row.field,
        "stride": row.stride,
        "depth": row.depth,
    }


def _training(
    variant: Variant, module: nn.Module, batch: int, optimizer: Any, measured: bool, threads: int, trust: bool
) -> dict[str, Any]:
    from bantamweight.models._memory import training_memory

    found = training_memory(module, variant.input_shape, batch=batch, optimizer=optimizer)
    parts = ("weights", "gradients", "optimizer", "activations", "sum", "peak")
    said: dict[str, Any] = {"batch": batch, "optimizer_used": optimizer}
    said |= {f"{part}_bytes": getattr(found, part) for part in parts}
    said["at_peak_bytes"] = dict(found.at_peak)
    if measured:
        from bantamweight.recipes.peak import measured_peak

        peak = measured_peak(variant, batch=batch, optimizer=optimizer, threads=threads, trust=trust)
        said |= {"measured_peak_bytes": peak, "peak_over_measured": round(found.peak / peak, 4)}
    return said


def _roofed(
    module: nn.Module, shape: tuple[int, int, int], threads: int, whole: Anatomy, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """The machine's rates; the rows get their times, in the order in which both were seen."""
    from bantamweight.runtimes._roofline import layer_times, measure_roof

    roof = measure_roof(threads=threads)
    times = layer_times(module, shape, threads=threads)
    for row, layer in zip(rows, whole.layers, strict=True):
        taken = next((time for time in times if time.name == layer.name), None)
        if taken is None:
            continue
        times = times[times.index(taken) + 1 :]
        row["latency_ms"] = round(taken.seconds * 1e3, 5)
        row["gflops_per_s"] = round(layer.flops / taken.seconds / 1e9, 3)
        row["attainable_gflops_per_s"] = round(roof.attainable(layer.intensity) / 1e9, 3)
        row["least_latency_ms"] = round(roof.seconds(layer.flops, layer.moved_bytes) * 1e3, 5)
    return {
        "threads": threads,
        "gflops_per_s": round(roof.flops / 1e9, 2),
        "gbytes_per_s": round(roof.bandwidth / 1e9, 2),
        "ridge_flops_per_byte": round(roof.ridge, 2),
    }


def _row(variant: Variant, module: nn.Module, batch: int, optimizer: Any) -> Compared:
    from bantamweight.models._comparison import compared

    architecture = "" if variant.edits else variant.factory
    return compared(variant.name, module, variant.input_shape, architecture, batch=batch, optimizer=optimizer)


def _show(rows: list[Compared], as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(row) for row in rows]))
        return
    from rich.console import Console
    from rich.table import Table

    batch = rows[0].batch
    heads = ("model", "depth", "parameters", "linear", "MACs", "FLOPs", "weights", "activations", "kept")
    table = Table(*heads, f"training, batch {batch}", "field", "top-5, 1 net", "top-5, ensemble", box=None)
    for row in rows:
        said = row.published
        table.add_row(
            row.name,
            str(row.depth),
            f"{row.parameters:,}",
            f"{row.linear_share:.1%}",
            f"{row.macs / 1e9:.3f} G",
            f"{row.flops / 1e9:.3f} G",
            *(f"{each / 1e6:.1f} MB" for each in (row.size_bytes, row.activation_bytes, row.saved_bytes)),
            f"{row.training_bytes / 1e6:.0f} MB",
            "" if row.field is None else str(row.field[0]),
            f"{said.single}% ({said.how})" if said else "",
            f"{said.ensemble}% ({said.nets} nets)" if said and said.ensemble else "",
        )
    Console(markup=False, width=200).print(table)
