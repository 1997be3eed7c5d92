"""Pascal VOC: `JPEGImages/*` and one XML file of boxes per image in `Annotations/` (Everingham et al. 2010)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat

from bantamweight.data._boxes import Box, Seen, assembled, inside, read_text
from bantamweight.data._core import Data, Preprocessing, Resize
from bantamweight.data._text import clean
from bantamweight.errors import InputError

__all__ = ["voc"]

_MOST_BYTES, _MOST_NODES, _DEEPEST = 1_000_000, 20_000, 12


def voc(
    *,
    path: str,
    size: int | tuple[int, int] = 224,
    channels: int = 3,
    resize: Resize = "crop",
    difficult: bool = False,
    most: int | None = None,
) -> Data:
    """Images with boxes from a VOC folder, one row per image and class, for judging maps.

    `path` holds `Annotations` and `JPEGImages`; objects marked difficult are left out unless said; `most` is how many
    annotation files are read. Raises InputError, in one sentence, for XML that is not so (document types and entities
    are refused), an image that is not in the folder or that has not the size its annotation states.
    """
    root = Path(path).expanduser()
    if not (root / "Annotations").is_dir() or not (root / "JPEGImages").is_dir():
        raise InputError(f"expected the folders Annotations and JPEGImages in {clean(root)!r}; check the path")
    files = sorted((root / "Annotations").glob("*.xml"))[:most]
    rows = [row for file in files for row in _rows(file, root / "JPEGImages", difficult)]
    return assembled(root.name, rows, Preprocessing.of(size, channels, resize))


@dataclass
class _Node:
    """An element: its name, its text and what it holds."""

    name: str
    text: str = ""
    inner: list[_Node] = field(default_factory=list)

    def all(self, name: str) -> list[_Node]:
        """The elements of that name directly inside."""
        return [one for one in self.inner if one.name == name]

    def one(self, *path: str) -> str:
        """The text at a path; raises ValueError where there is none."""
        node = self
        for name in path:
            found = node.all(name)
            if not found:
                raise ValueError(f"<{node.name}> has no <{name}>")
            node = found[0]
        return node.text.strip()


def _parsed(content: bytes) -> _Node:
    """The document's root; raises ValueError for document types, entities, and documents without end."""
    parser = expat.ParserCreate()
    top = _Node("")
    stack, count = [top], 0

    def start(name: str, _attributes: Any) -> None:
        nonlocal count
        count += 1
        if count > _MOST_NODES or len(stack) > _DEEPEST:
            raise ValueError(f"more than {_MOST_NODES:,} elements, or nested more than {_DEEPEST} deep")
        stack[-1].inner.append(_Node(name))
        stack.append(stack[-1].inner[-1])

    def text(piece: str) -> None:
        stack[-1].text += piece

    def refused(*_: Any) -> None:
        raise ValueError("document types and entities are not allowed")

    parser.StartElementHandler, parser.CharacterDataHandler = start, text
    parser.EndElementHandler = lambda _name: stack.pop()
    for event in ("StartDoctypeDeclHandler", "EntityDeclHandler", "ExternalEntityRefHandler"):
        setattr(parser, event, refused)
    parser.Parse(content, True)
    return top.inner[0]


def _rows(file: Path, images: Path, difficult: bool) -> Iterator[Seen]:
    try:
        told = _parsed(read_text(file, _MOST_BYTES))
        name = told.one("filename")
        stated = int(told.one("size", "width")), int(told.one("size", "height"))
        boxes: dict[str, list[Box]] = {}
        for one in told.all("object"):
            if difficult or not one.all("difficult") or one.one("difficult") != "1":
                boxes.setdefault(one.one("name"), []).append(_box(one))
    except (ValueError, expat.ExpatError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected a VOC annotation in {clean(file.name)!r}: {clean(str(error))}") from error
    for kind, found in sorted(boxes.items()):
        yield Seen(inside(images, name), kind, tuple(found), stated)


def _box(node: _Node) -> Box:
    """VOC counts pixels from 1 and both ends are inside."""
    left, top, right, bottom = (float(node.one("bndbox", name)) for name in ("xmin", "ymin", "xmax", "ymax"))
    if not (left <= right and top <= bottom):
        raise ValueError("a box ends before it begins")
    return left - 1, top - 1, right, bottom
