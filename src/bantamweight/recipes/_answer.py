"""What an attack on a model came to, with its evidence, and as plain JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bantamweight import stats
from bantamweight.attacks._cascade import Part
from bantamweight.attacks.checks import Check
from bantamweight.judging.robustness import half_fact
from bantamweight.types import Images

__all__ = ["Audit", "Robustness"]


@dataclass(frozen=True)
class Audit:
    """What the reference ensemble did to a random sample of survivors.

    `bound`: with 95% confidence at most this share of all survivors would fall to it. `survivors` counts those that
    the sample was drawn from; where `n` is all of them, nothing is left to be inferred.
    """

    n: int
    broken: int
    bound: float
    survivors: int


@dataclass(frozen=True)
class Robustness:
    """Verdicts with their evidence. `columns` have one row per image, in the order given; see `attacks.Verdicts`.

    `part` numbers the attack of `attacks` that broke an image (-1: none). `images` are the adversarial images (of
    images that stand: the closest call), None when they were written to `folder` instead.
    """

    protocol: str
    threat: str
    columns: dict[str, np.ndarray]
    attacks: tuple[Part, ...]
    checks: tuple[Check, ...]
    audit: Audit | None
    escalated: str
    seconds: float
    images: Images | None
    folder: Path | None

    @property
    def asked(self) -> np.ndarray:
        """Bool (n): the images of the answer. Those of the class that was aimed for say nothing, and are left out."""
        about = self.columns["target"] != self.columns["label"]
        wanted: np.ndarray = (self.columns["attacked"] | ~self.columns["right"]) & about
        return wanted

    @property
    def survivors(self) -> list[int]:
        """Images that were right, that were attacked, and that nothing broke."""
        return np.flatnonzero(self.columns["attacked"] & ~self.columns["success"]).tolist()

    def summary(self) -> dict[str, Any]:
        """Everything but the rows, as plain JSON."""
        # For scripts, which know `robust.correct`: in a targeted run it counts images that never became the target.
        asked = self.asked
        n, right = int(asked.sum()), int((self.columns["right"] & asked).sum())
        robust = len(self.survivors)
        low, high = stats.wilson(robust, n)[:2]
        return {
            "protocol": self.protocol,
            "threat": self.threat,
            "n": n,
            "left_out": len(asked) - n,
            "targeted": bool((self.columns["target"] >= 0).any()),
            "clean": {"correct": right},
            "robust": {"correct": robust, "low": low, "high": high},
            "seconds": self.seconds,
            "forwards": int(self.columns["forwards"].sum()),
            "backwards": int(self.columns["backwards"].sum()),
            "attacks": [asdict(part) for part in self.attacks],
            "checks": [asdict(check) for check in self.checks],
            "audit": asdict(self.audit) if self.audit else None,
            "escalated": self.escalated,
            **self._distances(),
            "near": int((self.columns["near"] & self.columns["attacked"]).sum()),
            "survivors": self.survivors,
            "folder": str(self.folder) if self.folder else None,
        }

    def _distances(self) -> dict[str, Any]:
        """Of a run without a budget: median distances, and how many images stand at each of a row of budgets.

        `distance` counts an image that was wrong before as 0, as robust accuracy at any budget would; in a targeted run
        it is no success, and left out, as from `curve`. `distance_right` and `queries_for_half` are of images attacked.
        """
        norm, _, eps = self.threat.partition(" ")
        if eps != "unbounded":
            return {}
        attacked = self.columns["attacked"]
        success = self.columns["success"][attacked]
        right = np.where(success, self.columns[f"size_{norm}"][attacked], np.inf).astype(float)
        targeted = bool((self.columns["target"] >= 0).any())
        wrong = 0 if targeted else int((~self.columns["right"]).sum())
        needed = np.concatenate([right, np.zeros(wrong)])
        reached = needed[np.isfinite(needed)]
        grid = np.unique(np.quantile(reached, np.linspace(0.0, 1.0, 21))) if len(reached) else np.zeros(1)
        rows = [(float(eps), int((needed > eps).sum())) for eps in grid] if len(needed) else []
        curve = [
            dict(zip(("eps", "robust", "low", "high"), (eps, k, *stats.wilson(k, len(needed))[:2]), strict=True))
            for eps, k in rows
        ]
        queries = np.where(success, self.columns["query"][attacked], np.inf)
        half = half_fact("queries_for_half", queries).value if len(queries) else None
        return {
            "distance": _median(needed),
            "distance_right": _median(right),
            "queries_for_half": _finite(half),
            "successes": int(success.sum()),
            "survives_8bit": int(self.columns["survives_8bit"][attacked][success].sum()),
            "curve": curve,
        }


def _median(needed: np.ndarray) -> dict[str, Any]:
    """None for a median or an end that is infinite, and for both ends of too few images to have an interval."""
    low, high = (stats.median_interval(needed) if len(needed) else None) or (None, None)
    median = float(np.median(needed)) if len(needed) else None
    return {"n": len(needed), "median": _finite(median), "low": _finite(low), "high": _finite(high)}


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
