"""What makes a verdict of robustness worthless, one check per file: `examine` runs them."""

from bantamweight.attacks.checks._core import PROBE, Check, Evidence, Level, examine, telling

__all__ = ["PROBE", "Check", "Evidence", "Level", "examine", "telling"]
