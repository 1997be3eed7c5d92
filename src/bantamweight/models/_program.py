"""Programs written by `torch.export.save`, from anyone: read as data, never unpickled, never evaluated.

`torch.export.load` (torch 2.13) would run a stranger's code in these places, which is why it is never called here:
- `export/pt2_archive/_package.py`: `torch.load(weights_only=False)` on weights and constants with `use_pickle`,
  `torch._C._pickle_load_obj` on custom objects, `pickle.loads` on opaque objects, compiled libraries (AOTInductor);
- `_export/serde/serialize.py`: `deserialize_torch_artifact` falls back to `weights_only=False` for sample inputs,
  constants and old state dicts; `_parse_sym_expr` gives strings to `sympy.sympify`, which evaluates them;
  `deserialize_operator` follows any dotted name below `torch`, `math` and `_operator`, and calls what it finds;
  tree specs name namedtuple classes and dataclasses to import; `guards_code` is compiled by `export/_unlift.py`.
What is needed instead is small: a list of calls and raw tensor bytes (`_archive.py`), checked against a list of allowed
operations (`_plan.py`) and turned into layers (`_lift.py`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bantamweight.errors import InputError
from bantamweight.models._lift import lift
from bantamweight.models._plan import DEVICE, DTYPES, Plan, Step, dry_run, parse_plan, perform, refs_of, steps_of
from bantamweight.types import Images, Logits

__all__ = ["Program", "fold_program", "load_program", "read_program"]


class Program(nn.Module):
    """A program as a module: layers under the names its author gave them, any batch size, gradients to the images.

    Made by `load_program`. `train()` and `eval()` mean what they mean elsewhere. `plan` in JSON and the state dict are
    all there is to it.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        steps = steps_of(plan)
        tried = dry_run(plan, steps, 2)
        if dry_run(plan, steps, 3).classes != tried.classes:
            raise InputError("the program's number of classes depends on the number of images; export it again")
        self._plan = plan
        self._classes = tried.classes
        self._copies = tried.writes_images
        lifted, layers = lift(plan, steps, tried.dimensions)
        self._steps = tuple(lifted)
        for name, layer in layers.items():
            _attach(self, name, layer.to_empty(device="cpu"))
        for tensor in self.state_dict().values():
            tensor.zero_()
        owned = self.state_dict().keys()
        for weight in plan.weights.values():
            if weight.name not in owned:
                _attach(self, weight.name, torch.zeros(weight.shape, dtype=DTYPES[weight.dtype]), weight.parameter)
        read = {name for step in self._steps for name in refs_of(step)}
        self._loose = {key: weight.name for key, weight in plan.weights.items() if key in read | {plan.answer}}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images it was exported for."""
        return self._plan.shape

    @property
    def class_count(self) -> int:
        """How many logits it returns."""
        return self._classes

    def forward(self, images: Images) -> Logits:
        """Logits."""
        plan = self._plan
        values: dict[str, Any] = {plan.image: images.clone() if self._copies else images, DEVICE: images.device}
        values |= {key: _fetch(self, name) for key, name in self._loose.items()}
        for step in self._steps:
            perform(step, _layer(self, step.module) if step.module else _operation(step), values)
            for name in step.frees:
                if name != plan.answer:
                    values.pop(name, None)
        return values[plan.answer]


def _layer(root: nn.Module, name: str) -> nn.Module:
    """`get_submodule` without its checks, which cost a small net a tenth of its forward."""
    for part in name.split("."):
        root = root._modules[part]  # type: ignore[assignment]
    return root


def _operation(step: Step) -> Any:
    assert step.call is not None
    return step.call


def _fetch(module: nn.Module, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    return getattr(module.get_submodule(owner), last)


def _attach(root: nn.Module, name: str, item: nn.Module | Tensor, parameter: bool = False) -> None:
    """Put a layer or a tensor under a dotted name, making the modules between."""
    *path, last = name.split(".")
    try:
        for step in path:
            if step not in root._modules:
                root.add_module(step, nn.Module())
            root = root.get_submodule(step)
        if isinstance(item, nn.Module):
            root.add_module(last, item)
        elif parameter:
            root.register_parameter(last, nn.Parameter(item, requires_grad=item.is_floating_point()))
        else:
            root.register_buffer(last, item)
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"the program has a weight called {name!r}, and the name is taken; rename it") from error


def load_program(text: bytes) -> Program:
    """The module of a plan in JSON, with zeros for weights: eval mode, no gradients of parameters.

    Raises InputError when the plan calls an operation that is not allowed, fails for two or three images, needs too
    much memory, or was exported in training mode.
    """
    return Program(parse_plan(text)).eval().requires_grad_(False)


def read_program(path: Path | str) -> tuple[bytes, dict[str, Tensor]]:
    """The plan (JSON) and the weights of a `.pt2` file, with nothing in it executed.

    Raises InputError that says why for every file that is not a plain program of an image classifier.
    """
    from bantamweight.models._archive import read_archive

    plan, weights = read_archive(Path(path))
    return plan.model_dump_json().encode(), weights


def fold_program(program: Program) -> nn.Module:
    """A copy of a program with its batch norm folded into its convolutions, by a pass over its calls."""
    from bantamweight.models._fold import folded

    return folded(program)
