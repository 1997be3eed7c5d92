"""A white-box attack does no worse than images made on another model (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from bantamweight.attacks.checks._core import Check, Evidence, absent

__all__ = ["transfer"]

LEVEL = "full"


def transfer(evidence: Evidence) -> Check:  # noqa: ARG001
    """Needs adversarial images of another variant, which one model's evidence does not have."""
    return absent("transfer", "it needs another variant; start the attack from that variant's adversarial images")
