"""What is asked of an attack on a model, looked at before anything is computed: one sentence for what does not fit."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from bantamweight.attacks._cascade import Cascade
from bantamweight.errors import InputError, near
from bantamweight.oracle import Oracle
from bantamweight.parts import configure
from bantamweight.recipes._campaign import Question
from bantamweight.threats import Threat

__all__ = ["REFERENCE", "check_classes", "has_reference", "refuse_access", "refuse_audit", "sound"]

REFERENCE = configure("protocols", "autoattack")
"""Who audits, and who is sent what still stands where a check fails."""

LEVELS = ("probe", "full", "none")
PRECISIONS = ("fp32", "bf16")


def has_reference(budget: Threat) -> bool:
    """Whether the reference ensemble is defined for the threat: it needs a budget, and has no attack on L0."""
    return not math.isinf(budget.eps) and budget.norm.name != "l0"


def refuse_audit(audit: int, budget: Threat) -> None:
    """Raise InputError for an audit that nobody can make."""
    if audit and math.isinf(budget.eps):
        raise InputError("an audit needs an eps: it asks whether others stay within it; leave out --audit")
    if audit and not has_reference(budget):
        raise InputError(f"there is no reference ensemble for {budget.norm.name} to audit with; leave out --audit")


def refuse_access(asked: Oracle, plan: Cascade, audit: int) -> None:
    """Raise InputError where an oracle shows less than is needed."""
    blind = [part.name for part in plan.parts if asked.limited(part.access).access != part.access]
    if blind:
        shown = asked.access == "transfer"
        way = "give starts, images that fool another model" if shown else "choose an attack that makes do with it"
        raise InputError(f"{blind[0]} needs more than {asked.access} access; {way}")
    if audit and asked.access != "white":
        raise InputError(f"an audit needs gradients, and there is {asked.access} access only; leave out --audit")


def sound(
    images: Any, labels: Any, targets: Any, starts: Any, checks: Any, precision: Any, audit: Any, batch: Any
) -> None:
    """Raise InputError for arguments that are not what `robustness` takes."""
    if not isinstance(audit, int) or not isinstance(batch, int) or batch < 1 or audit < 0:
        raise InputError(f"expected a batch of at least 1 row and an audit of 0 or more, got {batch!r} and {audit!r}")
    _images("images", images)
    n = len(images)
    _classes("labels", labels, n)
    if isinstance(targets, Tensor):
        _classes("targets", targets, n)
    elif isinstance(targets, str):
        if targets not in ("least-likely", "all"):
            known = near(targets, ["least-likely", "all"])
            raise InputError(f"expected a class, one per image, 'least-likely' or 'all', got {targets!r}{known}")
    elif targets is not None and (not isinstance(targets, int) or isinstance(targets, bool) or targets < 0):
        raise InputError(f"expected the number of a class to aim for, got {targets!r}")
    if starts is not None:
        _images("starts", starts)
        if starts.shape != images.shape:
            raise InputError(f"expected starts as the images, {tuple(images.shape)}, got {tuple(starts.shape)}")
    if checks not in LEVELS:
        raise InputError(f"expected checks to be one of {', '.join(LEVELS)}, got {checks!r}{near(str(checks), LEVELS)}")
    if precision is not None and precision not in PRECISIONS:
        raise InputError(f"expected a precision of {' or '.join(PRECISIONS)}, got {precision!r}")


def _images(name: str, given: Any) -> None:
    if not isinstance(given, Tensor):
        raise InputError(f"expected {name} as a torch tensor, got {type(given).__name__}; torch.as_tensor makes one")
    if given.ndim != 4 or len(given) == 0:
        raise InputError(f"expected {name} of shape (n, channels, height, width), got {tuple(given.shape)}")
    if given.dtype not in (torch.uint8, torch.float32):
        raise InputError(f"expected {name} as float32 in [0, 1] or as bytes, got {given.dtype}")


def _classes(name: str, given: Any, n: int) -> None:
    number = isinstance(given, Tensor) and not given.is_floating_point() and given.dtype != torch.bool
    if not number or given.ndim != 1 or len(given) != n:
        shape = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise InputError(f"expected {name} as one whole number per image, {n} of them, got {shape}")
    if int(given.min()) < 0:
        raise InputError(f"expected {name} of 0 or more, got {int(given.min())}")


def check_classes(question: Question, classes: int | None) -> None:
    """Raise InputError where the model tells other classes apart than the data has, or than are aimed for."""
    told, most = question.clean.shape[1], int(question.labels.max()) + 1
    if told < 2:
        raise InputError(f"expected a model with a logit for each of two classes or more, got {told} in all")
    if (classes is not None and classes != told) or most > told:
        raise InputError(
            f"the model tells {told} classes apart and the data has {classes or most}; use a model made for this data"
        )
    if question.targets is not None and int(question.targets.max()) >= told:
        raise InputError(f"the model tells {told} classes apart, and {int(question.targets.max())} is aimed for")
    if question.targets is not None and bool((question.targets == question.labels).all()):
        raise InputError(f"all {len(question.labels)} images are of the class that is aimed for; aim for another")
