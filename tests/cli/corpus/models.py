"""Models that are not there, don't fit, don't work, or would run something when they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from bantamweight import variants
from bantamweight.loading import untrained
from tests.cli.corpus.desk import Case, Cases, Desk
from tests.models.archives import pickled

__all__ = ["CASES", "OWN"]

SMALL = ("--size", "8", "--channels", "1")
DIGITS = ("digits", "--size", "8")

OWN = """
from pathlib import Path
import torch
from torch import nn

made = nn.Flatten()
number = 3

def net(classes=10, size=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))

def wrong():
    return "a string"

def fails():
    raise RuntimeError("no such luck")

def needs(depth):
    return nn.Flatten()

def images():
    return nn.Identity()

class Moody(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3 * 64, 10)

    def forward(self, images):
        if len(images) > 2:
            raise RuntimeError("too many at once")
        return self.linear(images.flatten(1))

def moody():
    return Moody()

class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(64, 10)

class Slopeless(Flat):
    def forward(self, images):
        if images.requires_grad:
            raise RuntimeError("no slopes here")
        return self.linear(images.flatten(1))

class Writes(Flat):
    def forward(self, images):
        return self.linear(images.sub_(0.5).flatten(1))

def slopeless():
    return Slopeless()

def writes():
    return Writes()
"""


def show(model: str, *more: str) -> list[str]:
    """A command that has to load the model."""
    return ["profile", model, *more]


def weighed(path: str, *more: str) -> list[str]:
    return show("small_cnn", *SMALL, "--weights", path, *more)


def own(name: str, *more: str) -> Callable[[Desk], list[str]]:
    """The user's own module, trusted."""
    return lambda desk: show(f"{desk.file('own_nets.py', OWN)[:-3]}:{name}", "--trust", *more)


def attacked(name: str) -> Callable[[Desk], list[str]]:
    """An attack on it, on eight digits."""
    asked = ["digits", "--n", "8", "--eps", "0.1", "--trust", "--size", "8", "--channels", "1", "-o", "out"]
    return lambda desk: ["attack", own(name)(desk)[1], *asked]


NAMES: Cases = {
    "a net with a slip": Case(lambda _: show("simple_cn"), r"'simple_cn' is not a model; did you mean 'simple_cnn'\?"),
    "a net that is unknown": Case(lambda _: show("zzz"), "'zzz' is not a model; choose one of"),
    "a model file that is missing": Case(lambda _: show("no/such.pt2"), "there is no file 'no/such.pt2'"),
    "a model folder that is missing": Case(lambda _: show("no/such"), "expected a folder of a saved variant"),
    "a folder without a variant": Case(lambda desk: show(str(desk.path)), "no variant.json in it"),
    "weights alone": Case(lambda desk: show(desk.weights(size=8)), "holds weights alone; name the net .* --weights"),
    "a web address": Case(lambda _: show("https://example.org/net.pt2"), "there is no file"),
    "no classes": Case(lambda _: show("mlp", "--classes", "0"), "classes"),
    "one class fewer than none": Case(lambda _: show("mlp", "--classes", "-1"), "classes"),
    "no size": Case(lambda _: show("mlp", "--size", "0"), "size"),
    "a size that no memory holds": Case(lambda _: show("mlp", "--size", "1000000"), "size"),
    "a size that the net can't take": Case(lambda _: show("small_cnn", "--size", "2"), "size"),
    "no channels": Case(lambda _: show("mlp", "--channels", "0"), "channels"),
    "two channels": Case(lambda _: ["evaluate", "mlp", "digits", "--size", "8", "--channels", "2"], "channels"),
}


def without(tensors: dict[str, Any]) -> None:
    tensors.pop(next(name for name in tensors if name.endswith("weight")))


def infinite(tensors: dict[str, Any]) -> None:
    next(value for name, value in tensors.items() if name.endswith("weight")).fill_(float("nan"))


def cut(desk: Desk, name: str) -> str:
    path = desk.path / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return name


def edited(desk: Desk, file: str, old: str, new: str) -> str:
    variants.save(untrained("mlp", size=8), desk.path / "saved")
    path = desk.path / "saved" / file
    path.write_text(path.read_text().replace(old, new, 1))
    return "saved"


def strange(desk: Desk) -> str:
    """A variant that is whole, hash and all, but whose architecture is a command."""
    known = untrained("mlp", size=8)
    variants.save(replace(known, factory="os:system", arguments={"command": "touch executed"}), desk.path / "saved")
    return "saved"


