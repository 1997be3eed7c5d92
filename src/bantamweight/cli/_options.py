"""Options that several commands have, and the model they name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bantamweight.variants import Variant

StoreOption = Annotated[Path | None, typer.Option("--store", help="Where results are kept (default .bantam).")]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Where models are attacked: cpu or cuda (default: what is there).")
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Allow module:function code from the working directory.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="A zoo name, a saved Variant folder, a .pt2, or module:function.")
]
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="The name of a source, or a path.")]
WeightsOption = Annotated[Path | None, typer.Option("--weights", help="A .safetensors, .pt or .pth file.")]
ClassesOption = Annotated[int | None, typer.Option("--classes", help="How many classes the model tells apart.")]
SizeOption = Annotated[int | None, typer.Option("--size", help="Side of the input image in pixels.")]
ChannelsOption = Annotated[int | None, typer.Option("--channels", help="1 for grey images, 3 for colour.")]


def named_model(
    model: str, weights: Path | None, classes: int | None, size: int | None, channels: int | None, trust: bool
) -> Variant:
    """The model that a command was given, with what was said about it."""
    from bantamweight.loading import load_model

    return load_model(model, trust=trust, weights=weights, classes=classes, size=size, channels=channels)
