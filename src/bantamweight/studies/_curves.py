"""What a training says of itself, as facts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bantamweight.facts import Fact, proportion
from bantamweight.parts import Part, configure

if TYPE_CHECKING:
    from bantamweight.training import Trained

__all__ = ["training_facts", "write_history"]


def adversary(objective: str | dict[str, Any] | Part) -> dict[str, str]:
    """Against what an objective trains, as columns of a fact; none where it has no threat. The eps is the whole one: by
    which schedule it is reached is said, and where an epoch was is its `epoch_eps`.

    >>> adversary({"use": "awp", "objective": {"use": "pgd_at", "threat": "linf 8/255"}})
    {'attack': 'awp of pgd_at', 'threat': 'linf 8/255'}
    """
    part = configure("objectives", objective)
    threat, inner = part.settings.get("threat"), part.settings.get("objective")
    if inner is not None:
        found = adversary(inner)
        return {**found, "attack": f"{part.name} of {found['attack']}"} if found else {}
    if threat is None:
        return {}
    growth = configure("schedules", part.settings.get("growth", "constant"))
    name = part.name if growth.name == "constant" else f"{part.name}, eps {growth}"
    return {"attack": name, "threat": str(configure("threats", threat).make())}


def training_facts(trained: Trained, objective: str | dict[str, Any] | Part = "standard") -> list[Fact]:
    """Facts epoch_loss, epoch_accuracy, epoch_seconds (step = epoch), training_seconds, epochs, best_epoch.

    Those of the split `train` are the objective's: its loss, its accuracy under its threat, which their columns say.
    Where there was an adversary: attack_share of the training time, attack_forwards and attack_backwards (images that
    passed the net to make adversarial ones, as a ledger counts them). Where an epoch had more to say: epoch_recovering
    and epoch_setbacks (counts), and epoch_NAME of each of its measures (residuals of ADMM, layers that it spared, an
    eps that is not the same throughout; of validation images, robust accuracy, and accuracy before and after the last
    cut). training_images_per_second is of the epochs alone, validation left out.
    """
    facts, against = [], adversary(objective)
    for row in trained.history:
        columns: dict[str, Any] = {"split": row.split, "step": float(row.epoch)}
        met = {**columns, **(against if row.split == "train" else {})}
        facts.append(Fact(metric="epoch_loss", kind="mean", value=row.loss, n=row.n, **met))
        facts.append(proportion("epoch_accuracy", row.right, row.n, **met))
        facts.append(_time("epoch_seconds", row.seconds, **columns))
        counts = {"epoch_recovering": row.recovering, "epoch_setbacks": row.setbacks}
        facts += [Fact(metric=name, kind="count", value=count, **columns) for name, count in counts.items() if count]
        facts += [_measured(name, value, row.n, columns, against) for name, value in row.measures.items()]
    facts += _throughput(trained)
    facts += [
        _time("training_seconds", trained.seconds),
        Fact(metric="epochs", kind="count", value=trained.epochs, note="stopped early" if trained.stopped else ""),
        Fact(metric="best_epoch", kind="count", value=trained.best_epoch),
    ]
    return facts


def _measured(name: str, value: float, n: int, columns: dict[str, Any], against: dict[str, str]) -> Fact:
    if name == "robust_accuracy":
        met = {**against, "attack": "pgd", "note": "10 steps"}
        return proportion("epoch_robust_accuracy", round(value * n), n, **columns, **met)
    if name.startswith("accuracy_"):
        return proportion(f"epoch_{name}", round(value * n), n, **columns)
    return Fact(metric=f"epoch_{name}", kind="score", value=value, **columns)


def _throughput(trained: Trained) -> list[Fact]:
    rows = [row for row in trained.history if row.split == "train"]
    seconds, crafting = (sum(getattr(row, name) for row in rows) for name in ("seconds", "crafting_seconds"))
    if not rows or seconds <= 0:
        return []
    rate = {"kind": "score", "unit": "images/s", "value": sum(row.n for row in rows) / seconds}
    facts = [Fact(metric="training_images_per_second", origin="measured", **rate)]
    if crafting:
        share = {"kind": "ratio", "value": crafting / seconds, "note": "of the time of training steps"}
        facts.append(Fact(metric="attack_share", origin="measured", **share))
    note = "images that passed the net to make adversarial ones"
    passes = {name: sum(getattr(row, name) for row in rows) for name in ("forwards", "backwards")}
    return facts + [Fact(metric=f"attack_{name}", kind="count", value=n, note=note) for name, n in passes.items() if n]


def _time(metric: str, seconds: float, **columns: Any) -> Fact:
    return Fact(metric=metric, kind="time", value=seconds, unit="s", origin="measured", **columns)


def write_history(trained: Trained, path: Path) -> None:
    """Every epoch as JSON, beside the variant."""
    path.write_text(json.dumps([asdict(row) for row in trained.history], indent=1), encoding="utf-8")
