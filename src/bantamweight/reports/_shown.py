"""The pictures that protocols and minimum-norm attacks left in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bantamweight.reports._run import Context, Job

__all__ = ["Shown", "shown"]

NEEDED = {"index", "label", "clean", "right", "adversarial", "confidence", "success", "sizes", "pictures"}


@dataclass(frozen=True)
class Shown:
    """What one job drew: `items` in the job's order, distances told in `norm`."""

    variant: str
    attack: str
    threat: str
    target: str
    norm: str
    folder: Path
    items: Sequence[Mapping[str, Any]]

    def path(self, item: Mapping[str, Any], key: str) -> Path | None:
        """One picture of an item; None where there is none inside the job's own folder."""
        home = self.folder.resolve()
        path = (home / str(item["pictures"].get(key, ""))).resolve()
        return path if path.is_relative_to(home) and path != home else None

    def size(self, item: Mapping[str, Any]) -> float:
        """How far the adversarial image is from its original."""
        return float(item["sizes"].get(self.norm, 0.0))

    def item(self, index: int) -> Mapping[str, Any] | None:
        """The item of one image, by its number in the split."""
        return next((one for one in self.items if one["index"] == index), None)


def shown(context: Context, kind: str) -> list[Shown]:
    """All of a run's jobs of one kind that drew something, variants in its order; what can't be read is left out."""
    found = [one for job in context.jobs(kind) if (one := _read(job)) is not None]
    return sorted(found, key=lambda one: context.place(one.variant))


def _read(job: Job) -> Shown | None:
    said = job.json("shown.json")
    if not isinstance(said, dict) or not isinstance(said.get("items"), list):
        return None
    items = [item for item in said["items"] if isinstance(item, dict) and item.keys() >= NEEDED]
    label = {key: str(job.labels.get(key) or "") for key in ("variant", "attack", "threat", "target")}
    return Shown(**label, norm=str(said.get("norm", "")), folder=job.folder, items=items) if items else None
