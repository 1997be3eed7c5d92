"""One training, as it is handed to the processes that do it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bantamweight.data import Split
from bantamweight.errors import InputError
from bantamweight.parts import Part, find
from bantamweight.training._settings import Settings
from bantamweight.training._values import Objective

__all__ = ["Job", "check_watched", "foresee", "learns_from_a_teacher", "made"]


@dataclass(frozen=True)
class Job:
    """All that a training process needs; picklable, so that it can be sent to one process per device.

    `module` carries the modes (train or eval) and the frozen parameters to respect. `about` identifies the training.
    """

    module: nn.Module
    training: Split
    validation: Split | None
    masks: Mapping[str, Tensor]
    settings: Settings
    about: Mapping[str, Any]
    folder: Path | None
    progress: Callable[[int, int], None] | None
    teacher: nn.Module | None = None


def learns_from_a_teacher(objective: Part) -> bool:
    """Whether an objective's function has a parameter `teacher`, after the one for label smoothing."""
    return "teacher" in inspect.signature(find("objectives", objective.name, trust=objective.trusted)).parameters


def foresee(objective: Part, label_smoothing: float, monitor: str) -> None:
    """Make an objective only to hear what it says against its settings, before anything is computed.

    One that learns from a teacher is given nobody in particular. A stranger's may ask its teacher at once: it is heard
    when its training begins.
    """
    if not learns_from_a_teacher(objective):
        made(objective, label_smoothing, monitor)
    elif not objective.trusted:
        made(objective, label_smoothing, monitor, nn.Identity())


def check_watched(data: str, patience: int | None, monitor: str) -> None:
    """Raise InputError where something is asked of the validation split, for data that have none."""
    for asked, wish in ((patience is not None, "patience"), (monitor == "robust_accuracy", f"monitor={monitor}")):
        if asked:
            raise InputError(
                f"{wish} watches a split 'val', and {data!r} has none; leave {wish.partition('=')[0]} out or add one"
            )


def made(objective: Part, label_smoothing: float, monitor: str, *teacher: nn.Module) -> Objective:
    """The objective; raises InputError where its settings can't be, or what is to be watched is nothing it knows."""
    found: Objective = objective.make(label_smoothing, *teacher)
    if monitor == "robust_accuracy" and getattr(found, "probe", None) is None:
        raise InputError(
            f"robust_accuracy needs an adversarial objective, got {objective.name!r}; watch loss or accuracy"
        )
    return found
