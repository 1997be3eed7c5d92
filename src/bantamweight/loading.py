"""What a user calls a model, as a Variant: a name, a folder, a `.pt2` program, or their own function."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bantamweight import variants
from bantamweight.errors import InputError, near
from bantamweight.models._program import load_program, parse_plan, read_program
from bantamweight.models._weights import read_weights
from bantamweight.parts import find, names
from bantamweight.variants import Variant

__all__ = ["load_model", "untrained"]

Classes = int | Sequence[str] | None


def load_model(
    text: str | Path,
    *,
    trust: bool = False,
    weights: str | Path | None = None,
    classes: Classes = None,
    size: int | None = None,
    channels: int | None = None,
) -> Variant:
    """The model that `text` names: of this package, a saved Variant folder, a `.pt2`, or `module:function`.

    Without `weights` (a safetensors, `.pt` or `.pth` file) a model of this package has random weights, the same every
    time. `classes` is their number or their names in the order of the logits; where only the number is known,
    `Variant.classes` is empty. `module:function` is looked for in the working directory, imported only with `trust`,
    and called with those of classes, size and channels that were given and that it takes. Raises InputError, in one
    sentence, for anything that does not fit.

    >>> load_model("mlp", size=8, channels=1).input_shape
    (1, 8, 8)
    """
    text = str(text)
    if text in names("models"):
        return _of_this_package(text, weights, classes, size, channels)
    path = Path(text)
    kind = _kind(path)
    if kind == "folder" or path.suffix == ".pt2":
        if weights is not None:
            raise InputError(f"{path.name!r} brings its own weights; leave out --weights")
        return _saved(path, classes, size, channels) if kind == "folder" else _program(path, classes, size, channels)
    if path.suffix in (".safetensors", ".pt", ".pth"):
        raise InputError(
            f"{path.name!r} holds weights alone; name the net and pass the file with --weights, or "
            "read a coded file with bantamweight.load_coded"
        )
    if ":" in text:
        return _foreign(text, trust, weights, classes, size, channels)
    if "/" in text or kind == "file":
        raise InputError(f"expected a folder of a saved variant or a .pt2 file at {text!r}, and there is none")
    raise InputError(f"{text[:80]!r} is not a model{near(text, names('models'))}")


def _kind(path: Path) -> Literal["folder", "file", ""]:
    """What lies at a path; nothing where there can't be anything."""
    try:
        return "folder" if path.is_dir() else "file" if path.exists() else ""
    except (OSError, ValueError):  # a name too long for the file system, or with a NUL in it
        return ""


def untrained(name: str, *, seed: int = 0, classes: Classes = 10, size: int = 32, channels: int = 3) -> Variant:
    """A model of this package with first weights that follow from the seed alone; global randomness is left alone."""
    count, called = _classes(10 if classes is None else classes)
    arguments = {"channels": channels, "classes": count, "size": size}
    with _seeded(seed):
        module = find("models", name)(**arguments)
    return Variant(name, name, arguments, _state(module), called, _preprocessing((channels, size, size)))


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    before = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(before)


def _classes(classes: int | Sequence[str]) -> tuple[int, tuple[str, ...]]:
    if isinstance(classes, int):
        return classes, ()
    called = tuple(str(name) for name in classes)
    if len(set(called)) < len(called):
        raise InputError(f"expected class names that differ, got {', '.join(called)[:80]}; rename one")
    return len(called), called


def _preprocessing(shape: tuple[int, int, int]) -> dict[str, Any]:
    return {"size": list(shape[1:]), "channels": shape[0], "resize": "crop"}


def _state(module: nn.Module) -> dict[str, Tensor]:
    state = module.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise InputError(f"expected only tensors in the model's state, got {name!r}: {type(value).__name__}")
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise InputError(f"the weights hold NaN or infinity in {name!r}; they can't be used")
    return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}


def _filled(variant: Variant, *, trust: bool = False) -> Variant:
    """The variant with the weights as its own module holds them; raises InputError when they don't fit."""
    return replace(variant, weights=_state(variants.build(variant, trust=trust)))


def _of_this_package(
    name: str, weights: str | Path | None, classes: Classes, size: int | None, channels: int | None
) -> Variant:
    shape = 32 if size is None else size, 3 if channels is None else channels
    variant = untrained(name, classes=classes, size=shape[0], channels=shape[1])
    if weights is None:
        return variant
    return _filled(replace(variant, weights=_with_normalisation(weights)))


