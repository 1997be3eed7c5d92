"""A program as data: which of the allowed operations are called, on what, in which order.

A plan is plain JSON, so it may come from a stranger. Reading it resolves every operation through a list of those that
compute on tensors and do nothing else, and tries it on tensors without storage before anything is allocated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from bantamweight.errors import InputError
from bantamweight.models._operations import PLAIN, operation
from bantamweight.parts import complaint

__all__ = [
    "DEVICE",
    "DTYPES",
    "Plan",
    "Ref",
    "Step",
    "affordable",
    "dry_run",
    "parse_plan",
    "perform",
    "refs_of",
    "steps_of",
]

DEVICE = "@device"
"""The value that stands for the device of the images; no name in a plan can hold an @."""

MOST_BYTES = 2 << 30
"""Of all tensors of a program together."""

MOST_ACTIVATION_BYTES = 256 << 20
"""Of any one value for two or three images."""

Dtype = Literal["uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64", "bool", "bfloat16"]
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(Dtype)}
_NAMED: dict[str, dict[str, Any]] = {
    "dtype": DTYPES,
    "memory_format": {
        "contiguous": torch.contiguous_format,
        "channels_last": torch.channels_last,
        "preserve": torch.preserve_format,
    },
    "number": {"inf": math.inf, "-inf": -math.inf, "nan": math.nan},
}
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,300}$")]
Qualified = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100}){0,30}$")]
Count = Annotated[int, Field(ge=0, le=1 << 31)]
_STRICT = ConfigDict(extra="forbid", frozen=True)


class Weight(BaseModel):
    """One tensor of the program: its name in the state, what it looks like."""

    model_config = _STRICT
    name: Qualified
    shape: tuple[Count, ...]
    dtype: Dtype
    parameter: bool


class Call(BaseModel):
    """One operation: its arguments by name, and the name or names of what it returns ("" for what is not used)."""

    model_config = _STRICT
    op: Name
    inputs: dict[str, Any]
    out: Name | tuple[Name | Literal[""], ...]


class Plan(BaseModel):
    """A program: the name and shape (channels, height, width) of its images, its tensors, its calls, its answer."""

    model_config = _STRICT
    format: Literal[1] = 1
    image: Name
    shape: tuple[Count, Count, Count]
    weights: dict[Name, Weight]
    calls: tuple[Call, ...] = Field(max_length=50_000)
    answer: Name


@dataclass(frozen=True)
class Ref:
    """The place of a value that is known when the program runs."""

    name: str


@dataclass(frozen=True)
class Step:
    """One call, resolved: `module` names a layer of the program where there is one, else `call` is the operation."""

    op: str
    out: str | tuple[str, ...]
    call: Callable[..., Any] | None
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    module: str = ""
    frees: tuple[str, ...] = ()

    @property
    def outs(self) -> tuple[str, ...]:
        """The names it defines."""
        return (self.out,) if isinstance(self.out, str) else self.out


def parse_plan(text: bytes | str) -> Plan:
    """A plan from JSON; raises InputError when it is not one."""
    try:
        plan = Plan.model_validate_json(text)
    except ValidationError as error:
        raise InputError(f"expected a program, and it can't be read: {complaint(error, 'program', Plan)}") from error
    return affordable(plan)


def affordable(plan: Plan) -> Plan:
    """The plan, unless its tensors would fill the memory."""
    total = sum(math.prod(weight.shape) * DTYPES[weight.dtype].itemsize for weight in plan.weights.values())
    if total > MOST_BYTES:
        raise InputError(f"the tensors of the program would take {total:,} bytes; that is not a light model")
    return plan


def _value(plain: Any, known: set[str]) -> Any:
    """An argument from JSON: scalars, lists, and objects with one key (ref, dtype, memory_format, number)."""
    if plain is None or isinstance(plain, bool | int | float | str):
        return plain
    if isinstance(plain, list):
        return [_value(item, known) for item in plain]
    kind, said = next(iter(plain.items())) if len(plain) == 1 else ("", "")
    if kind == "ref" and isinstance(said, str) and said in known:
        return Ref(said)
    if kind in _NAMED and isinstance(said, str) and said in _NAMED[kind]:
        return _NAMED[kind][said]
    raise InputError(f"the program holds an argument that can't be read: {str(plain)[:80]}; export it again")


def _refs(template: Any) -> Iterator[str]:
    if isinstance(template, Ref):
        yield template.name
    elif isinstance(template, list | tuple):
        for item in template:
            yield from _refs(item)


def refs_of(step: Step) -> list[str]:
    """The names that a step reads."""
    return [*_refs(step.args), *_refs(list(step.kwargs.values()))]


def steps_of(plan: Plan) -> tuple[Step, ...]:
    """The calls with their operations found and their arguments decoded; raises InputError for what is not allowed."""
    known = {plan.image, DEVICE, *plan.weights}
    steps: list[Step] = []
    for call in plan.calls:
        inputs = {name: _value(plain, known) for name, plain in call.inputs.items()}
        found = operation(call.op)
        plain = call.op in PLAIN
        if plain and not all(isinstance(value, Ref | int | float) for value in inputs.values()):
            raise InputError(f"expected numbers for {call.op} in the program, got something else; export it again")
        if not plain and _makes_tensors(found):
            # Where the images are: never storage while trying, and no mix of devices later.
            inputs["device"] = Ref(DEVICE)
        step = Step(call.op, call.out, found, tuple(inputs.values()) if plain else (), {} if plain else inputs)
        if known & set(step.outs) - {""} or len(set(step.outs)) < len(step.outs) - step.outs.count(""):
            raise InputError(f"the program computes {step.outs[0]!r} twice; export it again")
        known |= set(step.outs)
        steps.append(step)
    if plan.answer not in known:
        raise InputError(f"the program returns {plan.answer!r}, which it never computes; export it again")
    return _in_reach(_reshaping(steps))


def _makes_tensors(call: Callable[..., Any]) -> bool:
    """Whether an operation takes a device and no tensor that would say one."""
    taken = {argument.name for argument in call._schema.arguments}  # type: ignore[attr-defined]
    return "device" in taken and "self" not in taken


def _reshaping(steps: list[Step]) -> list[Step]:
    """`view` as `reshape`, so that channels-last images pass, wherever nothing writes through the view."""
    written = {step.kwargs["self"].name for step in steps if _writes(step) and isinstance(step.kwargs.get("self"), Ref)}
    return [
        Step("aten.reshape.default", step.out, torch.ops.aten.reshape.default, (), _renamed(step.kwargs))
        if step.op == "aten.view.default" and step.out not in written
        else step
        for step in steps
    ]


def _renamed(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {("shape" if name == "size" else name): value for name, value in kwargs.items()}


def _writes(step: Step) -> bool:
    return step.op.startswith("aten.") and step.op.split(".")[1].endswith("_")


def _in_reach(steps: list[Step]) -> tuple[Step, ...]:
    """Each step with the names it is the last to read, so that memory is given back as in ordinary code."""
    last = {name: index for index, step in enumerate(steps) for name in (*refs_of(step), *step.outs)}
    return tuple(
        Step(step.op, step.out, step.call, step.args, step.kwargs, step.module, frees)
        for index, step in enumerate(steps)
        for frees in [tuple(name for name in {*refs_of(step), *step.outs} if last[name] == index and name != DEVICE)]
    )


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """A template of arguments with every place taken by its value."""
    if isinstance(template, Ref):
        return values[template.name]
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    return template


def perform(step: Step, call: Callable[..., Any], values: dict[str, Any]) -> None:
    """Call, and put what it returns under the step's names."""
    args = [fill(item, values) for item in step.args]
    answer = call(*args, **{name: fill(item, values) for name, item in step.kwargs.items()})
    if isinstance(step.out, str):
        values[step.out] = answer
    else:
        values.update(zip(step.out, answer, strict=False))


