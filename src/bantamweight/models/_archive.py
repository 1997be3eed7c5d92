"""A `.pt2` archive as a plan and weights: JSON and raw tensor bytes, everything else refused by name.

The layout is torch's (`torch/export/pt2_archive`, schema 8, torch >= 2.9): `models/NAME.json`,
`data/weights/NAME_weights_config.json` with `weight_0`, ..., `data/constants/` likewise, and
`data/sample_inputs/NAME.pt`, a pickle that we don't need and look at only to refuse a malicious one.
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import ValidationError
from torch import Tensor

from bantamweight.errors import InputError
from bantamweight.models._plan import DEVICE, DTYPES, Plan, affordable
from bantamweight.models._weights import check_zip, load_pickled, read_file, read_member
from bantamweight.parts import complaint

__all__ = ["read_archive"]

_KNOWN = re.compile(
    r"archive_format|archive_version|byteorder|\.data/[a-z_]+|\.format_version|\.storage_alignment"
    r"|models/[\w-]+\.json|data/(weights|constants)/[\w-]+_(weights|constants)_config\.json"
    r"|data/weights/weight_\d+|data/constants/tensor_\d+|data/sample_inputs/[\w-]+\.pt|extra/.*"
)
# Numbers of torch._export.serde.schema.ScalarType, Layout and MemoryFormat.
_SCALAR_TYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    12: "bool", 13: "bfloat16",
}  # fmt: skip
_STRIDED = 7
_MEMORY_FORMATS = {1: "contiguous", 2: "channels_last", 4: "preserve"}
_ASSERTIONS = (
    "torch.ops.aten._assert_scalar", "torch.ops.aten._assert_async", "torch.ops.aten._assert_tensor_metadata",
    "torch.ops.aten.sym_constrain_range",
)  # fmt: skip
# Arithmetic on sizes as SymPy writes it. We never evaluate an expression; one that says more is an attack.
_ARITHMETIC = re.compile(
    r"(?:\b(?:[A-Z][A-Za-z]*|positive|negative|nonnegative|nonzero|integer|real|finite|precision|[a-z]+\d+|\d+e?)\b"
    r"|[\s'=,.()+*/%<>!&|~-])*"
)
T = TypeVar("T")


def read_archive(path: Path) -> tuple[Plan, dict[str, Tensor]]:
    """The plan and the weights of an archive; raises InputError that names the file and the reason."""
    data, name = read_file(path), path.name
    archive = check_zip(data, name)
    members = _members(archive, name)
    load_pickled(read_member(archive, members["sample"], name), f"{name}: {members['sample']}")
    said = _json(archive, members["model"], name)
    if not isinstance(said, dict) or _at(said, "schema_version", "major") != 8:
        raise InputError(f"{name!r} does not follow the schema of torch 2.9 to 2.13; export it again with one of these")
    for text in _expressions(said):
        if not isinstance(text, str) or len(text) > 2000 or not _ARITHMETIC.fullmatch(text):
            raise InputError(f"{name!r} holds the expression {str(text)[:60]!r}, which is no size; don't trust it")
    stored = _stored(archive, members, name)
    plan = _readable(name, lambda: _plan(said, stored))
    return plan, _readable(name, lambda: _tensors(archive, plan, stored, name))


def _members(archive: zipfile.ZipFile, name: str) -> dict[str, str]:
    """Roles of the members; refuses an archive with members that a program does not need."""
    paths = [info.filename for info in archive.infolist() if not info.is_dir()]
    root = paths[0].partition("/")[0] if paths else ""
    old = re.compile(r"serialized_exported_program\.json|[^/]+/data/(weights|constants)/[\w-]+\.pt")
    if any(old.fullmatch(path) for path in paths):
        raise InputError(f"{name!r} is pickled, as torch 2.8 and older did it; export it again with a newer torch")
    found: dict[str, str] = {"root": root}
    for path in paths:
        top, _, rest = path.partition("/")
        if top != root or not _KNOWN.fullmatch(rest):
            raise InputError(f"{name!r} holds {path[:80]!r}, which {_unwanted(rest)}; export only the program")
        role = _role(rest)
        if role in found and role:
            raise InputError(f"{name!r} holds several programs; save one program per file")
        found[role] = path
    lacking = {"format", "model", "weights", "constants", "sample"} - set(found)
    if lacking:
        raise InputError(f"{name!r} is not a program saved by torch.export.save: it has no {sorted(lacking)[0]} part")
    if read_member(archive, found["format"], name) != b"pt2":
        raise InputError(f"{name!r} is a zip, but not one written by torch.export.save")
    if "byteorder" in found and read_member(archive, found["byteorder"], name) != b"little":
        raise InputError(f"{name!r} was written on a big-endian machine; export it again on another")
    return found


def _role(rest: str) -> str:
    if rest in ("archive_format", "byteorder"):
        return rest.removeprefix("archive_")
    for start, role in (("models/", "model"), ("data/sample_inputs/", "sample")):
        if rest.startswith(start):
            return role
    return rest.split("/")[1] if rest.endswith("_config.json") else ""


def _unwanted(rest: str) -> str:
    if rest.startswith("data/aotinductor") or rest.endswith((".so", ".py", ".cpp", ".dll", ".dylib")):
        return "is code that would run"
    if re.match(r"data/constants/(custom|opaque)_obj", rest) or rest.endswith((".pkl", ".pt", ".pth", ".pickle")):
        return "is a pickled object that could run code"
    return "is no part of a program"


def _json(archive: zipfile.ZipFile, member: str, name: str) -> Any:
    try:
        return json.loads(read_member(archive, member, name).decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name!r} is damaged: {member!r} is not JSON ({error}); copy it again") from error


def _readable(name: str, read: Callable[[], T]) -> T:
    """What `read` gives, with every sign of a malformed archive as one InputError."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{name!r} was refused: {error}") from error
    except ValidationError as error:
        raise InputError(f"{name!r} can't be read as a program: {complaint(error, 'program', Plan)}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, RecursionError) as error:
        raise InputError(f"{name!r} can't be read as a program ({error!r:.100}); export it again") from error


def _at(said: Any, *keys: str) -> Any:
    for key in keys:
        said = said.get(key) if isinstance(said, dict) else None
    return said


def _expressions(said: Any) -> Iterator[Any]:
    """Every symbolic expression in the program, wherever it stands."""
    waiting = [said]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "expr_str" in item:
                yield item["expr_str"]
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item


def _only(union: Mapping[str, Any]) -> tuple[str, Any]:
    ((kind, value),) = union.items()
    return kind, value


def _stored(archive: zipfile.ZipFile, members: Mapping[str, str], name: str) -> dict[str, dict[str, Any]]:
    """Where each tensor's bytes are, by name; the folder and the description that torch wrote."""
    stored: dict[str, dict[str, Any]] = {}
    for folder in ("weights", "constants"):
        config = _at(_json(archive, members[folder], name), "config")
        if not isinstance(config, dict):
            raise InputError(f"{name!r} is damaged: {members[folder]!r} lists no tensors; copy it again")
        for key, meta in config.items():
            if _at(meta, "use_pickle") is not False:
                raise InputError(f"{name!r} keeps {key[:80]!r} as a pickle, which could run code; save plain tensors")
            if key in stored or not isinstance(meta.get("tensor_meta"), dict):
                raise InputError(f"{name!r} is damaged: {key[:80]!r} has no description; copy it again")
            stored[key] = {**meta, "member": f"{members['root']}/data/{folder}/{meta.get('path_name')}"}
    return stored


def _plan(said: Mapping[str, Any], stored: Mapping[str, Mapping[str, Any]]) -> Plan:
    module = said["graph_module"]
    graph, signature = module["graph"], module["signature"]
    weights, images = {}, []
    for spec in signature["input_specs"]:
        kind, about = _only(spec)
        if kind == "user_input":
            images.append(about["arg"]["as_tensor"]["name"])
        elif kind in ("parameter", "buffer", "tensor_constant"):
            weights[about["arg"]["name"]] = _weight(about[f"{kind}_name"], kind, stored)
        else:
            raise InputError(f"the program takes a {kind}; only images and tensors are understood")
    if len(images) != 1 or len(graph["outputs"]) != 1 or len(signature["output_specs"]) != 1:
        raise InputError(f"expected a program from images to logits, got {len(images)} inputs and "
                         f"{len(graph['outputs'])} outputs")  # fmt: skip
    if _only(signature["output_specs"][0])[0] != "user_output":
        raise InputError("the program changes its own tensors; call model.eval() before torch.export.export")
    unread = sorted(stored.keys() - {weight["name"] for weight in weights.values()})
    weights |= {f"unread.{number}": _weight(name, "buffer", stored) for number, name in enumerate(unread)}
    calls = [_call(node) for node in graph["nodes"] if not node["target"].startswith(_ASSERTIONS)]
    return Plan.model_validate(
        {
            "image": images[0],
            "shape": _image_shape(graph["tensor_values"][images[0]]),
            "weights": weights,
            "calls": calls,
            "answer": graph["outputs"][0]["as_tensor"]["name"],
        }
    )


def _weight(name: str, kind: str, stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    meta = stored[name]["tensor_meta"]
    parameter = kind == "parameter" or bool(kind == "buffer" and stored[name].get("is_param"))
    return {
        "name": name,
        "shape": [size["as_int"] for size in meta["sizes"]],
        "dtype": _SCALAR_TYPES[meta["dtype"]],
        "parameter": parameter,
    }


def _image_shape(meta: Mapping[str, Any]) -> list[int]:
    """Channels, height, width; a size that may vary counts with the value it had at export."""
    if _SCALAR_TYPES.get(meta["dtype"]) != "float32" or len(meta["sizes"]) != 4:
        raise InputError("expected a program that takes float32 images (batch, channels, height, width)")
    return [size["as_int"] if "as_int" in size else size["as_expr"]["hint"]["as_int"] for size in meta["sizes"][1:]]


def _call(node: Mapping[str, Any]) -> dict[str, Any]:
    outputs = [_only(output) for output in node["outputs"]]
    names: list[str] = []
    for kind, value in outputs:
        names += [item["name"] for item in value] if kind == "as_tensors" else [_output_name(kind, value)]
    several = len(outputs) > 1 or outputs[0][0] == "as_tensors"
    inputs = {f"{item['name'] or number}": _argument(item["arg"]) for number, item in enumerate(node["inputs"])}
    op = node["target"].removeprefix("torch.ops.")
    return {"op": op, "inputs": inputs, "out": names if several else names[0]}


def _output_name(kind: str, value: Any) -> str:
    if kind == "as_tensor":
        return value["name"]
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float"):
        return value["as_name"]
    if kind == "as_none":
        return ""
    raise InputError(f"the program computes a value of kind {kind[:40]!r}, which is not understood")


def _argument(union: Mapping[str, Any]) -> Any:
    """An argument of torch's schema as one of a plan."""
    kind, value = _only(union)
    if kind in ("as_none", "as_layout"):
        if kind == "as_layout" and value != _STRIDED:
            raise InputError("the program uses sparse tensors, which are not understood")
        return None
    if kind in ("as_int", "as_bool", "as_string", "as_ints", "as_bools", "as_strings"):
        return value
    if kind in ("as_float", "as_floats"):
        return [_number(item) for item in value] if isinstance(value, list) else _number(value)
    if kind == "as_tensor":
        return {"ref": value["name"]}
    if kind == "as_tensors":
        return [{"ref": item["name"]} for item in value]
    if kind in ("as_sym_int", "as_sym_bool", "as_sym_float", "as_optional_tensor"):
        return _symbol(value)
    if kind in ("as_sym_ints", "as_sym_bools", "as_sym_floats", "as_optional_tensors"):
        return [_symbol(item) for item in value]
    if kind == "as_scalar_type":
        return {"dtype": _SCALAR_TYPES[value]}
    if kind == "as_memory_format":
        return {"memory_format": _MEMORY_FORMATS[value]}
    if kind == "as_device":
        return {"ref": DEVICE}
    raise InputError(f"the program passes an argument of kind {kind[:40]!r}, which is not understood")


def _symbol(union: Mapping[str, Any]) -> Any:
    kind, value = _only(union)
    if kind == "as_none":
        return None
    if kind == "as_float":
        return _number(value)
    return {"ref": value["name"] if kind == "as_tensor" else value} if kind in ("as_name", "as_tensor") else value


def _number(value: Any) -> Any:
    number = float(value)
    return number if math.isfinite(number) else {"number": str(number)}


def _tensors(
    archive: zipfile.ZipFile, plan: Plan, stored: Mapping[str, Mapping[str, Any]], name: str
) -> dict[str, Tensor]:
    return {
        weight.name: _tensor(archive, stored[weight.name], DTYPES[weight.dtype], name)
        for weight in affordable(plan).weights.values()
    }


def _tensor(archive: zipfile.ZipFile, about: Mapping[str, Any], dtype: torch.dtype, name: str) -> Tensor:
    meta = about["tensor_meta"]
    sizes, strides = ([side["as_int"] for side in meta[key]] for key in ("sizes", "strides"))
    if not math.prod(sizes):
        return torch.zeros(sizes, dtype=dtype)
    if about["member"] not in archive.NameToInfo:
        raise InputError(f"{about['member'][-80:]!r} is missing")
    flat = torch.frombuffer(bytearray(read_member(archive, about["member"], name)), dtype=dtype)
    return flat.as_strided(sizes, strides, meta["storage_offset"]["as_int"]).contiguous().clone()
