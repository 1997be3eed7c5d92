"""Made-up studies: images that each variant has right, and the facts that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from bantamweight.facts import Fact, proportion
from bantamweight.judging.accuracy import paired_facts, pairs_to_compare

CLASSES = [f"class {index}" for index in range(10)]
CELL = {"attack": "pgd", "threat": "linf 8/255"}


@dataclass
class World:
    """Accuracy, robust accuracy, latency and size of each variant, on `n` images of growing difficulty."""

    accuracy: Mapping[str, float]
    robust: Mapping[str, float] = field(default_factory=dict)
    latency: Mapping[str, float] = field(default_factory=dict)
    size: Mapping[str, float] = field(default_factory=dict)
    n: int = 1000
    noise: float = 0.1
    paired: bool = True

    def right(self, shares: Mapping[str, float], seed: int) -> dict[str, np.ndarray]:
        """An image is right when it is easier than the variant is good, up to each variant's own noise."""
        rng = np.random.default_rng(seed)
        ease = (np.arange(self.n) + 0.5) / self.n
        found = {}
        for name, share in shares.items():
            order = np.argsort(ease + rng.normal(0, self.noise, self.n) if self.noise else ease, kind="stable")
            found[name] = np.zeros(self.n, bool)
            found[name][order[: round(share * self.n)]] = True
        return found

    def facts(self) -> list[Fact]:
        """Every fact of this world, as an executor would write them."""
        clean, attacked = self.right(self.accuracy, 1), self.right(self.robust, 2)
        found = [proportion("accuracy", int(r.sum()), self.n, variant=v, split="test") for v, r in clean.items()]
        found += [proportion("recall", 5, 10, variant=v, split="test", item=c) for v in clean for c in CLASSES]
        found += [proportion("robust_accuracy", int(r.sum()), self.n, variant=v, **CELL) for v, r in attacked.items()]
        if self.paired:
            found += paired_facts(clean, pairs_to_compare(clean), split="test")
            found += paired_facts(
                attacked, pairs_to_compare(attacked), metric="robust_accuracy_difference", target="", **CELL
            )
        for variant, ms in self.latency.items():
            about = {"variant": variant, "runtime": "onnxruntime", "batch": 1, "origin": "measured", "unit": "ms"}
            found.append(
                Fact(metric="latency_ms", kind="time", value=ms, low=0.98 * ms, high=1.02 * ms, n=100, **about)
            )
            found.append(Fact(metric="latency_p95_ms", kind="time", value=1.2 * ms, **about))
        found += [
            Fact(metric="size_bytes", kind="count", value=size, variant=v, item="bitmap" if "/" in v else "dense_fp32")
            for v, size in self.size.items()
        ]
        return found


def sports(**changes: object) -> World:
    """Two nets and their cuts: the large one better by six points and nine times slower."""
    known: dict[str, object] = {
        "accuracy": {"large": 0.72, "small": 0.66, "large/m-0.8/tuned": 0.715, "small/m-0.8/tuned": 0.65},
        "robust": {"large": 0.30, "small": 0.15, "large/m-0.8/tuned": 0.2, "small/m-0.8/tuned": 0.14},
        "latency": {"large": 9.0, "small": 1.0, "large/m-0.8/tuned": 8.9, "small/m-0.8/tuned": 1.01},
        "size": {"large": 11.1e6, "small": 2.5e6, "large/m-0.8/tuned": 2.6e6, "small/m-0.8/tuned": 0.6e6},
    }
    return World(**{**known, **changes})  # type: ignore[arg-type]
