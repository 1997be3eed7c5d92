"""`bantam explain` with something wrong about it."""

from __future__ import annotations

from tests.cli.corpus.desk import Case, Cases, Desk

__all__ = ["CASES"]


def explain(desk: Desk, *more: str, model: str = "small_cnn", image: str | None = None) -> list[str]:
    return ["explain", model, image or desk.picture("cat.png"), "--size", "16", *more]


def case(said: str, *more: str, model: str = "small_cnn") -> Case:
    return Case(lambda desk: explain(desk, *more, model=model), said)


def exact(desk: Desk) -> list[str]:
    """A variant that takes images of exactly its own size."""
    from dataclasses import replace

    from bantamweight import variants
    from bantamweight.loading import untrained

    net = untrained("small_cnn", size=16)
    variants.save(replace(net, preprocessing={**net.preprocessing, "resize": "none"}), desk.path / "saved")
    return ["explain", "saved", desk.picture("large.png", size=24)]


def invert(said: str, *more: str, model: str = "small_cnn") -> Case:
    return Case(lambda desk: ["explain", "invert", model, desk.picture("cat.png"), "--size", "16", *more], said)


CASES: Cases = {
    "inverting a net without convolutions": invert("0 convolutions.*; name layers", model="mlp"),
    "inverting a mistyped layer": invert(
        r"got 'featurs\.3'; did you mean 'features\.3'", "--layers", "features.0,featurs.3"
    ),
    "inverting a layer twice": invert("layers that differ", "--layers", "features.0,features.0"),
    "inverting no layer": invert("expected layers after --layers", "--layers", ","),
    "inverting in no steps": invert("--steps of at least 3, got 0", "--steps", "0"),
    "inverting without a restart": invert("at least 1 restart", "--restarts", "0"),
    "inverting against a prior": invert("weights of 0 or more", "--tv=-1"),
    "inverting no rows": invert("expected batch >= 1", "--batch", "0"),
    "inverting what is no image": Case(
        lambda desk: ["explain", "invert", "small_cnn", desk.file("cat.png", "meow"), "--size", "16"],
        "cat.png: expected",
    ),
    "inverting into a file": Case(
        lambda desk: ["explain", "invert", "small_cnn", desk.picture("cat.png"), "-o", desk.file("taken", "mine")],
        "expected -o to name a folder",
    ),
    "a CAM of a net without convolutions": case("grad_cam is not defined for this model: no convolution", model="mlp"),
    "a CAM among others": case("layer_cam is not defined", "--use", "gradient,layer_cam,grad_cam", model="mlp"),
    "CAM where no average is taken": case("cam is not defined", "--use", "cam", "--layer", "features.3"),
    "a mistyped method": case("'gradcam' is not in explainers; did you mean 'grad_cam'", "--use", "gradcam"),
    "no method": case("expected methods after --use", "--use", ","),
    "one method twice": case("methods that differ", "--use", "grad_cam,grad_cam"),
    "a method by the path of a module": case("would run code", "--use", "os:system"),
    "a mistyped layer": case(r"got 'featurs\.3'; did you mean 'features\.3'", "--layer", "featurs.3"),
    "a layer behind the flattening": case("before the image is flattened", "--layer", "classifier.0"),
    "a layer nobody reads": case("none of gradient reads a layer", "--use", "gradient", "--layer", "features.3"),
    "a class there is not": case("'11' is not a class of the model", "--class", "11"),
    "a class in words": case("'cat' is not a class of the model; did you mean|choose one of", "--class", "cat"),
    "a negative class": case("is not a class of the model", "--class=-1"),
    "an image of the wrong size": Case(exact, "large.png: expected .*16"),
    "an image too small": Case(lambda desk: explain(desk, image=desk.picture("dot.png", size=2)), "dot.png: expected"),
    "an image that is none": Case(lambda desk: explain(desk, image=desk.file("cat.png", "meow")), "cat.png: expected"),
    "an image that is not there": Case(lambda desk: explain(desk, image="dog.png"), "dog.png: can't be read"),
    "a folder for an image": Case(lambda desk: explain(desk, image=desk.pets()), "pets: can't be read"),
    "no images at all": Case(lambda _: ["explain", "small_cnn"], "IMAGE"),
    "nothing at all": Case(lambda _: ["explain"], "MODEL"),
    "a check on data there is not": case("digit.*did you mean 'digits'", "--check", "digit"),
    "no rows in memory": case("expected batch >= 1", "--batch", "0"),
    "a precision for maps": case("expected --precision to be fp32 or bf16", "--precision", "int8"),
    "a place that is a file": Case(
        lambda desk: explain(desk, "-o", desk.file("taken", "mine") + "/maps"), "can't be written"
    ),
}