WEIGHTS: Cases = {
    "weights that are missing": Case(lambda _: weighed("no.safetensors"), "there is no file 'no.safetensors'"),
    "weights in an odd file": Case(lambda desk: weighed(desk.file("w.bin", "x")), "expected weights in a .safetensors"),
    "weights of another net": Case(lambda desk: weighed(desk.weights("mlp", size=8)), "small_cnn"),
    "weights of another shape": Case(lambda desk: weighed(desk.weights(size=8, channels=3)), "small_cnn"),
    "weights for other classes": Case(lambda desk: weighed(desk.weights(size=8, channels=1, classes=3)), "small_cnn.*"),
    "weights with one missing": Case(
        lambda desk: weighed(desk.weights(change=without, size=8, channels=1)), "small_cnn"
    ),
    "weights that are not numbers": Case(
        lambda desk: weighed(desk.weights(change=infinite, size=8, channels=1)), "the weights hold NaN or infinity"
    ),
    "weights cut short": Case(
        lambda desk: weighed(cut(desk, desk.weights(size=8, channels=1))), "expected safetensors in 'w.safetensors'"
    ),
    "text called .safetensors": Case(lambda desk: weighed(desk.file("w.safetensors", "hello")), "expected safetensors"),
    "a .pt with a pickle that runs code": Case(
        lambda desk: weighed(desk.pickle("w.pt", {"conv1.weight": desk.payload})),
        r"'w\.pt' holds a pickle that asks for '(io|_io|builtins)\.open', and was refused before anything in it ran",
    ),
    "a .pth with a pickle that runs code": Case(
        lambda desk: weighed(desk.pickle("w.pth", desk.payload)), "refused before anything in it ran"
    ),
    "a .pt with a whole module": Case(
        lambda desk: weighed(desk.pickle("w.pt", torch.nn.Linear(2, 2))), "asks for 'torch.nn.modules.linear.Linear'"
    ),
    "a .pt with a number": Case(
        lambda desk: weighed(desk.pickle("w.pt", 3)), "expected a state dict in 'w.pt', got int"
    ),
    "a .pt that is no archive": Case(lambda desk: weighed(desk.file("w.pt", "hello")), "to be a zip archive"),
    "weights for a saved variant": Case(
        lambda desk: show(edited(desk, "variant.json", "", ""), "--weights", desk.weights(size=8)),
        "leave out --weights",
    ),
    "a saved variant that was edited": Case(
        lambda desk: show(edited(desk, "variant.json", '"classes": 10', '"classes": 11')), "its hash differs"
    ),
    "a saved variant that is broken": Case(
        lambda desk: show(edited(desk, "variant.json", "{", "[")), "expected a saved variant in saved"
    ),
    "a saved variant of os.system": Case(lambda desk: show(strange(desk)), "'os:system' would run code from outside"),
    "a saved variant of another size": Case(
        lambda desk: show(edited(desk, "variant.json", "", ""), "--size", "16"), "takes images of .* leave out --size"
    ),
}

SAMPLE = "data/sample_inputs/model.pt"

PROGRAMS: Cases = {
    "a .pt2 with a pickle inside": Case(
        lambda desk: show(
            desk.program("bad.pt2", lambda members: members.update({SAMPLE: pickled(((desk.payload,), {}))}))
        ),
        "bad.pt2.*before anything in it",
    ),
    "a .pt2 with an object inside": Case(
        lambda desk: show(
            desk.program("bad.pt2", lambda members: members.update({"data/constants/custom_obj_0": pickled(1)}))
        ),
        "pickled object",
    ),
    "a .pt2 with a library inside": Case(
        lambda desk: show(
            desk.program("bad.pt2", lambda members: members.update({"data/aotinductor/model/model.so": b"\x7fELF"}))
        ),
        "code that would run",
    ),
    "a .pt2 that names a file outside": Case(
        lambda desk: show(desk.program("bad.pt2", lambda members: members.update({"../../executed": b"x"}))),
        "forged name",
    ),
    "a .pt2 whose graph reads a file": Case(
        lambda desk: show(
            desk.program(
                "bad.pt2",
                lambda members: members.update(
                    {
                        "models/model.json": members["models/model.json"].replace(
                            b"torch.ops.aten.relu", b"torch.ops.aten.from_file", 1
                        )
                    }
                ),
            )
        ),
        "'bad.pt2' was refused: the program calls 'aten.from_file.*not among the operations",
    ),
    "a .pt2 that is no archive": Case(lambda desk: show(desk.file("x.pt2", "hello")), "'x.pt2' to be a zip archive"),
    "a .pt2 cut short": Case(lambda desk: show(cut(desk, desk.program("x.pt2", dict))), "x.pt2"),
    "a .pt2 with other classes": Case(
        lambda desk: show(desk.program("x.pt2", dict), "--classes", "7"), "returns 5 logits, got 7 classes"
    ),
    "a .pt2 at another size": Case(
        lambda desk: show(desk.program("x.pt2", dict), "--size", "64"),
        r"was refused: .*exported for images of \(3, 8, 8\)",
    ),
    "a .pt2 with weights": Case(
        lambda desk: show(desk.program("x.pt2", dict), "--weights", desk.weights(size=8)), "brings its own weights"
    ),
}


