"""What a job is given, and the few things that most jobs do with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from bantamweight import rng
from bantamweight.parts import configure
from bantamweight.types import Int64

if TYPE_CHECKING:
    from bantamweight.data import Data, Split
    from bantamweight.variants import Variant

__all__ = ["Place", "draw", "part", "split_of"]


@dataclass(frozen=True)
class Place:
    """Where a job works: `out` for its result, `scratch` for checkpoints that outlive a kill, `inputs` by name.

    `tell(done, text)` reports progress, `done` from 0 to 1. A job may read nothing else.
    """

    out: Path
    scratch: Path
    inputs: Mapping[str, Path]
    data: Data
    threads: int = 1
    device: str = "cpu"
    trust: bool = False
    path: str = ""
    tell: Callable[[float, str], None] = lambda _done, _text: None

    def variant(self, name: str = "variant") -> Variant:
        """The variant that an input job made."""
        from bantamweight.variants import load

        return load(self.inputs[name] / "variant")

    def save(self, variant: Variant) -> None:
        """Leave a variant as this job's result."""
        from bantamweight.variants import save

        save(variant, self.out / "variant")


def part(place: Place, room: str, spec: Any, *injected: Any) -> Any:
    """A part made from its spec."""
    return configure(room, spec, trust=place.trust).make(*injected)


def split_of(place: Place, name: str) -> Split:
    """A split by name; `all` is every split together."""
    from bantamweight.data import evaluation_split

    return evaluation_split(place.data, name)[1]


def draw(total: int, n: int, seed: int = 0) -> Int64[Tensor, " n"]:
    """`n` of `total` row numbers, sorted; a smaller draw is part of every larger one.

    >>> set(draw(100, 10).tolist()) <= set(draw(100, 20).tolist())
    True
    """
    if n >= total:
        return torch.arange(total)
    return torch.from_numpy(np.sort(rng.generator(seed, "subset", total).permutation(total)[:n]))
