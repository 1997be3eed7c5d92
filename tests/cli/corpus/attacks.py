"""`bantam attack` with something wrong about it."""

from __future__ import annotations

from tests.cli.corpus.desk import Case, Cases, Desk

__all__ = ["CASES"]

EPS = "expected an epsilon in pixel values of 0 to 1, such as 8/255"
PLANTED = ("--eps", "0.1", "--self-test")


def attack(desk: Desk, *more: str, data: str | None = None) -> list[str]:
    return ["attack", "mlp", data or desk.pets(), "--classes", "2", "--size", "16", *more]


def case(said: str, *more: str) -> Case:
    return Case(lambda desk: attack(desk, *more), said)


def other_answer(desk: Desk) -> list[str]:
    desk.file("out/question.json", "{}")
    return attack(desk, "--eps", "0.1", "-o", "out")


def full_folder(desk: Desk) -> list[str]:
    desk.file("out/thesis.tex", "years of work")
    return attack(desk, "--eps", "0.1", "-o", "out")


CASES: Cases = {
    "a norm there is not": case("'l7' is not in threats", "--norm", "l7", "--eps", "1"),
    "an eps of nothing": case("expected an epsilon between 0 and 1", "--eps", "0"),
    "an eps below nothing": case("expected an epsilon between 0 and 1", "--eps=-8/255"),
    "an eps beyond the box": case("expected an epsilon between 0 and 1 .* got 8; .* such as 8/255", "--eps", "8"),
    "an eps in words": case(EPS, "--eps", "small"),
    "an eps that is no number": case(EPS, "--eps", "nan"),
    "an eps by nothing": case(EPS, "--eps", "8/0"),
    "an empty eps": case("expected --eps to be a budget such as 8/255, got ''", "--attack", "ddn", "--eps", ""),
    "an empty norm": case("expected --norm to be linf, l2, l1 or l0, got ''", "--norm", "", "--eps", "0.1"),
    "an empty attack": case("expected --attack to be an attack such as pgd, got ''", "--eps", "0.1", "--attack", ""),
    "an empty protocol": case("expected --protocol to be a protocol such as", "--eps", "0.1", "--protocol", ""),
    "a protocol and an attack": case(
        "expected --protocol or --attack, got both", "--eps", "0.1", "--protocol", "fast", "--attack", "pgd"
    ),
    "one setting twice": case(
        "expected one value of 'steps'", "--eps", "0.1", "--attack", "pgd", "--set", "steps=1", "--set", "steps=2"
    ),
    "no eps for a protocol": case("needs an eps"),
    "no eps for an attack that needs one": case("pgd needs an eps", "--attack", "pgd"),
    "half a pixel": case("whole", "--norm", "l0", "--eps", "1.5"),
    "a mistyped protocol": case("did you mean 'fast'", "--eps", "0.1", "--protocol", "fasst"),
    "a mistyped attack": case("did you mean 'pgd'", "--eps", "0.1", "--attack", "pgdd"),
    "a mistyped setting": case("did you mean 'steps'", "--eps", "0.1", "--attack", "pgd", "--set", "stepz=4"),
    "a setting without a value": case("expected --set KEY=VALUE", "--eps", "0.1", "--attack", "pgd", "--set", "steps"),
    "another attack as a setting": case(
        "expected --set KEY=VALUE", "--eps", "0.1", "--attack", "pgd", "--set", "use=fgsm"
    ),
    "a self-test anywhere": case("plants images at an eps", "--eps", "inf", "--attack", "pgd", "--self-test"),
    "a self-test without eps": case("plants images at an eps", "--attack", "pgd", "--self-test"),
    "a setting of the wrong kind": case("pgd.steps", "--eps", "0.1", "--attack", "pgd", "--set", "steps=many"),
    "a setting out of range": case("at least 1 step", "--eps", "0.1", "--attack", "pgd", "--set", "steps=0"),
    "an attack by the path of a module": case("would run code", "--eps", "0.1", "--attack", "os:system"),
    "a protocol by the path of a module": case("would run code", "--eps", "0.1", "--protocol", "os:system"),
    "AutoAttack without a form": case("not for l0", "--norm", "l0", "--eps", "3", "--protocol", "autoattack"),
    "a target that is no class": case("'bird' is not a class", "--eps", "0.1", "--targeted", "bird"),
    "no images": case("at least 1 image", "--eps", "0.1", "--n", "0"),
    "a negative audit": case("0 or more survivors", "--eps", "0.1", "--audit=-1"),
    "an audit of nothing in particular": case("audit needs an eps", "--attack", "ddn", "--norm", "l2", "--audit", "9"),
    "a level of checks": case("expected --checks to be one of", "--eps", "0.1", "--checks", "some"),
    "a precision": case("expected --precision to be one of", "--eps", "0.1", "--precision", "fp8"),
    "a device that is not there": case("expected a device that this machine has", "--eps", "0.1", "--device", "mos:3"),
    "a device for a self-test": case("leave out --device", "--eps", "0.1", "--self-test", "--device", "cpu"),
    "checks of a self-test": case("leave out --checks", *PLANTED, "--checks", "full"),
    "a self-test from a run": case("leave out --from, --audit", *PLANTED, "--from", "nowhere", "--audit", "5"),
    "a self-test of a file": case("leave out --artifact", *PLANTED, "--artifact", "nothing.onnx"),
    "a self-test in batches": case("leave out --batch", *PLANTED, "--batch", "8"),
    "no rows in play": case("at least 1 row", "--eps", "0.1", "--batch", "0"),
    "a run that is not there": case("finished attack", "--eps", "0.1", "--from", "nowhere"),
    "a folder with another answer": Case(other_answer, "another question"),
    "a folder with other things": Case(full_folder, "empty"),
    "more classes than the model has": Case(
        lambda desk: ["attack", "mlp", desk.pets(), "--classes", "3", "--size", "16", "--eps", "0.1"], "classes"
    ),
}
