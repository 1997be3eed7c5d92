"""`bantam compress` with something wrong about it."""

from __future__ import annotations

from tests.cli.corpus.desk import Case, Cases, Desk

__all__ = ["CASES"]


def compress(*more: str, use: str = "magnitude", target: str = "sparsity=0.5") -> list[str]:
    return ["compress", "mlp", "digits", "--size", "8", "--channels", "1", "--use", use, "--target", target, *more]


def case(said: str, *more: str, use: str = "magnitude", target: str = "sparsity=0.5") -> Case:
    return Case(lambda _: compress("-o", "out", *more, use=use, target=target), said)


def taken(desk: Desk) -> list[str]:
    desk.file("out/thesis.tex", "years of work")
    return compress("-o", "out")


def answered(desk: Desk) -> list[str]:
    desk.file("out/compress.json", "{}")
    return compress("-o", "out")


def blocked(desk: Desk) -> list[str]:
    return compress("-o", desk.file("out", ""))


CASES: Cases = {
    "all of the weights": case(r"expected a sparsity in \[0, 1\).*got 1\.0", target="sparsity=1.0"),
    "all of the channels": case(r"expected a sparsity in \[0, 1\)", use="l1_channels", target="sparsity=1"),
    "all of the MACs": case("macs=1 is the model as it is", use="l1_channels", target="macs=1.0"),
    "MACs that no cut reaches": case("the smallest that .* reaches is", use="l1_channels", target="macs=1e-9"),
    "a file that no cut reaches": case("the smallest that .* reaches is", use="l1_channels", target="size_bytes=9"),
    "a file that no zeros reach": case("zeros alone reach", target="size_bytes=9"),
    "MACs that no rank reaches": case("the smallest that low rank reaches", use="low_rank", target="macs=1e-9"),
    "MACs of zeros": case("lowers no macs of a dense layer", target="macs=0.5"),
    "zeros of a factorisation": case("makes no zeros", use="low_rank", target="sparsity=0.5"),
    "a target there is not": case("did you mean 'sparsity'", target="sprsity=0.5"),
    "a target without a value": case("expected --target KIND=VALUE", target="macs"),
    "a target in words": case("expected --target KIND=VALUE", target="macs=half"),
    "a target that is no number": case("expected --target KIND=VALUE", target="macs=nan"),
    "a target below nothing": case("expected a positive macs", use="l1_channels", target="macs=-1"),
    "a negative sparsity": case("expected a sparsity", target="sparsity=-0.5"),
    "a criterion there is not": case("did you mean 'magnitude'", use="magnitud"),
    "a criterion by the path of a module": case("would run code", use="os:system"),
    "a setting there is not": case("no setting 'sed'", "--set", "sed=1", use="random"),
    "a pattern at another sparsity": case("sparsity of 0.5 and no other", use="two_four", target="sparsity=0.8"),
    "a schedule there is not": case("did you mean 'gradual'", "--schedule", "gradually"),
    "one round of many": case("2 to 100 rounds", "--schedule", "iterative", "--rounds", "1"),
    "rounds without training": case("trains between its cuts", "--schedule", "iterative", "--finetune", "none"),
    "channels by and by": case("up to a sparsity", "--schedule", "gradual", use="l1_channels", target="macs=0.5"),
    "a recipe there is not": case("did you mean 'adam'", "--finetune", "adan"),
    "two recipes": case("expected one recipe", "--finetune", "adam", "--finetune", "sgd"),
    "settings of no training": case("no settings beside", "--finetune", "none", "--finetune", "epochs=2"),
    "a setting of no training": case("train has no setting 'epoch'", "--finetune", "epoch=2"),
    "an allocation there is not": case("did you mean 'per_layer'", "--allocate", "per_layr"),
    "a layer there is not": case("is no layer that can be pruned", "--layer", "conv9"),
    "nothing left to cut": case("leaves none", "--skip", "layers"),
    "a runtime there is not": case("onnxruntim", "--runtime", "onnxruntim", use="l1_channels", target="latency_ms=1"),
    "a split there is not": case("has no split", "--split", "tset"),
    "a folder with other things": Case(taken, "expected a new or an empty folder"),
    "a folder with another answer": Case(answered, "the answer to another question"),
    "a file for a folder": Case(blocked, "expected a new or an empty folder"),
}
