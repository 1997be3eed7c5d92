"""Whether an int8 file is worth shipping: it must not lose more than is let pass, and it must not be slower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bantamweight import stats
from bantamweight.machine import describe, integer_units
from bantamweight.runtimes._core import Session
from bantamweight.runtimes._fusion import Fusion
from bantamweight.runtimes._latency import measure

__all__ = ["Int8", "answers", "judged", "speed"]


@dataclass(frozen=True)
class Int8:
    """An int8 file beside the float32 file it was made from, on the same `n` images and the same machine.

    `same`: equal first choices. `right`: how many each gets right, float32 first, None without labels; `gained` and
    `lost` count images that only int8, and only float32, gets right. `equivalence` tests that the difference in
    accuracy lies within `most_lost`. `faster` maps a batch size to how many times as fast int8 is (median over paired
    rounds, 95%), empty when it was not timed. `units` are the integer units of this processor.
    """

    n: int
    same: int
    right: tuple[int, int] | None
    gained: int
    lost: int
    most_lost: float
    equivalence: stats.Equivalence | None
    faster: Mapping[int, stats.Ratio]
    size_bytes: tuple[int, int]
    fusion: Fusion
    units: tuple[str, ...]

    @property
    def loses(self) -> float:
        """Share of images lost; without labels the share answered otherwise, which it can't exceed."""
        return (self.n - self.same if self.right is None else self.right[0] - self.right[1]) / self.n

    @property
    def recommended(self) -> bool:
        """Whether it keeps its accuracy and is nowhere slower."""
        return self.loses <= self.most_lost and not self._slower

    @property
    def _slower(self) -> list[int]:
        return [batch for batch, ratio in self.faster.items() if ratio.value < 1]

    @property
    def because(self) -> str:
        """The reason, in a sentence."""
        what = "gets right" if self.right is not None else "answers as float32 does"
        if self.loses > self.most_lost:
            return (
                f"int8 is not recommended: it {what} {100 * self.loses:.1f} points fewer of {self.n} images, and "
                f"{100 * self.most_lost:.1f} are let pass; fine-tune with quantization in the forward pass or ship "
                f"float32{self._saturates}"
            )
        if self._slower:
            batch = self._slower[0]
            return (
                f"int8 is not recommended: at batch {batch} it takes {1 / self.faster[batch].value:.2f} times as long "
                f"as float32 on this machine ({describe()}); ship float32"
            )
        pace = ", ".join(
            f"{one.value:.2f} times as fast at batch {batch} ({one.low:.2f} to {one.high:.2f})"
            for batch, one in self.faster.items()
        )
        small = self.size_bytes[0] / self.size_bytes[1]
        kept = f"{100 * abs(self.loses):.1f} points {'lost' if self.loses >= 0 else 'gained'} on {self.n} images"
        return f"int8 is recommended: {kept}, {pace or 'speed not measured'}, {small:.1f} times smaller"

    @property
    def _saturates(self) -> str:
        if self.units or describe().architecture not in ("x86_64", "AMD64"):
            return ""
        return "; this processor lacks VNNI and may saturate, which 7-bit weights avoid"

    def summary(self) -> dict[str, Any]:
        """Plain JSON."""
        ratios = {str(batch): one._asdict() for batch, one in self.faster.items()}
        return {
            **{key: getattr(self, key) for key in ("n", "same", "right", "gained", "lost", "most_lost", "loses")},
            "equivalence": None if self.equivalence is None else self.equivalence._asdict(),
            "faster": ratios,
            "size_bytes": {"float32": self.size_bytes[0], "int8": self.size_bytes[1]},
            "fusion": asdict(self.fusion),
            "units": list(self.units),
            "recommended": self.recommended,
            "because": self.because,
        }


def answers(session: Session, images: np.ndarray, *, batch: int = 64) -> np.ndarray:
    """Logits of many images, `batch` at a time."""
    chunks = [images[start : start + batch] for start in range(0, len(images), batch)]
    return np.concatenate([session.run(np.ascontiguousarray(chunk)) for chunk in chunks])


def judged(
    sessions: tuple[Session, Session],
    images: np.ndarray,
    labels: np.ndarray | None,
    *,
    fusion: Fusion,
    most_lost: float,
    faster: Mapping[int, stats.Ratio],
) -> Int8:
    """Hold the int8 session (second) against the float32 one on float32 images, labels where there are any."""
    chosen = [answers(session, images).argmax(axis=1) for session in sessions]
    right, gained, lost, equal = None, 0, 0, None
    if labels is not None:
        hits = [found == labels for found in chosen]
        gained, lost = int((hits[1] & ~hits[0]).sum()), int((hits[0] & ~hits[1]).sum())
        right = (int(hits[0].sum()), int(hits[1].sum()))
        equal = stats.equivalence(gained, lost, len(labels), most_lost)
    sizes = [session.artifact.size_bytes for session in sessions if session.artifact is not None]
    return Int8(
        n=len(images),
        same=int((chosen[0] == chosen[1]).sum()),
        right=right,
        gained=gained,
        lost=lost,
        most_lost=most_lost,
        equivalence=equal,
        faster=faster,
        size_bytes=(sizes[0], sizes[1]),
        fusion=fusion,
        units=integer_units(),
    )


def speed(
    sessions: tuple[Session, Session], *, threads: int, batches: Sequence[int], runs: int
) -> dict[int, stats.Ratio]:
    """How many times as fast the second session is, per batch size, in interleaved rounds; none without batches."""
    if not batches:
        return {}
    seconds = measure(dict(enumerate(sessions)), threads=threads, batches=batches, runs=runs)
    middle = [{batch: np.median(taken, axis=1) for batch, taken in seconds[key].items()} for key in (0, 1)]
    return {batch: stats.ratio_interval(middle[0][batch], middle[1][batch]) for batch in batches}
