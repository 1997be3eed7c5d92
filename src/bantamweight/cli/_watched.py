"""The bar that commands show while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn

__all__ = ["counted", "watched"]


@contextmanager
def watched() -> Iterator[Callable[[float, str], None] | None]:
    """A bar on a terminal, nothing elsewhere; it is told the share that is done, and what of."""
    with _bar() as shown:
        if shown is None:
            yield None
            return
        bars, task = shown
        yield lambda done, text: bars.update(task, description=text, completed=done, total=1.0)


@contextmanager
def counted() -> Iterator[Callable[[str, int, int], None] | None]:
    """The same with numbers; it is told what, how many are done, and of how many."""
    with _bar(TextColumn("{task.completed}/{task.total}")) as shown:
        if shown is None:
            yield None
            return
        bars, task = shown
        yield lambda part, done, total: bars.update(task, description=part, completed=done, total=total)


@contextmanager
def _bar(*more: ProgressColumn) -> Iterator[tuple[Progress, TaskID] | None]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    text = TextColumn("{task.description}", markup=False)
    with Progress(text, BarColumn(), *more, TimeElapsedColumn(), console=console, transient=True) as bars:
        yield bars, bars.add_task("")
