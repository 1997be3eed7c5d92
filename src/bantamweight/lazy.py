"""Rooms that import nothing until a name is asked for (PEP 562), so that `--help` and reports never load torch."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names live in the modules that `homes` says.

    A home is a module below the package, or `module:name` where the name there is another one.

    >>> ask, names = lazy("bantamweight", {"Fact": "facts", "load_facts": "facts:load"})
    >>> ask("load_facts").__module__, names()
    ('bantamweight.facts', ['Fact', 'load_facts'])
    """

    def ask(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home, _, original = homes[name].partition(":")
        found = getattr(importlib.import_module(f"{package}.{home}"), original or name)
        setattr(sys.modules[package], name, found)
        return found

    return ask, lambda: sorted(homes)
