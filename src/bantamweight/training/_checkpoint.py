"""Checkpoints that survive a kill at any moment: safetensors and one JSON file that commits them.

Each epoch writes its tensors beside the earlier ones and then renames `checkpoint.json`, which names the files that
belong together, into place. So a reader finds the old state or the new one, never half of each, and nothing in the
folder is a pickle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from bantamweight.errors import InputError, StoreError
from bantamweight.training._values import Row
from bantamweight.whole import put, whole

__all__ = [
    "Checkpoint",
    "Standing",
    "below",
    "clear",
    "fill_optimizer",
    "optimizer_tensors",
    "prefixed",
    "read",
    "snapshot",
    "write",
]

COMMIT = "checkpoint.json"
HINT = "free space or choose another place"


@dataclass(frozen=True)
class Standing:
    """How far training has come; `best_value` is what early stopping watches, lower being better; `setbacks` counts
    epochs that were begun again."""

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("inf")
    stopped: bool = False
    setbacks: int = 0
    history: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """All that training continues from; `state` is what pruning and averaging remember, by a name of their own."""

    standing: Standing
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    kept: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    state: Mapping[str, Tensor] = field(default_factory=dict)


def write(folder: Path, checkpoint: Checkpoint, about: Mapping[str, Any]) -> None:
    """Add an epoch to the folder and remove what it replaces; `about` says which training this is.

    Raises StoreError when the folder can't be written.
    """
    standing = checkpoint.standing
    last, best = f"last-{standing.epoch:05d}.safetensors", f"best-{standing.best_epoch:05d}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own = {**prefixed("weights", checkpoint.weights), **prefixed("state", checkpoint.state)}
        _tensors(folder / last, {**own, **checkpoint.optimizer})
        # The best weights change seldom; a file of that name is whole, because it was renamed into place.
        if standing.best_epoch == standing.epoch or not (folder / best).exists():
            _tensors(folder / best, checkpoint.best)
        kept = {str(epoch): f"kept-{epoch:05d}.safetensors" for epoch in checkpoint.kept}
        for epoch, weights in checkpoint.kept.items():
            if not (folder / kept[str(epoch)]).exists():
                _tensors(folder / kept[str(epoch)], weights)
        said = {"format": 1, "about": dict(about), "last": last, "best": best, "kept": kept, **asdict(standing)}
        put(folder / COMMIT, json.dumps(said, indent=1), HINT)
        for file in folder.glob("*.safetensors*"):
            if file.name not in (last, best, *kept.values()):
                file.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        raise StoreError(f"expected to be able to write checkpoints to {folder}, got: {error}; {HINT}") from error


def prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under `prefix/`."""
    return {f"{prefix}/{key}": tensor for key, tensor in tensors.items()}


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those that are under `prefix/`, by their names there."""
    return {key.partition("/")[2]: tensor for key, tensor in tensors.items() if key.startswith(f"{prefix}/")}


def _tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with whole(path, HINT) as aside:
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, aside)


def read(folder: Path, about: Mapping[str, Any]) -> Checkpoint | None:
    """What the folder holds of the training described by `about`; None when it holds nothing.

    Raises InputError when it holds another training's checkpoint, or a damaged one.
    """
    try:
        said = json.loads((folder / COMMIT).read_text())
    except (FileNotFoundError, NotADirectoryError):  # writing there will say what is wrong with the place
        return None
    except (OSError, ValueError) as error:
        raise _damaged(folder, error) from error
    try:
        _same(folder, said["about"], json.loads(json.dumps(dict(about))))
        tensors, best = load_file(folder / said["last"]), load_file(folder / said["best"])
        kept = {int(epoch): load_file(folder / name) for epoch, name in said["kept"].items()}
        history = tuple(Row(**row) for row in said["history"])
        told = {key: said[key] for key in ("epoch", "best_epoch", "best_value", "stopped", "setbacks")}
        standing = Standing(**told, history=history)
    except InputError:  # which is a ValueError too
        raise
    except (OSError, KeyError, TypeError, ValueError, AttributeError, SafetensorError) as error:
        raise _damaged(folder, error) from error
    optimizer = {key: tensor for key, tensor in tensors.items() if key.startswith("optimizer/")}
    return Checkpoint(standing, below("weights", tensors), optimizer, best, kept, below("state", tensors))


def _same(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    for key in sorted({*there, *here}):
        if there.get(key) != here.get(key):
            raise InputError(
                f"{folder} holds a checkpoint of another training ({key} was {there.get(key)!r} and is now "
                f"{here.get(key)!r}); choose another folder, or resume=False to start over"
            )


def _damaged(folder: Path, error: Exception) -> InputError:
    return InputError(
        f"the checkpoint in {folder} can't be read ({error}); remove the folder, or pass resume=False to start over"
    )


def clear(folder: Path) -> None:
    """Forget the checkpoint in a folder, if there is one; raises StoreError when that fails."""
    try:
        (folder / COMMIT).unlink(missing_ok=True)
        for file in folder.glob("*.safetensors*"):
            file.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"expected to be able to write to {folder}, got: {error.strerror}") from error


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimizer's state as named tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer/{number}/{name}": value
        for number, entries in state.items()
        for name, value in entries.items()
        if isinstance(value, Tensor)
    }


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """A module's tensors as they are now, contiguous and on the CPU."""
    return {
        key: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, tensor in module.state_dict().items()
    }


def fill_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put saved state into a fresh optimizer, each tensor in its parameter's memory layout and on its device.

    The layout matters: safetensors gives back row-major, unaligned views, and a kernel may round differently there.
    """
    parameters = [weight for group in optimizer.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, number, name = key.split("/")
        like = parameters[int(number)]
        fresh = torch.empty_like(like if value.shape == like.shape else value)
        state.setdefault(int(number), {})[name] = fresh.copy_(value)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