@dataclass(frozen=True)
class Tried:
    """What a try found: the dimensions of every value, the number of classes, whether the images are written to."""

    dimensions: Mapping[str, int]
    classes: int
    writes_images: bool


def dry_run(plan: Plan, steps: tuple[Step, ...], batch: int) -> Tried:
    """Run on tensors without storage.

    Raises InputError when the program fails, asks for too much memory, or writes to a weight.
    """
    meta = torch.device("meta")
    weights = {
        name: torch.empty(about.shape, dtype=DTYPES[about.dtype], device=meta) for name, about in plan.weights.items()
    }
    images = torch.empty((batch, *plan.shape), device=meta)
    values: dict[str, Any] = {**weights, plan.image: images, DEVICE: meta}
    dimensions: dict[str, int] = {name: value.dim() for name, value in values.items() if isinstance(value, Tensor)}
    for step in steps:
        try:
            perform(step, step.call or _nothing, values)
        except Exception as error:
            why = str(error).strip().partition("\n")[0][:120]
            raise InputError(f"the program fails at {step.op} for {batch} images of {plan.shape}: {why}") from error
        for name in step.outs:
            value = values.get(name)
            if isinstance(value, Tensor):
                dimensions[name] = value.dim()
                if value.numel() * value.element_size() > MOST_ACTIVATION_BYTES:
                    most = MOST_ACTIVATION_BYTES >> 20
                    raise InputError(f"the program needs over {most} MiB at {step.op} for {batch} images")
            elif isinstance(value, int) and abs(value) > 1 << 62:
                raise InputError(f"the program computes with numbers beyond 2^62 at {step.op}; export it again")
    if any(weight._version for weight in weights.values()):
        raise InputError("the program writes to its own weights; call model.eval() before torch.export.export")
    answer = values[plan.answer]
    if not isinstance(answer, Tensor) or answer.dim() != 2 or len(answer) != batch or answer.dtype != torch.float32:
        said = f"{answer.dtype} {tuple(answer.shape)}" if isinstance(answer, Tensor) else type(answer).__name__
        raise InputError(f"expected the program to return float32 logits ({batch}, classes), got {said}")
    return Tried(dimensions, answer.shape[1], images._version > 0)


def _nothing() -> None:
    return None
