"""What every runtime gives back, how it is made by name, and whether two of them answer alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from bantamweight import rng
from bantamweight.errors import InputError
from bantamweight.parts import Part, configure
from bantamweight.variants import Artifact, Variant, build

__all__ = ["TOLERANCE", "Parity", "Session", "compare", "pinned", "prepare", "probe"]

TOLERANCE = 1e-3
"""How far two runtimes' logits may be apart, as a share of the largest: float32 on both sides stays below 1e-5,
bfloat16 on one of them is near 1e-2."""

Shape = tuple[int, int, int]


class Session:
    """A model loaded by a runtime. Owns its memory and threads until `close`, or the end of a `with` block.

    `shape` is channels, height and width; `artifact` the file that runs (None where the variant itself does); `note`
    says what a reader of a timing must know about the settings.
    """

    def __init__(
        self,
        call: Callable[[np.ndarray], np.ndarray],
        *,
        runtime: str,
        threads: int,
        shape: Shape,
        artifact: Artifact | None = None,
        note: str = "",
    ) -> None:
        self.runtime, self.threads, self.shape = runtime, threads, shape
        self.artifact, self.note = artifact, note
        self._call: Callable[[np.ndarray], np.ndarray] | None = call

    def run(self, images: np.ndarray) -> np.ndarray:
        """Logits, float32 `(b, k)`, of float32 images `(b, c, h, w)` in [0, 1].

        Raises InputError when the images are of another type or shape, or the session is closed.
        """
        if images.dtype != np.float32 or images.ndim != 4 or images.shape[1:] != self.shape:
            raise InputError(
                f"expected float32 images of shape (b, {', '.join(map(str, self.shape))}), "
                f"got {images.dtype} of shape {images.shape}; convert or resize them first"
            )
        if self._call is None:
            raise InputError("expected an open session, got one that was closed; prepare the variant again")
        return self._call(images)

    def close(self) -> None:
        """Let go of the model; twice is once."""
        self._call = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class Parity:
    """How alike two runtimes answer `n` images: the largest difference of a logit, and equal first choices.

    `scale` is the largest logit of the reference. Where logits tie to within the tolerance first choices may differ
    while parity holds, so `same` is stated and `max_abs` decides.
    """

    n: int
    max_abs: float
    same: int
    scale: float
    tolerance: float = TOLERANCE

    @property
    def holds(self) -> bool:
        """Whether the largest difference is within the tolerance."""
        return self.max_abs <= self.allowed

    @property
    def allowed(self) -> float:
        """The largest difference that is let pass, in logits."""
        return max(1e-6, self.tolerance * self.scale)


def prepare(
    runtime: str | Mapping[str, Any] | Part,
    variant: Variant,
    *,
    threads: int,
    folder: Path | str,
    images: np.ndarray | None = None,
    trust: bool = False,
) -> Session:
    """Make the variant run on a runtime (`"torch"`, `"onnxruntime"`, or `{"use": ..., ...}`) with so many threads.

    What it exports goes into `folder`; a runtime of integers takes its ranges from `images`, float32 `(n, c, h, w)`
    in [0, 1] like those of the training set. Raises InputError when the runtime can't express the variant or answers
    otherwise than torch.
    """
    if threads < 1:
        raise InputError(f"expected at least 1 thread, got {threads}")
    part = configure("runtimes", runtime, trust=trust)
    return part.make(variant, build(variant, trust=trust), Path(folder), threads, images)


def compare(session: Session, reference: Session, images: np.ndarray, *, batch: int = 64) -> Parity:
    """Run both on the same images, `batch` at a time, and say how alike they answer.

    Raises InputError when the answers have different shapes or there are no images.
    """
    if len(images) == 0:
        raise InputError("expected at least one image to compare runtimes on, got none")
    farthest, scale, same = 0.0, 0.0, 0
    for start in range(0, len(images), batch):
        rows = np.ascontiguousarray(images[start : start + batch])
        ours, theirs = session.run(rows), reference.run(rows)
        if ours.shape != theirs.shape:
            raise InputError(
                f"expected logits of shape {theirs.shape} as on {reference.runtime}, got {ours.shape} on "
                f"{session.runtime}; is the number of images fixed inside the model?"
            )
        distance = np.abs(ours.astype(np.float64) - theirs).max()
        farthest = max(farthest, float(distance) if np.isfinite(distance) else float("inf"))
        scale = max(scale, float(np.abs(theirs).max()))
        same += int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    return Parity(len(images), farthest, same, scale)


def probe(shape: Shape, n: int, *words: int | str) -> np.ndarray:
    """Uniform random float32 images in [0, 1), the same for the same words."""
    return rng.generator(0, "probe", *words).random((n, *shape), dtype=np.float32)


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Inside, torch computes with so many threads; afterwards with as many as before."""
    before = torch.get_num_threads()
    if before != threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)
