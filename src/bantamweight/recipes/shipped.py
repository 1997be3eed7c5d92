"""Attack what ships: the exported file decides, a form of it with gradients proposes, and its own scores are tried too.

Quantization hides gradients, so a number got through the surrogate alone would flatter: images that fool the parent are
carried over first, an attack that needs scores alone asks the file itself at the end, and the masking checks stay on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from bantamweight import stats
from bantamweight.oracle import Access, Oracle, oracle
from bantamweight.predict import logits_of
from bantamweight.recipes.robustness import Robustness, robustness
from bantamweight.runtimes._surrogate import Shipped, artifact_of, surrogate
from bantamweight.runtimes.onnxruntime import open_onnx
from bantamweight.threats import Threat
from bantamweight.types import Images, Labels
from bantamweight.variants import Variant, build

__all__ = ["Attacked", "attack_shipped", "shipped_oracle"]

MARGIN = 0.02
"""Two points: within it, the robust accuracy of a file counts as its parent's."""


@dataclass(frozen=True)
class Attacked:
    """A file and its parent under the same attacks on the same images.

    `through` went through the surrogate, after images that fool the parent; the parent is shown what fooled the file in
    turn. `by_score` and `parent_by_score` asked each one's own scores about what still stood there (None when nothing
    did). `standing` and `parent_standing` say which images are right and unbroken, `equivalence` tests that the two
    shares differ by less than two points.
    """

    parent: Robustness
    through: Robustness
    by_score: Robustness | None
    parent_by_score: Robustness | None
    standing: np.ndarray
    parent_standing: np.ndarray
    equivalence: stats.Equivalence

    def summary(self) -> dict[str, Any]:
        """Plain JSON."""
        n = len(self.standing)
        low, high = stats.wilson(int(self.standing.sum()), n)
        return {
            "n": n,
            "robust": {"correct": int(self.standing.sum()), "low": low, "high": high},
            "parent_robust": int(self.parent_standing.sum()),
            "gained": int((self.standing & ~self.parent_standing).sum()),
            "lost": int((self.parent_standing & ~self.standing).sum()),
            "equivalence": {**self.equivalence._asdict(), "margin": MARGIN, "shown": self.equivalence.p < 0.05},
            "through": self.through.summary(),
            "by_score": None if self.by_score is None else self.by_score.summary(),
            "parent_by_score": None if self.parent_by_score is None else self.parent_by_score.summary(),
        }


def shipped_oracle(
    variant: Variant,
    path: Path | str,
    *,
    access: Access = "white",
    threads: int = 1,
    trust: bool = False,
) -> Oracle:
    """An oracle whose judge is an exported file of the variant, for `robustness` and single attacks.

    With `white` access gradients come from the fake-quantized surrogate of an int8 file, or from the variant itself for
    a float one; with less, every answer is the file's own. Raises InputError when the file is another variant's.
    """
    artifact = artifact_of(variant, path)
    judge = Shipped(open_onnx(artifact, shape=variant.input_shape, threads=threads))
    if access != "white":
        return oracle(judge, fold=False, channels_last=False, access=access)
    if artifact.kind == "onnx":
        return oracle(judge, surrogate=build(variant, trust=trust))
    return oracle(judge, fold=False, surrogate=surrogate(artifact.path))


def attack_shipped(
    variant: Variant,
    path: Path | str,
    images: Images,
    labels: Labels,
    against: str | Threat,
    *,
    protocol: str | Mapping[str, Any] = "fast",
    by_score: str | Mapping[str, Any] | None = "square",
    checks: Literal["probe", "full", "none"] = "probe",
    seed: int = 0,
    threads: int = 1,
    trust: bool = False,
) -> Attacked:
    """Attack a variant and its exported file alike, and say whether shipping changed how many images stand.

    `images` are floats in [0, 1]; `protocol` names the cascade, `by_score` the attack that asks for scores alone (None:
    leave it out). Raises InputError when the file is not the variant's or anything does not fit.
    """
    settings: dict[str, Any] = {"protocol": protocol, "checks": checks, "seed": seed, "trust": trust}
    judged = shipped_oracle(variant, path, threads=threads, trust=trust)
    parent = robustness(variant, images, labels, against, precision="fp32", escalate=False, **settings)
    # A file of integers fails the check of slopes by its nature: steps below a level change nothing. More gradients of
    # the surrogate would not help; the file's own scores are asked below.
    through = robustness(judged, images, labels, against, starts=parent.images, escalate=False, **settings)
    standing, parent_standing = _standing(through), _standing(parent)
    # As the file was shown what fools its parent, so the parent what fools the file.
    assert through.images is not None
    back = logits_of(build(variant, trust=trust), through.images).argmax(dim=1) != labels
    parent_standing &= ~(back.numpy() & through.columns["success"])

    def asked(judge: Oracle, stands: np.ndarray) -> Robustness | None:
        left = torch.from_numpy(np.flatnonzero(stands))
        if by_score is None or not len(left):
            return None
        found = robustness(
            judge, images[left], labels[left], against, attack=by_score, checks="none", seed=seed, trust=trust
        )
        stands[left.numpy()] &= _standing(found)
        return found

    by_file = asked(shipped_oracle(variant, path, access="score", threads=threads), standing)
    by_parent = asked(oracle(build(variant, trust=trust), access="score"), parent_standing)
    gained, lost = int((standing & ~parent_standing).sum()), int((parent_standing & ~standing).sum())
    equal = stats.equivalence(gained, lost, len(images), MARGIN)
    return Attacked(parent, through, by_file, by_parent, standing, parent_standing, equal)


def _standing(found: Robustness) -> np.ndarray:
    return np.asarray(found.columns["right"] & ~found.columns["success"])
