"""The nets that compression is measured on, trained once by the recipes of the bundled sports study and then read."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from _scene import variant as shared_model
from _table import note

from bantamweight import variants
from bantamweight.data import Data, Split, load
from bantamweight.predict import logits_of
from bantamweight.training import fresh, train
from bantamweight.variants import Variant

__all__ = ["NETS", "judged", "net", "right"]

NETS = ("simple_cnn", "resnet_small", "mobilenet_v2", "resnet20", "resnet2b")
"""The first three on sports10, trained here; the others on CIFAR-10 (JPEG), by strangers."""

SPORTS = {"use": "sports10", "size": 32, "resize": "squash"}


def net(name: str, home: Path) -> tuple[Variant, Data]:
    """A dense net and its data. What is trained is kept under `home`; MobileNetV2 takes ResNetSmall's recipe."""
    if name in ("resnet20", "resnet2b"):
        return shared_model(name), load("cifar10_jpeg")
    data = load(SPORTS)
    place = home / name
    if not (place / "variant.json").is_file():
        note(f"training {name}")
        made = train(fresh(name, data), data, home / f"{name}-training", **_recipe(name)).variant
        assert made is not None
        variants.save(replace(made, name=name), place)
    return variants.load(place), data


def _recipe(name: str) -> dict[str, Any]:
    text = (files("bantamweight.studies") / "bundled" / "sports.yaml").read_text(encoding="utf-8")
    blocks = {block["model"]: block for block in yaml.safe_load(text)["train"]}
    block = dict(blocks.get(name, blocks["resnet_small"]))
    del block["model"]
    return {**block, "rate": float(block["rate"]), "augment": tuple(block["augment"])}


def judged(data: Data, n: int) -> Split:
    """The first `n` test images."""
    return data.splits["test"].take(slice(0, n))


def right(module: torch.nn.Module, split: Split) -> np.ndarray:
    """Who is right on which image."""
    found = logits_of(module, split.floats()).argmax(dim=1) == split.labels
    return found.numpy()
