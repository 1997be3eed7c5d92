"""The default protocol: cheap attacks first, strong ones on what they leave, and no row longer than its curve pays."""

from __future__ import annotations

from collections.abc import Callable

from bantamweight.attacks._cascade import Cascade, cascade
from bantamweight.attacks._patience import while_it_pays
from bantamweight.attacks._problem import Attack
from bantamweight.attacks.apgd import apgd, apgd_t
from bantamweight.attacks.fmn import fmn
from bantamweight.attacks.pgd import pgd
from bantamweight.attacks.pma import pma
from bantamweight.threats import Threat

__all__ = ["fast"]


def fast(threat: Threat, *, steps: int = 30, classes: int = 3) -> Cascade:
    """Verdicts close to AutoAttack's in a small part of its queries; the audit says how close.

    Choose it for everything but a number that must stand beside published ones. PGD in 5 steps breaks what is easy,
    PMA in `steps` steps nearly all that can be broken, and Auto-PGD towards the `classes` nearest classes is kept up
    per image only while its margin falls fast enough. L1 and L0 get what works there. No part is score-only: that is
    what the checks and the audit are for. An image that stands costs about 130 gradients (L-inf and L2).
    """
    return cascade("fast", *PARTS[threat.norm.name](threat, steps, classes))


def _smooth(threat: Threat, steps: int, classes: int) -> list[Attack]:
    targeted = while_it_pays(apgd_t(threat, steps=20, classes=classes))
    return [pgd(threat, steps=5), pma(threat, steps=steps), targeted]


def _sparse(threat: Threat, steps: int, classes: int) -> list[Attack]:
    # In L1 a walk starts in a ball three times as large: its curve says nothing before it has come down. Other
    # starts break more than longer walks do, but a class that is not among the nearest takes a long walk, and from the
    # image itself: a random start has spent part of the budget on every value. Untargeted walks go first: they break
    # most of what falls, so the others have fewer images.
    untargeted = apgd(threat, steps=2 * steps, restarts=classes + 1)
    targeted = apgd_t(threat, steps=10 * steps // 3, classes=classes + 2, start="clean")
    return [pgd(threat, steps=10), pma(threat, steps=steps), untargeted, targeted]


def _counted(threat: Threat, steps: int, classes: int) -> list[Attack]:  # noqa: ARG001 (the norms' common signature)
    return [pgd(threat, steps=20), fmn(threat, steps=10 * steps)]


PARTS: dict[str, Callable[[Threat, int, int], list[Attack]]] = {
    "linf": _smooth,
    "l2": _smooth,
    "l1": _sparse,
    "l0": _counted,
}
"""What works differs by norm; the reasons stand with each."""