def _with_normalisation(path: str | Path) -> dict[str, Tensor]:
    """The file's tensors, with mean and standard deviation from its metadata where they are not among them."""
    tensors, metadata = read_weights(path)
    for name in ("mean", "std"):
        if f"normalize.{name}" in tensors:
            continue
        if f"normalize_{name}" not in metadata:
            raise InputError(
                f"{Path(path).name!r} does not say how images are normalised; add the tensors normalize.mean and "
                "normalize.std (zeros and ones where the net takes pixels in [0, 1]) or save it as a variant"
            )
        try:
            values = [float(number) for number in metadata[f"normalize_{name}"].split(",")]
        except ValueError as error:
            raise InputError(f"expected numbers as normalize_{name} in {Path(path).name!r}, got: {error}") from error
        tensors[f"normalize.{name}"] = torch.tensor(values, dtype=torch.float32)
    if not bool((tensors["normalize.std"] > 0).all()):
        raise InputError(f"expected a positive normalize.std in {Path(path).name!r}; correct the file")
    return tensors


def _saved(folder: Path, classes: Classes, size: int | None, channels: int | None) -> Variant:
    if not (folder / "variant.json").is_file():
        raise InputError(f"expected a saved variant in {str(folder)!r}, and there is no variant.json in it")
    variant = variants.load(folder)
    called, shape = variant.classes, variant.input_shape
    if classes is not None and (_classes(classes)[1] or called) != called:
        raise InputError(f"{str(folder)!r} has the classes {', '.join(called)[:80]}; leave out --classes")
    if (size is not None and (size, size) != shape[1:]) or (channels is not None and channels != shape[0]):
        raise InputError(f"{str(folder)!r} takes images of {shape}; leave out --size")
    return variant


def _program(path: Path, classes: Classes, size: int | None, channels: int | None) -> Variant:
    plan, weights = read_program(path)
    exported = parse_plan(plan)
    shape = (
        exported.shape[0] if channels is None else channels,
        *(exported.shape[1:] if size is None else (size, size)),
    )
    if shape != exported.shape:
        plan = exported.model_copy(update={"shape": shape}).model_dump_json().encode()
    try:
        program = load_program(plan)
    except InputError as error:
        hint = f" (exported for images of {exported.shape})" if shape != exported.shape else ""
        raise InputError(f"{path.name!r} was refused: {error}{hint}") from error
    count, called = _classes(program.class_count if classes is None else classes)
    if count != program.class_count:
        raise InputError(f"{path.name!r} returns {program.class_count} logits, got {count} classes; pass as many")
    variant = Variant(
        path.stem, variants.PROGRAM, {}, weights, called, _preprocessing(program.input_shape), program=plan
    )
    return _filled(variant)


def _foreign(
    text: str,
    trust: bool,
    weights: str | Path | None,
    classes: Classes,
    size: int | None,
    channels: int | None,
) -> Variant:
    found = find("models", text, trust=trust)
    if isinstance(found, nn.Module):
        raise InputError(f"expected {text!r} to be a function that makes a module, got a module; wrap it in a function")
    count, called = (None, ()) if classes is None else _classes(classes)
    given = {"classes": count, "size": size, "channels": channels}
    arguments = {key: value for key, value in given.items() if value is not None and key in _parameters(found)}
    shape = (3 if channels is None else channels, *((32, 32) if size is None else (size, size)))
    with _seeded(0):
        module = _called(text, found, arguments)
    variant = Variant(
        name=text.rpartition(":")[2],
        factory=text,
        arguments=arguments,
        weights=_state(module) if weights is None else read_weights(weights)[0],
        classes=called,
        preprocessing=_preprocessing(shape),
    )
    _check_answer(text, module.eval(), shape, count)
    return variant if weights is None else _filled(variant, trust=trust)


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return {}


def _called(text: str, function: Any, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        module = function(**arguments)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"calling {text!r} with {dict(arguments)} raised {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"expected {text!r} to return a torch.nn.Module, got {type(module).__name__}")
    return module


def _check_answer(text: str, module: nn.Module, shape: tuple[int, int, int], count: int | None) -> None:
    """Two images must give two rows of logits, as many as there are classes."""
    try:
        with torch.no_grad(), _seeded(0):
            answer = module(torch.rand(2, *shape))
    except Exception as error:
        why = str(error).strip().partition("\n")[0][:160]
        raise InputError(f"{text!r} does not take images of {shape}, it raised: {why}; pass --size") from error
    said = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
    if not isinstance(answer, Tensor) or answer.dim() != 2 or len(answer) != 2:
        raise InputError(f"expected logits (2, classes) from {text!r} for two images, got {said}")
    if count is not None and answer.shape[1] != count:
        raise InputError(f"{text!r} returns {answer.shape[1]} logits, got {count} classes; pass as many")
