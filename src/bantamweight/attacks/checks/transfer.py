"""A white-box attack does no worse than images made on another model (Athalye et al. 2018, section 3.1)."""

from __future__ import annotations

from bantamweight.attacks._transferred import transferred
from bantamweight.attacks.checks._core import Check, Evidence, absent, failed, outdone, passed

__all__ = ["transfer"]

LEVEL = "full"


def transfer(evidence: Evidence) -> Check:
    """What another variant's adversarial images break, gradients of this one break too, luck aside.

    The figure is by how many images the transferred ones are ahead. Costs 1 forward.
    """
    if evidence.starts is None:
        return absent("transfer", "it needs another variant's adversarial images, and the run did not start from any")
    fooled = evidence.run(transferred(evidence.threat), starts=evidence.starts)
    white = evidence.white()
    theirs, own = int(fooled["success"].sum()), int(white["success"].sum())
    said = f"another variant's images break {theirs} of {len(evidence)}, this one's own gradients break {own}"
    if outdone(white, fooled):
        return failed("transfer", float(theirs - own), f"masked gradients: {said}")
    return passed("transfer", float(theirs - own), said)
