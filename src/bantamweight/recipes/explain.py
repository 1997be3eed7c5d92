"""Image files in, maps out: a model, the pictures it is asked about, and where in them its answers come from."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from bantamweight import parts, pictures
from bantamweight.data._text import clean
from bantamweight.errors import InputError, near
from bantamweight.explainers import Attributions, Explainer
from bantamweight.explainers._cam import cams
from bantamweight.explainers._core import Precision, check
from bantamweight.explainers._told import logits_within
from bantamweight.facts import Fact
from bantamweight.judging.scores import checked
from bantamweight.recipes._figure import Row, figure
from bantamweight.recipes._files import read_images
from bantamweight.types import Float, Logits
from bantamweight.variants import Variant, build
from bantamweight.whole import put

__all__ = ["UNCHECKED", "Explained", "chosen_methods", "drawn", "explain_files", "explain_images", "written"]

UNCHECKED = "no method was put to the check of the parameters on this model; bantam explain --check DATA does that"


@dataclass(frozen=True, eq=False)
class Explained:
    """Images, what the model says of them, and maps by method; maps are `(n, k, h, w)` for the classes `(n, k)`.

    `gates` says by method whether it fails the check of the parameters on this model (see `explain_check`), where that
    was asked.
    """

    names: tuple[str, ...]
    images: UInt8[Tensor, "n c h w"]
    logits: Logits
    classes: tuple[str, ...]
    maps: Mapping[str, Attributions]
    gates: Mapping[str, Fact] = field(default_factory=dict)

    @property
    def probabilities(self) -> Float[Tensor, "n m"]:
        """Of every class."""
        return torch.softmax(self.logits, dim=1)

    def summary(self) -> list[dict[str, Any]]:
        """One plain row per image, class and method."""
        rows = []
        for method, found in self.maps.items():
            for image, name in enumerate(self.names):
                for column, index in enumerate(found.classes[image].tolist()):
                    said = found.maps[image, column]
                    missing = None if found.completeness is None else float(found.completeness[image, column])
                    rows.append(
                        {
                            "image": name,
                            "method": method,
                            "class": self.classes[index],
                            "probability": float(self.probabilities[image, index]),
                            "predicted": int(self.logits[image].argmax()) == index,
                            "layer": found.layer,
                            "flat": bool(found.flat[image, column]),
                            "low": float(said.min()),
                            "high": float(said.max()),
                            "completeness": missing,
                            "caution": found.caution,
                            "check": self.said(method),
                        }
                    )
        return rows

    def said(self, method: str) -> str | None:
        """What the check of the parameters says of a method's maps; None where it was not made."""
        return checked(self.gates[method]) if method in self.gates else None

    def mark(self, method: str) -> str:
        """What goes behind a method's name: `*` where it fails the check, `?` where it was not shown to pass."""
        gate = self.gates.get(method)
        return "" if gate is None or gate.value == 0 else " ?" if gate.value is None else " *"


def explain_files(
    variant: Variant,
    files: Sequence[str | Path],
    *,
    use: Sequence[str | Mapping[str, Any]] = ("grad_cam",),
    classes: str = "auto",
    layer: str | None = None,
    batch: int = 64,
    precision: Precision = "fp32",
    trust: bool = False,
) -> Explained:
    """Maps of image files, read as the model reads its images.

    `classes` is `auto` (each image's predicted class), `all`, or the name or number of one. `layer` goes to every
    method that reads one. Raises InputError, in one sentence, for a file that is no image, a method, class or layer
    that is not there (near matches are offered), or a method that is not defined for the model.
    """
    methods = chosen_methods(use, layer, trust)
    names, pixels = read_images(variant, files)
    return _explained(variant, pixels, names, methods, classes, batch, precision, trust)


def explain_images(
    variant: Variant,
    images: UInt8[Tensor, "n c h w"],
    *,
    names: Sequence[str] = (),
    use: Sequence[str | Mapping[str, Any]] = ("grad_cam",),
    classes: str = "auto",
    layer: str | None = None,
    batch: int = 64,
    precision: Precision = "fp32",
    trust: bool = False,
) -> Explained:
    """As `explain_files`, for the pixels of images that are there already; `names` are what they are called."""
    if not len(images) or (names and len(names) != len(images)):
        raise InputError(f"expected images and as many names, got {len(images)} images and {len(names)} names")
    methods = chosen_methods(use, layer, trust)
    called = tuple(clean(name) for name in names) or tuple(f"image {row}" for row in range(len(images)))
    return _explained(variant, images, called, methods, classes, batch, precision, trust)


