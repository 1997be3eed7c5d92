"""`bantam explain invert`: what the layers of a model still know of an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bantamweight.cli._explain import BatchOption
from bantamweight.cli._explain_sheet import explain
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
    from bantamweight.recipes.invert import Inverted

__all__ = ["explain", "invert"]

_SCALES = 3
"""Sizes that an image is searched at, one after the other; each needs a step."""


@explain.command()
def invert(
    model: ModelArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files.")],
    layers: Annotated[
        str | None, typer.Option("--layers", help="With commas (default: an early, a middle and a late one).")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", help="Of the search, per layer.")] = 300,
    restarts: Annotated[int, typer.Option("--restarts", help="Searches per image; the best is kept.")] = 1,
    tv: Annotated[float, typer.Option("--tv", help="Weight of total variation.")] = 1.0,
    l2: Annotated[float, typer.Option("--l2", help="Weight of the squared distance to grey.")] = 0.0,
    norm: Annotated[float, typer.Option("--norm", help="Weight of that distance's sixth power.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", help="Of every random number.")] = 0,
    out: Annotated[Path, typer.Option("-o", "--out", help="A folder.")] = Path("inverted"),
    batch: BatchOption = 64,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make images again from a layer's features alone: a picture with the error per layer, and loss curves."""
    from bantamweight.explainers.pictures import Prior
    from bantamweight.recipes.invert import invert_files, written
    from bantamweight.reports import loss_picture
    from bantamweight.whole import put

    if steps < _SCALES:
        raise InputError(f"expected --steps of at least {_SCALES}, got {steps}")
    named = [] if layers is None else [name.strip() for name in layers.split(",") if name.strip()]
    if layers is not None and not named:
        raise InputError(f"expected layers after --layers, with commas, got {layers!r}")
    if out.exists() and not out.is_dir():
        raise InputError(f"expected -o to name a folder, and {str(out)!r} is a file")
    variant, prior = named_model(model, weights, classes, size, channels, trust), Prior(tv=tv, l2=l2, norm=norm)
    with watched() as heard:
        found = invert_files(
            variant, images, layers=named, prior=prior, steps=steps, restarts=restarts, seed=seed, batch=batch,
            trust=trust, heard=heard,
        )  # fmt: skip
    paths = [*written(found, out), put(out / "losses.png", loss_picture(found.curves()))]
    files = [str(path) for path in paths]
    said = {"errors": found.errors(), "images": found.summary(), "files": files}
    typer.echo(json.dumps(said) if as_json else "\n".join([*_lines(found), *files]))


def _lines(found: Inverted) -> list[str]:
    """One line per layer and image, and what the error is a share of."""
    width = max(len(row["layer"]) for row in found.summary())
    told = [
        f"{row['layer']:<{width}}  {row['image']}  error {row['image_error']:.3f}, of the features "
        f"{row['feature_error']:.3f}"
        for row in found.summary()
    ]
    return [*told, "an image's error is a share of its distance from its own mean colour: 1 is knowing that alone"]
