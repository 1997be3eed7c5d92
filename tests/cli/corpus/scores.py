"""`bantam explain score`, `sheet` and `agreement` with something wrong about them."""

from __future__ import annotations

import json

from tests.cli.corpus.desk import Case, Cases, Desk

__all__ = ["CASES"]

DIGITS = ("mlp", "digits", "--size", "8", "--channels", "1")
KEY = {
    "sheet": "abc",
    "methods": {"m0": "grad_cam", "m1": "gradient"},
    "items": [{"id": "i0", "name": "0.png", "said": "cat", "label": "cat"}],
}


def score(said: str, *more: str) -> Case:
    return Case(lambda _: ["explain", "score", *DIGITS, *more], said)


def sheet(said: str, *more: str) -> Case:
    return Case(lambda _: ["explain", "sheet", *DIGITS, *more], said)


def agreement(said: str, key: str, *answers: str) -> Case:
    def make(desk: Desk) -> list[str]:
        files = [desk.file(f"{place}.json", content) for place, content in enumerate(answers)]
        return ["explain", "agreement", desk.file("sheet.key.json", key), *files]

    return Case(make, said)


def boxes(content: str, said: str) -> Case:
    return Case(lambda desk: ["explain", "score", "mlp", desk.file("boxes.json", content)], said)


BOMB = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><annotation><filename>&c;</filename></annotation>'


def voc(desk: Desk) -> list[str]:
    desk.picture("shots/JPEGImages/a.png")
    desk.file("shots/Annotations/a.xml", BOMB)
    return ["explain", "score", "mlp", "shots"]


CASES: Cases = {
    "a mistyped metric": score("'deletoin' is not in metrics; did you mean 'deletion'", "--metrics", "deletoin"),
    "a mistyped method to score": score("did you mean 'gradient'", "--use", "gradiant"),
    "no metrics": score("expected metrics after --metrics", "--metrics", ","),
    "one metric twice": score("'mprt' twice", "--use", "gradient", "--metrics", "mprt,mprt"),
    "boxes that nobody drew": score("iou needs to know where the object is", "--use", "gradient", "--metrics", "iou"),
    "scores of no images": score("expected n of at least 1 image", "--n", "0"),
    "scores in batches of none": score("expected batch >= 1", "--batch", "0"),
    "scores at a strange precision": score("--precision to be fp32 or bf16", "--precision", "fp8"),
    "a metric by the path of a module": score("would run code from outside", "--metrics", "os:system"),
    "a sheet of one method": sheet("2 to 8 different methods", "--use", "gradient"),
    "a sheet of a method without meaning": sheet("grad_cam is not defined", "--use", "grad_cam,gradient", "--n", "2"),
    "a sheet that is no page": sheet("a page that ends in .html", "-o", "sheet.txt"),
    "a sheet nowhere": sheet("can't be written", "--use", "gradient,occlusion", "--n", "1", "-o", "/dev/null/s.html"),
    "a key that is none": agreement("expected the key .* sheet is not so", "{}", "{}"),
    "answers that are none": agreement("expected answers that a rating sheet saved", json.dumps(KEY), "[]"),
    "answers nested without end": agreement("as JSON, got something else", json.dumps(KEY), "[" * 100_000),
    "boxes that are no JSON": boxes("x", "expected COCO annotations as JSON"),
    "boxes of another kind": boxes("{}", "expected COCO's images, annotations and categories"),
    "an XML bomb": Case(voc, "document types and entities are not allowed"),
}
