"""Progress for people: bars on a terminal, one line per job elsewhere; always on stderr."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from bantamweight.studies.execute import Progress as Event

__all__ = ["shown"]


@contextmanager
def shown(console: Console) -> Iterator[Callable[[Event], None]]:
    """A callback for `studies.run` that shows where it is."""
    if not console.is_terminal:
        yield lambda event: _line(console, event)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bars:
        whole = bars.add_task("study", total=1.0, note="")
        job = bars.add_task("", total=1.0, note="")

        def show(event: Event) -> None:
            said = f"{event.number}/{event.total}"
            bars.update(whole, completed=event.number - 1 + event.done, total=event.total, note=said)
            bars.update(job, description=f"{event.kind} {event.name}"[:60], completed=event.done, note=event.text[:40])

        yield show


def _line(console: Console, event: Event) -> None:
    """Where nobody watches: a line when a job is done, with how long it took."""
    if event.done >= 1.0 and not event.kept:
        console.print(f"[{event.number}/{event.total}] {event.kind} {event.name} ({event.seconds:.1f} s)")