def _explained(
    variant: Variant,
    images: Tensor,
    names: tuple[str, ...],
    methods: Sequence[Explainer],
    classes: str,
    batch: int,
    precision: Precision,
    trust: bool,
) -> Explained:
    module = build(variant, trust=trust)
    floats = images.to(torch.float32) / 255.0
    check(floats, None, batch)
    logits = logits_within(module, floats, batch)
    called = variant.classes or tuple(str(number) for number in range(logits.shape[1]))
    chosen = _chosen(classes, called, logits)
    found = cams(module, floats, chosen, use=methods, batch=batch, precision=precision, strict=True)
    return Explained(names, images, logits, called, found)


def chosen_methods(use: Sequence[str | Mapping[str, Any]], layer: str | None, trust: bool) -> list[Explainer]:
    """The methods, with the layer for those that read one."""
    found = [_method(spec, layer, trust) for spec in use]
    if not found:
        raise InputError("expected at least one method, such as grad_cam, got none")
    if layer is not None and not any(reads for _, reads in found):
        raise InputError(f"none of {', '.join(one.name for one, _ in found)} reads a layer; leave out the layer")
    return [one for one, _ in found]


def _method(spec: str | Mapping[str, Any], layer: str | None, trust: bool) -> tuple[Explainer, bool]:
    """The method with the layer it shall read, and whether it reads one."""
    plain = {"use": spec} if isinstance(spec, str) else dict(spec)
    known = parts.settings(parts.find("explainers", str(plain["use"]), trust=trust)).model_fields
    if layer is not None and "layer" in known:
        plain.setdefault("layer", layer)
    return parts.configure("explainers", plain, trust=trust).make(), "layer" in known


def _chosen(classes: str, names: Sequence[str], logits: Logits) -> Tensor:
    """Columns of class numbers for every image."""
    if classes == "auto":
        return logits.argmax(dim=1, keepdim=True)
    if classes == "all":
        return torch.arange(logits.shape[1]).expand(len(logits), -1)
    if classes in names:
        number = list(names).index(classes)
    elif classes.isdecimal() and int(classes) < logits.shape[1]:
        number = int(classes)
    else:
        raise InputError(f"{classes!r} is not a class of the model{near(classes, [*names, 'auto', 'all'])}")
    return torch.full((len(logits), 1), number)


def written(explained: Explained, out: Path) -> list[Path]:
    """Write the maps: a picture alone where `out` ends in .png, else a folder with `maps.npz` and `maps.png`.

    The archive holds raw, signed arrays: `METHOD` `(n, k, h, w)`, `classes` `(n, k)`, `logits`, `images` and, where a
    method has them, `METHOD.coarse`, `METHOD.completeness` and `METHOD.check` (a sentence); no pickles. Raises
    StoreError where it can't be written.
    """
    picture = pictures.png(drawn(explained))
    if out.suffix.lower() == ".png":
        return [put(out, picture)]
    return [put(out / "maps.npz", _archive(explained)), put(out / "maps.png", picture)]


def _archive(explained: Explained) -> bytes:
    first = next(iter(explained.maps.values()))
    arrays: dict[str, Any] = {
        "images": explained.images.numpy(),
        "logits": explained.logits.numpy(),
        "classes": first.classes.numpy(),
        "class_names": np.array(explained.classes, dtype=str),
        "files": np.array(explained.names, dtype=str),
    }
    for method, found in explained.maps.items():
        arrays[method] = found.maps.numpy()
        if found.coarse is not None:
            arrays[f"{method}.coarse"] = found.coarse.numpy()
        if found.completeness is not None:
            arrays[f"{method}.completeness"] = found.completeness.numpy()
        if method in explained.gates:
            arrays[f"{method}.check"] = np.array(explained.said(method))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def drawn(explained: Explained, said: Callable[[str], str] = lambda method: method.replace("_", " ")) -> Any:
    """All maps in one picture: a row per image and class, the image first, then a column per method."""
    signs = {method: bool((found.maps < 0).any()) for method, found in explained.maps.items()}
    rows = []
    first = next(iter(explained.maps.values()))
    for image, name in enumerate(explained.names):
        pixels = explained.images[image].numpy()
        for column, index in enumerate(first.classes[image].tolist()):
            cells = [pictures.picture(pixels)]
            for method, found in explained.maps.items():
                cells.append(pictures.overlay(pixels, found.maps[image, column].numpy(), signed=signs[method]))
            share = float(explained.probabilities[image, index])
            rows.append(Row([name, explained.classes[index], f"p = {share:.2f}"], cells))
    notes = [f"{said(method)}: {found.caution}" for method, found in explained.maps.items() if found.caution]
    notes += [f"{said(method)}{explained.mark(method)} {checked(gate)}" for method, gate in explained.gates.items()]
    notes += [] if explained.gates else [UNCHECKED]
    heads = ["image", *(said(method) + explained.mark(method) for method in explained.maps)]
    return figure(heads, rows, signs=list(signs.values()), notes=notes)
