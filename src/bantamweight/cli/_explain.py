"""`bantam explain`: where in an image a model's answer comes from. `maps` is meant where no other command is named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

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
from bantamweight.cli._watched import watched
from bantamweight.errors import InputError

if TYPE_CHECKING:
    from bantamweight.recipes.explain import Explained

__all__ = ["BatchOption", "explain", "maps", "used"]

BatchOption = Annotated[
    int, typer.Option("--batch", help="Images in the model at once, at the most, rounded up to a multiple of 8.")
]


class _MapsUnlessNamed(TyperGroup):
    """`bantam explain MODEL IMAGE` is `bantam explain maps MODEL IMAGE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = bool(args) and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["maps", *args])


explain = typer.Typer(
    name="explain",
    cls=_MapsUnlessNamed,
    help="Show where in an image a model's answer comes from, and how far that may be trusted (maps is the default).",
    rich_markup_mode=None,
)


@explain.command()
def maps(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    use: Annotated[str, typer.Option("--use", help="Methods by name, with commas between.")] = "grad_cam",
    of: Annotated[str, typer.Option("--class", help="auto (what the model says), all, or one by name.")] = "auto",
    layer: Annotated[str | None, typer.Option("--layer", help="The layer that is read (default: found).")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder, or a .png for the picture alone.")] = Path(
        "explained"
    ),
    check: Annotated[
        str | None, typer.Option("--check", metavar="DATA", help="Images to put the methods to the parameter check on.")
    ] = None,
    batch: BatchOption = 64,
    precision: Annotated[str, typer.Option("--precision", help="Of the network: fp32 or bf16.")] = "fp32",
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Maps of images: raw, signed arrays and a picture of them."""
    from bantamweight.recipes.evaluate import judged_images
    from bantamweight.recipes.explain import explain_files, written
    from bantamweight.recipes.explain_check import CHECKED, gates

    if precision not in ("fp32", "bf16"):
        raise InputError(f"expected --precision to be fp32 or bf16, got {precision!r}")
    variant = named_model(model, weights, classes, size, channels, trust)
    data = None if check is None else judged_images(variant, check, n=CHECKED, trust=trust)[1]
    found = explain_files(
        variant,
        images,
        use=used(use),
        classes=of,
        layer=layer,
        batch=batch,
        precision=precision,  # type: ignore[arg-type]
        trust=trust,
    )
    if data is not None:
        with watched() as heard:
            told = gates(variant, data.floats(), used(use), layer=layer, batch=batch, trust=trust, heard=heard)
        found = replace(found, gates=told)
    paths = [str(path) for path in written(found, out)]
    rows = found.summary()
    typer.echo(json.dumps({"maps": rows, "files": paths}) if as_json else "\n".join([*_sentences(found), *paths]))


def used(names: str) -> list[str]:
    """The methods of a list with commas.

    >>> used("grad_cam, lime")
    ['grad_cam', 'lime']
    """
    found = [name.strip() for name in names.split(",") if name.strip()]
    if not found:
        raise InputError(f"expected methods after --use, such as grad_cam,lime, got {names!r}")
    return found


def _sentences(found: Explained) -> Iterator[str]:
    """What was found, one line per map, and once what holds for a method."""
    from bantamweight.recipes.explain import UNCHECKED

    rows = found.summary()
    for row in rows:
        share = f"{row['class']} ({row['probability']:.1%}{', predicted' if row['predicted'] else ''})"
        said = "flat: it says nothing" if row["flat"] else f"from {row['low']:.3g} to {row['high']:.3g}"
        rest = "" if row["completeness"] is None else f", completeness error {row['completeness']:.1e}"
        yield f"{row['image']}  {row['method'] + found.mark(row['method']):<22} {share}  {said}{rest}"
    seen: dict[str, dict[str, Any]] = {row["method"]: row for row in rows}
    for method, row in seen.items():
        if row["layer"]:
            yield f"{method} reads the layer {row['layer']}"
        if row["caution"]:
            yield f"{method}: {row['caution']}"
        if row["check"]:
            yield f"{method}{found.mark(method)} {row['check']}"
    if not found.gates:
        yield UNCHECKED
