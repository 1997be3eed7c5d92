"""What a training says of itself, as facts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bantamweight.facts import Fact, proportion

if TYPE_CHECKING:
    from bantamweight.training import Trained

__all__ = ["training_facts", "write_history"]


def training_facts(trained: Trained) -> list[Fact]:
    """Facts epoch_loss, epoch_accuracy, epoch_seconds (step = epoch), training_seconds, epochs, best_epoch."""
    facts = []
    for row in trained.history:
        columns: dict[str, Any] = {"split": row.split, "step": float(row.epoch)}
        facts.append(Fact(metric="epoch_loss", kind="mean", value=row.loss, n=row.n, **columns))
        facts.append(proportion("epoch_accuracy", row.right, row.n, **columns))
        facts.append(_time("epoch_seconds", row.seconds, **columns))
    facts += [
        _time("training_seconds", trained.seconds),
        Fact(metric="epochs", kind="count", value=trained.epochs, note="stopped early" if trained.stopped else ""),
        Fact(metric="best_epoch", kind="count", value=trained.best_epoch),
    ]
    return facts


def _time(metric: str, seconds: float, **columns: Any) -> Fact:
    return Fact(metric=metric, kind="time", value=seconds, unit="s", origin="measured", **columns)


def write_history(trained: Trained, path: Path) -> None:
    """Every epoch as JSON, beside the variant."""
    path.write_text(json.dumps([asdict(row) for row in trained.history], indent=1), encoding="utf-8")
