"""YAML as plain data with a line number for every key; nothing in it can run, repeat or explode.

Scalars follow YAML 1.2's core schema, so `1e-3` is a number and `no` is a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from bantamweight.errors import InputError

__all__ = ["Marked", "read", "scalar"]

MOST_BYTES = 1_000_000
MOST_VALUES = 20_000
MOST_DEPTH = 24

_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False, "True": True, "False": False}
_PLAIN_TAGS = {"tag:yaml.org,2002:" + name for name in ("str", "int", "float", "bool", "null")}


@dataclass(frozen=True)
class Marked:
    """A document as dicts, lists and scalars, and the line of every value by its path."""

    value: Any
    lines: dict[tuple[str | int, ...], int] = field(default_factory=dict)

    def line(self, path: tuple[str | int, ...]) -> int | None:
        """Line (from 1) of the value at `path`, or of the nearest thing around it."""
        for size in range(len(path), -1, -1):
            if path[:size] in self.lines:
                return self.lines[path[:size]]
        return None


def read(text: str, name: str) -> Marked:
    """Parse one document; `name` is what errors call it."""
    if len(text) > MOST_BYTES:
        raise InputError(f"{name}: expected at most {MOST_BYTES:,} characters of YAML, got {len(text):,}")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        where = f"{name}, line {mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(f"{where}: not valid YAML: {problem}") from error
    except (RecursionError, ValueError) as error:
        raise InputError(
            f"{name}: not readable as YAML: {type(error).__name__}, the nesting or a value is too large"
        ) from error
    if root is None:
        raise InputError(f"{name}: expected a study, got an empty file")
    lines: dict[tuple[str | int, ...], int] = {}
    return Marked(_Builder(name, lines).build(root, ()), lines)


def scalar(text: str) -> Any:
    """A plain scalar as YAML 1.2 reads it.

    >>> scalar("1e-3"), scalar("12"), scalar("no"), scalar("8/255"), scalar("null")
    (0.001, 12, 'no', '8/255', None)
    """
    if text in _WORDS:
        return _WORDS[text]
    try:
        if _INT.fullmatch(text):
            return int(text.replace("_", ""))
        if _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
    except ValueError:  # more digits than Python reads
        return text
    return text


MERGE = "tag:yaml.org,2002:merge"


class _Builder:
    """Turns composed nodes into plain data, counting as it goes (aliases count each time they are used)."""

    def __init__(self, name: str, lines: dict[tuple[str | int, ...], int]) -> None:
        self.name, self.lines, self.count, self.merging = name, lines, 0, 0

    def fail(self, node: yaml.Node, problem: str) -> InputError:
        return InputError(f"{self.name}, line {node.start_mark.line + 1}: {problem}")

    def build(self, node: yaml.Node, path: tuple[str | int, ...]) -> Any:
        self._counted(node, len(path))
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            self._plain(node, "map")
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._plain(node, "seq")
            return [self.build(child, (*path, index)) for index, child in enumerate(node.value)]
        assert isinstance(node, yaml.ScalarNode)  # there is no fourth kind
        return self._scalar(node)

    def _counted(self, node: yaml.Node, depth: int) -> None:
        self.count += 1
        if self.count > MOST_VALUES or depth > MOST_DEPTH:
            raise self.fail(
                node, f"expected at most {MOST_VALUES:,} values nested at most {MOST_DEPTH} deep (aliases counted)"
            )

    def _plain(self, node: yaml.Node, kind: str) -> None:
        if node.tag != f"tag:yaml.org,2002:{kind}":
            raise self.fail(node, f"tags are not allowed in a study, got {_short(node.tag)}")

    def _mapping(self, node: yaml.MappingNode, path: tuple[str | int, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        inherited: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == MERGE:
                inherited |= self._merged(value_node, path)
                continue
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                key = key_node.value if isinstance(key_node, yaml.ScalarNode) else ""
            if not key:
                raise self.fail(key_node, "expected a word as the key")
            if key in found:
                raise self.fail(key_node, f"the key {key!r} is given twice; keep one")
            self.lines[(*path, key)] = key_node.start_mark.line + 1
            found[key] = self.build(value_node, (*path, key))
        return {**inherited, **found}

    def _merged(self, node: yaml.Node, path: tuple[str | int, ...]) -> dict[str, Any]:
        """What `<<: *name` brings: keys of that mapping, which the mapping's own keys override."""
        if not isinstance(node, yaml.MappingNode):
            raise self.fail(node, "expected one mapping after '<<', such as '<<: *name', to take keys from")
        self._plain(node, "map")
        self.merging += 1  # a mapping may name itself, and the path does not grow here
        self._counted(node, len(path) + self.merging)
        found = self._mapping(node, path)
        self.merging -= 1
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.style is not None:
            if node.tag != "tag:yaml.org,2002:str":
                raise self.fail(node, f"tags are not allowed in a study, got {_short(node.tag)}")
            return node.value
        if node.tag == MERGE:  # as a value it is a word like any other
            return node.value
        if node.tag not in _PLAIN_TAGS and not node.tag.startswith("tag:yaml.org,2002:timestamp"):
            raise self.fail(node, f"tags are not allowed in a study, got {_short(node.tag)}")
        return scalar(node.value)


def _short(tag: str) -> str:
    return repr(tag.replace("tag:yaml.org,2002:", "!!")[:60])
