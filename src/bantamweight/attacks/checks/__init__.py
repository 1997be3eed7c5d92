"""What makes a verdict of robustness worthless, one check per file: `examine` runs them."""

from bantamweight.attacks.checks._core import Check, Evidence, Level, examine, telling

__all__ = ["Check", "Evidence", "Level", "examine", "telling"]
