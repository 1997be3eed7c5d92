"""The errors a caller may meet, and near-match suggestions for names that were mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["AccessError", "BantamError", "InputError", "StoreError", "near"]


class BantamError(Exception):
    """Anything this package raises on purpose."""


class InputError(BantamError, ValueError):
    """The user's input is wrong: one sentence that says what was expected, what came, and what to do."""


class StoreError(InputError):
    """The place where results are kept can't be used (full, read-only, not a folder)."""


class AccessError(BantamError, PermissionError):
    """An attack asked the oracle for more than its access level allows."""


def near(name: str, options: Iterable[str], *, most: int = 12) -> str:
    """The end of a sentence that helps with a mistyped name.

    >>> near("pdg", ["pgd", "fgsm"])
    "; did you mean 'pgd'?"
    >>> near("zzz", ["pgd", "fgsm"])
    '; choose one of fgsm, pgd'
    """
    known = sorted(set(options))
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not known:
        return "; there is nothing to choose from"
    listed = ", ".join(known[:most]) + (f" and {len(known) - most} more" if len(known) > most else "")
    return f"; choose one of {listed}"
