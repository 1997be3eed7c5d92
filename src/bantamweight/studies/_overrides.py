"""`--set a.b.0.c=value` over the plain tree of a study, before anything is checked."""

from __future__ import annotations

from typing import Any

from bantamweight.errors import InputError, near
from bantamweight.studies._places import Path, dotted, keys_of
from bantamweight.studies._yaml import read

__all__ = ["override"]


def override(tree: Any, line: str, origins: dict[Path, str]) -> None:
    """Apply one `a.b.0.c=value` to the plain tree."""
    key_text, equals, text = line.partition("=")
    said = f"--set {line[:80]}"
    steps = key_text.strip().split(".")
    if not equals or not all(steps):
        raise InputError(f"{said}: expected KEY=VALUE with a dotted key, for example train.0.epochs=2")
    value = read(text, said).value if text.strip() else None
    steps = _as_lists(tree, steps)
    path: list[str | int] = []
    for step in steps[:-1]:
        tree, key = _descend(tree, step, said, path)
        path.append(key)
    last: Any = _index(tree, steps[-1], said, path) if isinstance(tree, list) else steps[-1]
    if not isinstance(tree, dict | list):
        raise InputError(f"{said}: {dotted(path)} holds a single value, not settings")
    tree[last] = value
    origins[(*path, last)] = said


BLOCKS = ("train", "compress", "attack", "explain", "measure")


def _as_lists(tree: Any, steps: list[str]) -> list[str]:
    """A single block is a list of one; its index may be left out then."""
    first = steps[0]
    if len(steps) == 1 or first not in BLOCKS or not isinstance(tree, dict) or not isinstance(tree.get(first), dict):
        return steps
    tree[first] = [tree[first]]
    return steps if steps[1].isdigit() else [first, "0", *steps[1:]]


def _descend(tree: Any, step: str, said: str, path: list[str | int]) -> tuple[Any, str | int]:
    if isinstance(tree, list):
        index = _index(tree, step, said, path)
        return tree[index], index
    if isinstance(tree, dict) and step not in tree:
        known = keys_of(path)
        if step not in known:
            raise InputError(f"{said}: the study has no {dotted([*path, step])}{near(step, [*tree, *known])}")
        tree[step] = {}
    if not isinstance(tree, dict):
        raise InputError(f"{said}: {dotted(path)} holds a single value, not settings")
    if isinstance(tree[step], str):  # `attack: pgd` is `attack: {use: pgd}` in short
        tree[step] = {"use": tree[step]}
    return tree[step], step


def _index(tree: list[Any], step: str, said: str, path: list[str | int]) -> int:
    if not step.isdigit() or int(step) >= len(tree):
        raise InputError(f"{said}: {dotted(path)} is a list of {len(tree)}, expected an index from 0, got {step!r}")
    return int(step)
