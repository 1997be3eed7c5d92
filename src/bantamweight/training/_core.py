"""Training: a model and data in, the best and the last weights and their history out."""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from bantamweight import variants
from bantamweight.compression._core import prunable
from bantamweight.data import Data, Split, align, augmentations
from bantamweight.errors import InputError, near
from bantamweight.parts import Part, Room
from bantamweight.predict import logits_of
from bantamweight.training._checkpoint import Checkpoint, read
from bantamweight.training._device import Accelerator, Precision, fabric_for, own_port, precision_for
from bantamweight.training._epochs import count
from bantamweight.training._job import Job, check_watched, foresee, learns_from_a_teacher
from bantamweight.training._loop import fit
from bantamweight.training._settings import Settings, checked
from bantamweight.training._values import Span, Trained
from bantamweight.variants import Variant

__all__ = ["train"]


def train(
    model: Variant | nn.Module,
    data: Data,
    folder: Path | str | None = None,
    masks: Mapping[str, Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
    trust: bool = False,
    teacher: Variant | nn.Module | None = None,
    *,
    epochs: Annotated[int, Field(ge=1, le=100_000)],
    batch: Annotated[int, Field(ge=1, le=65_536)] = 64,
    optimizer: Annotated[str | dict[str, Any] | Part, Room("optimizers")] = "adamw",
    rate: Annotated[float, Field(gt=0, le=1000)] = 2e-3,
    weight_decay: Annotated[float, Field(ge=0, le=100)] = 0.0,
    schedule: Annotated[str | dict[str, Any] | Part, Room("schedules")] = "one_cycle",
    objective: Annotated[str | dict[str, Any] | Part, Room("objectives")] = "standard",
    compress: Annotated[str | dict[str, Any] | Part | None, Room("pruning")] = None,
    average: Annotated[float, Field(gt=0, lt=1)] | None = None,
    setbacks: Annotated[int, Field(ge=0, le=100)] = 0,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    augment: tuple[str | dict[str, Any], ...] = (),
    patience: Annotated[int, Field(ge=1)] | None = None,
    monitor: Literal["loss", "accuracy", "robust_accuracy"] = "loss",
    seed: int = 0,
    precision: Precision = "auto",
    accelerator: Accelerator = "auto",
    devices: Annotated[int, Field(ge=1, le=1024)] = 1,
    resume: bool = True,
    keep: tuple[Annotated[int, Field(ge=1)], ...] = (),
    begin: Annotated[int, Field(ge=0)] = 0,
) -> Trained:
    """Train a model on the split `train` of `data`, watching `val` where there is one.

    A variant continues from its weights, and what its cuts set to zero stays zero (so does what `masks` marks False:
    name of a parameter -> bool tensor of its shape). Of a bare module a copy is trained: parameters that require no
    gradient stay frozen, and so do the modes of parts left in eval mode, unless the whole module is in eval mode.

    `folder` keeps checkpoints of every epoch and TensorBoard logs; with `resume`, training continues from there, after
    a kill to the same bits (same machine, threads and settings). `patience` ends training that many epochs after the
    best one; `monitor` says what "best" compares on the validation split (`robust_accuracy`: under the attack of an
    adversarial objective). `compress` says how weights go meanwhile; only epochs at the final sparsity then count for
    either, and what it cut stays zero in later trainings too. With `average` what is judged and given back is a running
    average of the weights with that decay (`last` are the weights themselves). An epoch whose loss explodes is begun
    again at half the rate, `setbacks` times in all, before that is an error. Several `devices` share each batch. Parts
    are values as well as names: `objective=bw.objectives.trades(beta=6, threat="linf 8/255"),
    compress=bw.pruning.admm(keep=0.1)`.

    The weights after each epoch in `keep` are given back too. With `begin` that many epochs count as done: schedule,
    order and augmentation go on from there, as when weights are rewound. `teacher` is whom an objective such as
    `distill` learns from; it is left as it was.

    Raises InputError for bad settings, data that don't fit the model, or a loss that is no longer finite; StoreError
    when the folder can't be written.
    """
    settings = checked(train, locals())
    augmentations(settings.augment)  # only to refuse a bad one before anything is computed, and so below
    foresee(settings.objective, settings.label_smoothing, settings.monitor)
    settings.optimizer.make([nn.Parameter(torch.zeros(1))], settings.rate, settings.weight_decay)
    for part in (settings.schedule, settings.compress):
        if part is not None:
            part.make(Span(settings.epochs, 100))
    if settings.begin >= settings.epochs or any(not settings.begin < kept <= settings.epochs for kept in settings.keep):
        raise InputError(
            f"expected to begin before epoch {settings.epochs} and to keep epochs after that, "
            f"got begin={settings.begin} and keep={list(settings.keep)}"
        )
    settings = replace(settings, precision=precision_for(settings.accelerator, settings.precision))
    module = _start(model, trust)
    if isinstance(model, Variant):
        data = align(data, model.classes) if model.classes else data
    masks = _checked_masks(module, masks or {})
    if isinstance(model, Variant):
        own = variants.masks(model)
        masks = {**own, **{name: alive & own.get(name, alive) for name, alive in masks.items()}}
    training, validation = _splits(data, settings)
    _check_fit(module, training, len(data.classes), settings)
    _check_begin(settings, count(len(training), settings.batch))
    first, kept = _digest(module.state_dict()), _digest(masks)
    about = {**settings.said, "data": data.content, "first weights": first, "masks": kept}
    taught = _teacher(teacher, settings, module, training, trust)
    _check_classes(model, teacher)
    if taught is not None:
        about["teacher"] = _digest(taught.state_dict())
    job = Job(module, training, validation, masks, settings, about, Path(folder) if folder else None, progress, taught)
    edits = ({"edit": "mask", "layers": sorted(prunable(module))},) if settings.compress else ()
    return _given_back(model, module, _run(job), edits)


def _run(job: Job) -> Checkpoint:
    settings = job.settings
    fabric = fabric_for(settings.accelerator, settings.devices, settings.precision)
    if settings.devices > 1 and job.folder is None:
        with tempfile.TemporaryDirectory() as folder:
            return _run(replace(job, folder=Path(folder)))
    with own_port():
        return fabric.launch(partial(fit, job)) or _read(job)


def _read(job: Job) -> Checkpoint:
    assert job.folder is not None
    found = read(job.folder, job.about)
    if found is None:
        raise InputError(f"{job.folder} was emptied while training wrote to it; run again")
    return found


def _given_back(
    model: Variant | nn.Module, module: nn.Module, end: Checkpoint, edits: tuple[dict[str, Any], ...]
) -> Trained:
    variant = None
    if isinstance(model, Variant):
        module.load_state_dict(dict(end.best))
        variant = variants.capture(model, module, name=model.name, edits=edits)
    standing = end.standing
    return Trained(variant, end.best, end.weights, standing.history, standing.best_epoch, standing.stopped, end.kept)


def _start(model: Variant | nn.Module, trust: bool) -> nn.Module:
    """A copy in the modes to train in."""
    if isinstance(model, Variant):
        module = variants.build(model, trust=trust).requires_grad_(True)
    elif isinstance(model, nn.Module):
        module = copy.deepcopy(model)
    else:
        raise InputError(f"expected a Variant or an nn.Module to train, got {type(model).__name__}")
    if not module.training:
        for part in module.modules():
            part.training = True
    if not any(weight.requires_grad for weight in module.parameters()):
        raise InputError("expected parameters to train, and none of the module's requires a gradient; unfreeze some")
    return module


def _teacher(
    teacher: Variant | nn.Module | None, settings: Settings, module: nn.Module, split: Split, trust: bool
) -> nn.Module | None:
    """A frozen copy in eval mode, where the objective has a use for one."""
    name, wanted = settings.objective.name, learns_from_a_teacher(settings.objective)
    if wanted is not (teacher is not None):
        raise InputError(
            f"the objective {name!r} learns from a teacher; pass one"
            if wanted
            else f"the objective {name!r} has no use for a teacher; leave it out, or use distill"
        )
    if teacher is None:
        return None
    taught = _evaluating(variants.build(teacher, trust=trust) if isinstance(teacher, Variant) else teacher)
    taught.requires_grad_(False)
    own = logits_of(_evaluating(module), split.images[:1]).shape
    if (said := logits_of(taught, split.images[:1]).shape) != own:
        raise InputError(f"expected a teacher with {own[1]} logits, as the model has, got {said[1]}; use another")
    return taught


def _check_classes(model: Variant | nn.Module, teacher: Variant | nn.Module | None) -> None:
    if not (isinstance(model, Variant) and isinstance(teacher, Variant) and model.classes and teacher.classes):
        return
    for ours, theirs in zip_longest(model.classes, teacher.classes):
        if ours != theirs:
            raise InputError(
                f"expected a teacher with the model's classes in the model's order, got {theirs!r} in place of "
                f"{ours!r}; use one trained on the same data"
            )


def _splits(data: Data, settings: Settings) -> tuple[Split, Split | None]:
    training, validation = data.splits.get("train"), data.splits.get("val")
    if training is None or not len(training):
        raise InputError(f"expected a split 'train' in {data.name!r}, got {', '.join(data.splits) or 'none'}")
    if validation is not None and not len(validation):
        validation = None
    if validation is None:
        check_watched(data.name, settings.patience, settings.monitor)
    return training, validation


def _checked_masks(module: nn.Module, masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    parameters = dict(module.named_parameters())
    for name, alive in masks.items():
        if name not in parameters:
            raise InputError(f"a mask names {name!r}, which is no parameter of the model{near(name, parameters)}")
        if alive.dtype != torch.bool or alive.shape != parameters[name].shape:
            raise InputError(
                f"expected a bool mask of shape {tuple(parameters[name].shape)} for {name!r}, got {alive.dtype} "
                f"of shape {tuple(alive.shape)}"
            )
    return dict(masks)


def _check_fit(module: nn.Module, split: Split, classes: int, settings: Settings) -> None:
    """Refuse, before the first step, what would fail in the middle of one."""
    try:
        logits = logits_of(_evaluating(module), split.images[:1])
    except (RuntimeError, ValueError, IndexError) as error:
        shape = " x ".join(str(side) for side in split.images.shape[1:])
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"the model can't take images of {shape} ({reason}); match its channels and size") from error
    if logits.dim() != 2 or logits.shape[1] < classes:
        raise InputError(f"expected a model with {classes} logits per image, got shape {tuple(logits.shape)}")
    smallest = len(split) // count(len(split), settings.batch) // settings.devices
    normalised = any(isinstance(part, _BatchNorm) and part.training for part in module.modules())
    if smallest < 1 or (smallest < 2 and normalised):
        least = settings.devices * (2 if normalised else 1)
        raise InputError(f"expected batches of at least {least} images, got {smallest * settings.devices}; raise batch")


def _check_begin(settings: Settings, per_epoch: int) -> None:
    """Refuse a cut that would have been made in epochs that count as done."""
    if settings.compress is None or not settings.begin:
        return
    pruning = settings.compress.make(Span(settings.epochs, per_epoch))
    if pruning.settled(settings.begin * per_epoch - 1):
        raise InputError(
            f"{settings.compress.name} would have made its cut in the {settings.begin} epochs that count as done; "
            "begin earlier, or let it end later"
        )


def _evaluating(module: nn.Module) -> nn.Module:
    """A copy in eval mode; flags and not `.eval()`, which exported programs refuse."""
    copied = copy.deepcopy(module)
    for part in copied.modules():
        part.training = False
    return copied


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(tensors):
        tensor = tensors[key].detach().cpu().contiguous()
        digest.update(f"\x1e{key}\x1f{tensor.dtype}\x1f{tuple(tensor.shape)}\x1f".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
