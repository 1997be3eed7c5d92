"""The other libraries, as far as they are there: none is a dependency, and nothing of them is copied.

Each is imported when its rows come up; one that is missing says so in one line, and its rows are left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from _scene import Scene, note
from torch import Tensor, nn
from torch.nn import functional

from bantamweight.threats import Threat
from bantamweight.types import Images, Labels, Logits

SIZES = (32, 64, 128, 250)
"""Batch sizes among which every peer has its fastest."""

LONG = 500
"""Images per timing of a batch size."""

AUTOATTACK = {"linf": "Linf", "l2": "L2", "l1": "L1"}


class _StandIn(ModuleType):
    """A module that peers import for what is not used here: any name in it is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Until the import is over, for what is not installed: nobody else shall take them for the real ones."""
    missing = [name for name in ("torchvision", "visdom", "tqdm") if importlib.util.find_spec(name) is None]
    for name in missing:
        sys.modules[name] = _StandIn(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    try:
        yield
    finally:
        for name in missing:
            sys.modules.pop(name, None)


def look_in(folders: Sequence[Path]) -> None:
    """Folders that hold peers, behind everything that is installed."""
    sys.path.extend(str(folder.resolve()) for folder in folders)


@cache
def peer(name: str) -> ModuleType | None:
    """A peer's module, or one line and None."""
    try:
        with _stand_ins():
            return importlib.import_module(name)
    except ImportError as error:
        print(f"{name} is left out: {error}; install it or name its folder with --peers\n", flush=True)
        return None


def version(name: str) -> str:
    """Name and version; of a checkout that has none, a hash over its sources."""
    module = peer(name)
    if module is None:
        return f"no {name}"
    home = name.partition(".")[0]
    for distribution in importlib.metadata.packages_distributions().get(home, []):
        return f"{distribution} {importlib.metadata.version(distribution)}"
    digest = hashlib.blake2b(digest_size=4)
    for file in sorted(Path(str(sys.modules[home].__file__)).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return f"{home} (sources {digest.hexdigest()})"


class Counted(nn.Module):
    """A module that counts the images it sees and the images whose gradient is taken."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.forwards, self.backwards = module, 0, 0

    def forward(self, images: Images) -> Logits:
        """The module's logits."""
        logits: Logits = self.module(images)
        self.forwards += len(images)
        if logits.requires_grad:
            logits.register_hook(self._taken)
        return logits

    def _taken(self, gradient: Tensor) -> None:
        self.backwards += len(gradient)


def fastest(of: Scene, repeats: int = 3) -> tuple[int, str]:
    """The batch size at which an image's gradient costs least, and what it costs at each."""
    taken: dict[int, list[float]] = {size: [] for size in SIZES}
    for repeat in range(repeats + 1):
        for size in SIZES:
            steps = max(1, LONG // size)
            seconds = gradients(of, size, steps)
            if repeat:  # the first round warms up
                taken[size].append(1e3 * seconds / (size * steps))
    cost = {size: float(np.median(values)) for size, values in taken.items()}
    said = ", ".join(f"{size}: {value:.2f}" for size, value in cost.items())
    return min(cost, key=cost.__getitem__), f"{of.name}, ms per image and float32 gradient by batch: {said}"


def gradients(of: Scene, size: int, steps: int) -> float:
    rows = torch.arange(size * steps) % len(of)
    images, labels = of.images[rows].to(of.device), of.labels[rows].to(of.device)
    started = time.perf_counter()
    for points, wanted in zip(images.split(size), labels.split(size), strict=True):
        points = points.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(functional.cross_entropy(of.module(points), wanted, reduction="sum"), points)
    float(gradient.sum())  # waits for the device
    return time.perf_counter() - started


def reference(of: Scene, threat: Threat, size: int, seed: int) -> tuple[Images, Counted]:
    """Adversarial images of the reference AutoAttack, standard version, and its counts."""
    library, counted = peer("autoattack"), Counted(of.module).eval()
    assert library is not None
    with contextlib.redirect_stdout(sys.stderr):
        ensemble = library.AutoAttack(
            counted,
            norm=AUTOATTACK[threat.norm.name],
            eps=threat.eps,
            seed=seed,
            version="standard",
            device=str(of.device),
            verbose=False,
        )
        found = ensemble.run_standard_evaluation(of.images.to(of.device), of.labels.to(of.device), bs=size)
    return found.detach().cpu(), counted


@dataclass(frozen=True)
class Peer:
    """One attack of one library, with its settings."""

    library: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        said = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{self.library.partition('.')[0]} {self.name}({said})"

    @property
    def there(self) -> bool:
        """Whether it can be imported."""
        return peer(self.library) is not None

    def attack(self, module: nn.Module, images: Images, labels: Labels, starts: Images | None) -> Images:
        """Adversarial images for one batch."""
        library = peer(self.library)
        assert library is not None
        if self.library == "foolbox":
            model = library.PyTorchModel(module, bounds=(0, 1), device=images.device)
            begun = {} if starts is None else {"starting_points": starts}
            made = getattr(library.attacks, self.name)(**self.settings)
            found: Images = made(model, images, library.criteria.Misclassification(labels), epsilons=None, **begun)[0]
        elif self.library == "torchattacks":
            found = getattr(library, self.name)(module, **self.settings)(images, labels)
        else:
            found = getattr(library, self.name)(module, images, labels, **self.settings)
        return found.detach()

    def run(self, of: Scene, rows: Tensor, size: int, starts: Images | None, seed: int) -> tuple[Images, Counted]:
        """Adversarial images of the rows, batch by batch; the images themselves elsewhere."""
        counted, found = Counted(of.module).eval(), of.images.clone()
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002 (peers draw from it)
        for part in rows.split(size):
            begin = None if starts is None else starts[part].to(of.device)
            images, labels = of.images[part].to(of.device), of.labels[part].to(of.device)
            found[part] = self.attack(counted, images, labels, begin).cpu()
        note(f"  {self}: {counted.forwards / len(rows):.0f} forwards an image")
        return found, counted
