"""Bantamweight: make image classifiers light, hard to fool and legible, and prove each claim."""

from __future__ import annotations

__version__ = "0.1.0"
