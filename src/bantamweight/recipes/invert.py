"""Image files in, and out what a model's layers still know of them: images made again from features alone."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from bantamweight import pictures
from bantamweight.errors import InputError
from bantamweight.explainers import Undefined
from bantamweight.explainers._core import on_device
from bantamweight.explainers._layers import at_rest, find_layer
from bantamweight.explainers.pictures import Inversion, Prior, depths, invert
from bantamweight.recipes._figure import Row, figure
from bantamweight.recipes._files import read_images
from bantamweight.variants import Variant, build
from bantamweight.whole import put

__all__ = ["Inverted", "drawn", "invert_files", "invert_images", "written"]

PRIOR = Prior(tv=1.0, norm=0.1)
"""What `invert` takes for likely unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Inverted:
    """Images, and what was made of them from each layer's features, layers in the order they were asked for."""

    names: tuple[str, ...]
    images: UInt8[Tensor, "n c h w"]
    found: tuple[Inversion, ...]

    def summary(self) -> list[dict[str, Any]]:
        """One plain row per layer and image; errors as `Inversion` defines them."""
        return [
            {
                "layer": one.layer,
                "image": name,
                "image_error": float(one.image_error[row]),
                "feature_error": float(one.feature_error[row]),
            }
            for one in self.found
            for row, name in enumerate(self.names)
        ]

    def errors(self) -> dict[str, float]:
        """The mean error of the image by layer."""
        return {one.layer: float(one.image_error.mean()) for one in self.found}

    def curves(self) -> dict[str, dict[str, list[float]]]:
        """By layer every term of the loss and their sum (`total`) at each step, mean over images and restarts."""
        told = {}
        for one in self.found:
            terms = {name: values.mean(dim=(0, 1)) for name, values in one.losses.items()}
            whole = {"total": torch.stack(list(terms.values())).sum(dim=0), **terms}
            told[one.layer] = {name: [float(value) for value in values] for name, values in whole.items()}
        return told


def invert_files(variant: Variant, files: Sequence[str | Path], **settings: Any) -> Inverted:
    """`invert_images` of image files, read as the model reads its images."""
    names, pixels = read_images(variant, files)
    return invert_images(variant, pixels, names=names, **settings)


def invert_images(
    variant: Variant,
    images: UInt8[Tensor, "n c h w"],
    *,
    names: Sequence[str] = (),
    layers: Sequence[str] = (),
    prior: Prior = PRIOR,
    steps: int = 300,
    restarts: int = 1,
    seed: int = 0,
    batch: int = 64,
    trust: bool = False,
    heard: Callable[[float, str], None] | None = None,
) -> Inverted:
    """Images made again from the features of each layer; without `layers` of an early, a middle and a late one.

    Raises InputError, in one sentence, for a layer that is not there (near matches are offered) or is named twice, for
    settings that can't be meant; Undefined for a network that has no early, middle and late layer where none is named.
    """
    if len(set(layers)) < len(layers):
        raise InputError(f"expected layers that differ, got {', '.join(layers)}; leave one out")
    module = build(variant, trust=trust)
    floats = images.to(torch.float32) / 255.0
    try:
        chosen = tuple(layers) or depths(module, floats)
    except Undefined as reason:
        raise Undefined(f"{reason}; name layers of the model to invert") from reason
    with at_rest(module):
        probe = on_device(floats[:1].expand(8, -1, -1, -1), module)
        for layer in chosen:  # a typing error in the last name should not be found after the others' searches
            find_layer(module, probe, layer)
    found = []
    for place, layer in enumerate(chosen):

        def progress(done: int, total: int, place: int = place, layer: str = layer) -> None:
            if heard is not None:
                heard((place + done / total) / len(chosen), f"inverting {layer}")

        found.append(
            invert(
                module, floats, layer=layer, prior=prior, steps=steps, restarts=restarts, seed=seed, batch=batch,
                progress=progress,
            )
        )  # fmt: skip
    called = tuple(names) or tuple(f"image {row}" for row in range(len(images)))
    return Inverted(called, images, tuple(found))


def drawn(inverted: Inverted) -> Any:
    """A row per image: the image, then what each layer gives back, with its error."""
    heads = ["image", *(f"{layer}: {error:.2f}" for layer, error in inverted.errors().items())]
    rows = []
    for row, name in enumerate(inverted.names):
        cells = [pictures.picture(inverted.images[row].numpy())]
        cells += [pictures.picture(one.images[row].numpy()) for one in inverted.found]
        rows.append(Row([name, *(f"{one.layer} {float(one.image_error[row]):.2f}" for one in inverted.found)], cells))
    note = "error: distance from the image over its distance from its own mean colour; 1 is knowing that colour alone"
    return figure(heads, rows, signs=(), notes=[note])


def written(inverted: Inverted, out: Path) -> list[Path]:
    """Write `inverted.png`, `inverted.json` (errors and loss curves) and `inverted.npz` (the images) into a folder.

    The archive holds `images`, `made` `(layers, n, c, h, w)`, `layers` and `files`; no pickles. Raises StoreError where
    it can't be written.
    """
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=inverted.images.numpy(),
        made=torch.stack([one.images for one in inverted.found]).numpy(),
        layers=np.array([one.layer for one in inverted.found], dtype=str),
        files=np.array(inverted.names, dtype=str),
    )
    said = {"errors": inverted.errors(), "rows": inverted.summary(), "losses": inverted.curves()}
    return [
        put(out / "inverted.png", pictures.png(drawn(inverted))),
        put(out / "inverted.json", json.dumps(said, indent=1).encode()),
        put(out / "inverted.npz", buffer.getvalue()),
    ]