def loaded(desk: Desk, path: str) -> list[str]:
    """A study of a finished model."""
    return ["run", desk.study(f"study: a\ndata: digits\ntrain: {{load: {path}}}\n")]


STUDIED: Cases = {
    "a study of a .pt2 with a pickle inside": Case(
        lambda desk: loaded(
            desk, desk.program("bad.pt2", lambda members: members.update({SAMPLE: pickled(((desk.payload,), {}))}))
        ),
        r"train\.0\.load: 'bad\.pt2.*before anything in it",
    ),
    "a study of a model for other classes": Case(
        lambda desk: loaded(desk, desk.program("x.pt2", dict)), r"train\.0\.load: .*'x\.pt2'"
    ),
    "a study of weights alone": Case(
        lambda desk: loaded(desk, desk.pickle("w.pt", {"conv1.weight": desk.payload})), "holds weights alone"
    ),
    "a study of a saved variant that was edited": Case(
        lambda desk: loaded(desk, edited(desk, "variant.json", '"classes": 10', '"classes": 11')), "its hash differs"
    ),
}


def trained(desk: Desk, name: str) -> str:
    """A study of the user's own net."""
    use = f"{desk.file('own_nets.py', OWN)[:-3]}:{name}"
    return desk.study(f"study: a\ndata: digits\ntrain: {{model: {{use: '{use}'}}, epochs: 1}}\n")


TRUSTED: Cases = {
    "code, untrusted": Case(
        lambda desk: show(f"{desk.file('own_nets.py', OWN)[:-3]}:net"), "would run code from outside .* pass --trust"
    ),
    "a module that is missing": Case(lambda _: show("no_such_nets:net", "--trust"), "No module named 'no_such_nets'"),
    "a function that is missing": Case(own("nett"), "no attribute 'nett'"),
    "a number for a function": Case(own("number"), "to be a function, got int"),
    "a module for a function": Case(own("made"), "wrap it in a function"),
    "a function that returns no module": Case(own("wrong"), "to return a torch.nn.Module, got str"),
    "a function that raises": Case(own("fails"), "raised RuntimeError: no such luck"),
    "a function that needs more": Case(own("needs"), "raised TypeError: .*depth"),
    "a model that returns images": Case(own("images"), "expected logits"),
    "a model at the wrong size": Case(own("net"), "does not take images of .* pass --size"),
    "a model that raises on the data": Case(
        lambda desk: ["evaluate", own("moody", "--size", "8")(desk)[1], *DIGITS, "--trust"], "too many at once"
    ),
    "a model without gradients": Case(attacked("slopeless"), "raised RuntimeError: no slopes here on images of"),
    "a model that writes into its images": Case(attacked("writes"), "writes into the images it is given; clone them"),
    "a module with broken syntax": Case(
        lambda desk: show(f"{desk.file('broken_nets.py', 'def net(:')[:-3]}:net", "--trust"),
        "importable as module:function",
    ),
    "a module that raises": Case(
        lambda desk: show(f"{desk.file('raising_nets.py', '1 / 0')[:-3]}:net", "--trust"),
        "importable as module:function",
    ),
    "a model that can't tell the classes": Case(
        lambda desk: ["evaluate", own("net")(desk)[1], *DIGITS, "--classes", "7", "--trust"],
        "tells 7 classes apart and the data has 10",
    ),
    "code in a study that raises": Case(lambda desk: ["run", trained(desk, "fails"), "--trust"], "no such luck"),
}


CASES: Cases = {**NAMES, **WEIGHTS, **PROGRAMS, **STUDIED, **TRUSTED}
