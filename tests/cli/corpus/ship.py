"""`bantam export` and `bantam bench` with something wrong about them."""

from __future__ import annotations

from collections.abc import Callable

from bantamweight.loading import untrained
from bantamweight.runtimes import export_onnx
from bantamweight.variants import build
from tests.cli.corpus.desk import Case, Cases, Desk

__all__ = ["CASES", "STRANGE"]

STRANGE = """
import torch
from torch import nn

class Lacking(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 64, 2)

    def forward(self, images):
        return self.head(torch.special.i1(images).flatten(1))

class Branching(Lacking):
    def forward(self, images):
        logits = self.head(images.flatten(1))
        return logits if images.sum() > 0 else -logits

def lacking():
    return Lacking()

def branching():
    return Branching()
"""


def export(*more: str) -> list[str]:
    return ["export", "mlp", "--classes", "2", "--size", "16", "-o", "net.onnx", *more]


def case(said: str, *more: str) -> Case:
    return Case(lambda _: export(*more), said)


def calibrated(said: str, *more: str) -> Case:
    return Case(lambda desk: export("--int8", "--calibrate", desk.pets(), *more), said)


def bench(said: str, *more: str) -> Case:
    return Case(lambda _: ["bench", "mlp", "--size", "8", *more], said)


def own(name: str) -> Callable[[Desk], list[str]]:
    def make(desk: Desk) -> list[str]:
        module = desk.file("strange_nets.py", STRANGE)[:-3]
        return ["export", f"{module}:{name}", "--trust", "--size", "8", "-o", "net.onnx"]

    return make


def attacked(*more: str, exported: bool = False) -> Callable[[Desk], list[str]]:
    """An attack on a file; an exported one was made from a net of another size."""

    def make(desk: Desk) -> list[str]:
        if exported:
            other = untrained("mlp", size=8)
            export_onnx(other, build(other), desk.path / "net.onnx")
        else:
            desk.file("net.onnx", "not a graph")
        eps = ("--classes", "2", "--size", "16", "--eps", "0.1")
        return ["attack", "mlp", desk.pets(), *eps, "--artifact", "net.onnx", *more]

    return make


def two_pictures(desk: Desk) -> list[str]:
    for name in ("cat", "dog"):
        desk.picture(f"few/{name}/0.png")
    return export("--int8", "--calibrate", "few")


def taken(desk: Desk) -> list[str]:
    desk.file("out/thesis.tex", "years of work")
    return ["bench", "mlp", "--size", "8", "--runs", "1", "--batch", "1", "--runtime", "torch", "-o", "out"]


def empty(desk: Desk) -> list[str]:
    desk.file("there/notes.txt", "no facts")
    return ["bench", "--merge", "there", "-o", "merged"]


CASES: Cases = {
    "a file that is no .onnx": Case(lambda _: ["export", "mlp", "-o", "net.pt"], r"ends in \.onnx"),
    "int8 without images": case("pass --calibrate DATA", "--int8"),
    "images without int8": case("pass --int8 as well", "--calibrate", "digits"),
    "two images to calibrate on": Case(two_pictures, "at least 32 images to calibrate int8 on, got 2"),
    "few of many images": calibrated("at least 32 images to calibrate int8 on, got 6"),
    "no images asked for": calibrated("expected n of at least 1 image", "--n", "0"),
    "calibration data that are missing": case("no/such", "--int8", "--calibrate", "no/such"),
    "nine bits": calibrated("expected --weight-bits 7 or 8, got 9", "--weight-bits", "9"),
    "an operation that ONNX lacks": Case(own("lacking"), "uses the operation .*, which ONNX lacks; replace that layer"),
    "a forward that branches": Case(own("branching"), "its forward branches on the values of its input"),
    "an artifact that is none": Case(attacked(), "expected an ONNX file in 'net.onnx'"),
    "an artifact of another net": Case(attacked(exported=True), "was made from another variant than 'mlp'"),
    "an artifact in bf16": Case(attacked("--precision", "bf16"), "leave out --precision"),
    "a runtime there is not": bench("did you mean 'onnxruntime'", "--runtime", "onnxruntim"),
    "no runtime": bench("expected sessions", "--runtime", ","),
    "the same runtime twice": bench("got torch twice", "--runtime", "torch,torch"),
    "batches in words": bench("expected --batch as whole numbers", "--batch", "one"),
    "an empty batch": bench("distinct batch sizes of 1 or more", "--batch", "0", "--runtime", "torch"),
    "no threads": bench("at least 1 thread", "--threads", "0", "--runtime", "torch"),
    "int8 timed without images": bench("int8 needs images", "--runtime", "onnxruntime-int8"),
    "the same net twice": bench("names of their own", "mlp"),
    "a report over something else": Case(taken, "to be empty or an earlier bench"),
    "a merge of nothing": Case(empty, "expected a folder that bench has written"),
    "a merge to nowhere": Case(lambda _: ["bench", "--merge", "a"], "pass -o FOLDER"),
}
