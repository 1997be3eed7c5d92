"""One call from a model and images to verdicts: names for attack and threat, an oracle of the right kind."""

from __future__ import annotations

import math
from typing import Any

from torch import nn

from bantamweight.attacks._core import Attack, Until, run
from bantamweight.attacks._verdicts import Verdicts
from bantamweight.errors import InputError
from bantamweight.oracle import oracle
from bantamweight.parts import configure, find, number
from bantamweight.threats import Threat
from bantamweight.types import Images, Labels
from bantamweight.variants import Variant, build

__all__ = ["attack", "threat"]


def threat(text: str | Threat) -> Threat:
    """A threat as it is written: `linf 8/255`, or `l2 unbounded` where the smallest perturbation is sought.

    >>> threat("l2 0.5").eps
    0.5
    """
    if isinstance(text, Threat):
        return text
    if not isinstance(text, str):
        raise InputError(f"expected a threat such as 'linf 8/255', or what linf(eps=8/255) gives, got {text!r}")
    norm, _, eps = (part.strip() for part in text.strip().partition(" "))
    if eps in ("unbounded", "inf"):
        return find("threats", norm)(eps=math.inf)
    return configure("threats", {"use": norm, "eps": _epsilon(eps)}).make()


def _epsilon(text: str) -> float:
    try:
        found = float(number(text))
    except (ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise InputError(
            "expected an epsilon in pixel values of 0 to 1, such as 8/255 (in l0 a number of pixels), or 'unbounded', "
            f"got {text[:60]!r}"
        )
    return found


def attack(
    model: Variant | nn.Module,
    images: Images,
    labels: Labels,
    use: str | dict[str, Any] | Attack,
    against: str | Threat,
    *,
    targets: Labels | None = None,
    until: Until = "first",
    precision: str = "fp32",
    seed: int = 0,
    batch: int = 256,
    device: str = "auto",
    trust: bool = False,
) -> Verdicts:
    """Attack `model` on `images` (floats in [0, 1]) and say per image what became of it.

    `use` is an attack by name (`pgd`), with settings (`{"use": "pgd", "steps": 40}`) or made already; `against` is a
    threat such as `linf 8/255`. `targets` makes it targeted, `device` says where (`auto`: CUDA
    where there is some, else the processor). `trust` lets code run that is not ours: a Variant's own,
    an attack `module:function`. The model is left as it was. Raises InputError.
    """
    if precision not in ("fp32", "bf16"):
        raise InputError(f"expected precision fp32 or bf16 (of gradients; verdicts are float32), got {precision!r}")
    budget = threat(against)
    method = use if isinstance(use, Attack) else configure("attacks", use, trust=trust).make(budget)
    module = build(model, trust=trust) if isinstance(model, Variant) else model
    asked = oracle(module, precision="bf16" if precision == "bf16" else "fp32", device=device)
    return run(method, asked, images, labels, budget, targets=targets, until=until, seed=seed, batch=batch)
