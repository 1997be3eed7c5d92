"""A training's settings, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pydantic import ValidationError

from bantamweight.errors import InputError
from bantamweight.parts import Part, complaint, settings
from bantamweight.training._device import Accelerator

__all__ = ["Settings", "checked"]


@dataclass(frozen=True)
class Settings:
    """The keyword-only parameters of `train`, checked, with parts in place of their names (see there)."""

    epochs: int
    batch: int
    optimizer: Part
    rate: float
    weight_decay: float
    schedule: Part
    objective: Part
    compress: Part | None
    average: float | None
    setbacks: int
    label_smoothing: float
    augment: tuple[str | dict[str, Any], ...]
    patience: int | None
    monitor: Literal["loss", "accuracy", "robust_accuracy"]
    seed: int
    precision: Literal["auto", "fp32", "bf16"]
    accelerator: Accelerator
    devices: int
    resume: bool
    keep: tuple[int, ...]
    begin: int

    @property
    def said(self) -> dict[str, Any]:
        """What decides the result, as plain JSON."""
        pairs = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "resume"}
        return {name: value.spec if isinstance(value, Part) else value for name, value in pairs.items()}


def checked(function: Callable[..., Any], given: Mapping[str, Any]) -> Settings:
    """Settings from a call's arguments, of which only the configured ones are looked at; raises InputError."""
    model = settings(function)
    try:
        values = model.model_validate({name: given[name] for name in model.model_fields})
    except ValidationError as error:
        raise InputError(complaint(error, function.__name__, model)) from error
    return Settings(**{name: getattr(values, name) for name in model.model_fields})
