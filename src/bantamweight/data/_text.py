"""Names from other people's files, made safe to print and to compare."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from pathlib import Path

__all__ = ["clean", "listed"]

_LONGEST = 200


def clean(name: str | Path) -> str:
    """A name as printable, normalised (NFC) text of at most 200 characters.

    File and class names are untrusted: they may hold terminal escapes, line breaks, marks that reverse the reading
    direction, or bytes that are no text at all. Each such character becomes U+FFFD. HTML is left alone; escaping
    belongs where HTML is made.

    >>> clean("cat") == "cat", clean("ca\\x1b[31mt")
    (True, 'ca\ufffd[31mt')
    """
    text = unicodedata.normalize("NFC", str(name))
    # Cc control, Cf format (among them the bidirectional overrides), Cs lone surrogates (undecodable bytes), Zl and
    # Zp line breaks. U+200C and U+200D are Cf, but Persian, Hindi and emoji are misspelt without them.
    unsafe = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    safe = "".join(
        "\ufffd" if unicodedata.category(char) in unsafe and char not in "\u200c\u200d" else char for char in text
    )
    return safe if len(safe) <= _LONGEST else safe[: _LONGEST - 1] + "\u2026"


def listed(names: Iterable[str], most: int = 5) -> str:
    """The first few names in quotes, and how many more there are.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    known = list(names)
    shown = ", ".join(f"'{name}'" for name in known[:most])
    return shown + (f" and {len(known) - most} more" if len(known) > most else "")
