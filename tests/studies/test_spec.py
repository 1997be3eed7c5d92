"""Studies as data: what is read, what is refused, and in which words."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from bantamweight.errors import InputError
from bantamweight.studies import _yaml
from bantamweight.studies._blocks import Study, recipe_of
from bantamweight.studies.spec import bundled, read, title_of

SMALL = """\
study: small
data: digits
train:
  - model: mlp
    epochs: 2
"""

BLOCKS = (
    SMALL
    + """\
compress:
  - use: magnitude
    sparsity: [0.5]
    finetune: {epochs: 1}
attack:
  - use: [fgsm, {use: pgd, steps: 3}]
    threats: [linf 8/255, {use: l2, eps: 1/2}]
measure:
  - {use: sizes}
"""
)

PROTOCOL = SMALL + "attack:\n  - protocol: {use: fast, steps: 9}\n    threats: linf 0.1\n"


def _read(tmp_path: Path, text: str, *overrides: str) -> Study:
    (tmp_path / "s.yaml").write_text(text, encoding="utf-8")
    return read(tmp_path / "s.yaml", overrides=overrides)


def test_what_is_read(tmp_path: Path) -> None:
    study = _read(tmp_path, BLOCKS)
    assert [str(threat.make()) for threat in study.attack[0].threats] == ["linf 8/255", "l2 0.5"]
    assert [str(part) for part in study.attack[0].use] == ["fgsm", "pgd(steps=3)"]
    assert study.train[0].seeds == (0,)
    assert title_of(study.train[0]) == "mlp"
    assert recipe_of(study.train[0])["epochs"] == 2
    tuned = study.compress[0].finetune
    assert tuned is not None
    assert (recipe_of(tuned)["rate"], recipe_of(tuned)["epochs"]) == (1e-4, 1)
    assert str(recipe_of(tuned)["optimizer"]) == "adam"


def test_a_protocol_beside_an_attack(tmp_path: Path) -> None:
    (block,) = _read(tmp_path, PROTOCOL + "    use: fgsm\n    targets: '3'\n    audit: 59\n").attack
    assert [str(part) for part in block.protocol] == ["fast(steps=9)"]
    assert [str(part) for part in block.use] == ["fgsm"]
    assert (block.audit, block.checks, block.targeted) == (59, "probe", ("none",))
    study = _read(tmp_path, PROTOCOL, "attack.0.protocol=[fast, {use: autoattack, queries: 100}]")
    assert [str(part) for part in study.attack[0].protocol] == ["fast", "autoattack(queries=100)"]


def test_a_mapping_is_a_study_too() -> None:
    assert read({"study": "x", "data": "digits", "train": {"model": "mlp", "epochs": 1}}).study == "x"


def test_bundled_studies_are_read() -> None:
    assert {"digits", "sports", "sports-001"} <= set(bundled())
    for name in bundled():
        assert read(name).study == name


def test_overrides_reach_lists_and_parts(tmp_path: Path) -> None:
    study = _read(
        tmp_path,
        BLOCKS,
        "train.0.epochs=7",
        "attack.0.use.1.steps=9",
        "attack.0.threats=[linf 0.1]",
        "compress.0.finetune.rate=1e-3",
        "measure=[]",
        "gates=[accuracy >= 0.5]",
    )
    assert recipe_of(study.train[0])["epochs"] == 7
    assert study.attack[0].use[1].settings["steps"] == 9
    assert len(study.attack[0].threats) == 1
    assert study.measure == ()
    assert study.gates == ("accuracy >= 0.5",)


FILES = {
    "": "empty file",
    "just words": "keys and values",
    "study: [": "line 1: not valid YAML",
    "a: &x [*x]": "nested at most",
    "[" * 3000: "YAML",
    "study: s\nstudy: t": "line 2: the key 'study' is given twice",
    SMALL + "nonsense: 1\n": "line 6: the study has no setting 'nonsense'",
    SMALL.replace("epochs: 2", "epoch: 2"): "line 5: train.0 has no setting 'epoch'; did you mean 'epochs'?",
    SMALL.replace("epochs: 2", "epochs: 0"): "line 5: train.0.epochs",
    SMALL.replace("epochs: 2", "epochs: 2.5"): "line 5: train.0.epochs",
    SMALL.replace("    epochs: 2\n", ""): "train.0 needs 'epochs'",
    SMALL.replace("mlp", "mpl"): "line 4: train.0.model: 'mpl' is not in models; did you mean 'mlp'?",
    SMALL.replace("mlp", "os:system"): "pass --trust",
    SMALL.replace("mlp", "{size: 3}"): "line 4: train.0.model: expected a name",
    SMALL.replace("digits", "{use: os:system}"): "pass --trust",
    SMALL.replace("digits", "{use: digits, sise: 8}"): "did you mean 'size'?",
    SMALL.replace("digits", "!!python/object/apply:os.system [ls]"): "tags are not allowed",
    SMALL.replace("digits", "!x digits"): "tags are not allowed",
    SMALL.replace("study: small", "study: ../up"): "expected a name of letters",
    SMALL.replace("study: small\n", ""): "needs 'study'",
    SMALL + "  - model: mlp\n    epochs: 1\n": "already the name of train.0",
    SMALL + "    load: x.pt2\n": "either 'model' (to train) or 'load'",
    SMALL + "    augment: [flop]\n": "line 6: train.0.augment: 'flop' is not an augmentation; did you mean 'flip'?",
    SMALL + "    seed: 3\n": "did you mean 'seeds'?",
    SMALL + "gates: [accuracy]\n": "line 6: gates.0: expected a gate",
    BLOCKS.replace("linf 8/255", "linf"): "NORM EPS",
    BLOCKS.replace("linf 8/255", "linf 300/255"): "between 0 and 1",
    BLOCKS.replace("linf 8/255", "linf eight"): "expected a number for eps",
    BLOCKS.replace("linf 8/255", "lonf 8/255"): "did you mean 'linf'?",
    BLOCKS.replace(
        "steps: 3", "stepz: 3"
    ): "line 11: attack.0.use.1: pgd has no setting 'stepz'; did you mean 'steps'?",
    BLOCKS.replace("steps: 3", "steps: many"): "steps",
    BLOCKS.replace("[0.5]", "[1.5]"): "line 8: compress.0.sparsity.0: input should be less than 1",
    BLOCKS.replace("[0.5]", "[]"): "compress.0.sparsity",
    BLOCKS.replace("magnitude", "magnitute"): "did you mean 'magnitude'?",
    BLOCKS.replace("{epochs: 1}", "{epochs: 1, optimizer: adan}"): "'adan' is not in optimizers; did you mean 'adam'?",
    BLOCKS.replace("use: sizes", "use: size"): "line 14: measure.0: expected 'use' to be one of",
    BLOCKS.replace("use: sizes", "use: latency"): "needs 'runtimes'",
    BLOCKS.replace(
        "use: sizes", "use: minimum_norm, attack: ddn, norm: l3"
    ): "line 14: measure.0.norm: 'l3' is not known",
    PROTOCOL.replace("fast", "fsat"): "line 7: attack.0.protocol.0: 'fsat' is not in protocols; did you mean 'fast'?",
    PROTOCOL.replace("steps", "stepz"): "fast has no setting 'stepz'; did you mean 'steps'?",
    PROTOCOL + "    until: first\n": "line 7: attack.0: a protocol ends at an image's first success; leave 'until'",
    PROTOCOL + "    targets: '3'\n": "a protocol takes 'targeted'",
    PROTOCOL + "    keep: 8\n": "a protocol keeps every image",
    PROTOCOL + "    audit: -1\n": "line 9: attack.0.audit: input should be greater than or equal to 0",
    PROTOCOL + "    checks: all\n": "line 9: attack.0.checks: 'all' is not known",
    PROTOCOL + "    audits: 3\n": "attack.0 has no setting 'audits'; did you mean 'audit'?",
    SMALL + "attack: {threats: linf 0.1}\n": "expected 'use' (attacks) or 'protocol'",
    **{
        BLOCKS.replace(
            "    threats: [linf", f"    {key}: {value}\n    threats: [linf"
        ): f"{key!r} belongs to a protocol"
        for key, value in (("audit", 59), ("checks", "full"), ("targeted", "all"), ("warm", "true"))
    },
}


@pytest.mark.parametrize("text", FILES, ids=lambda text: repr(text[-30:]))
def test_a_bad_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(tmp_path, text)
    said = str(caught.value)
    assert FILES[text] in said
    assert said.startswith("s.yaml")
    assert "\n" not in said
    assert len(said) < 400


OVERRIDES = {
    "train.0.epoch=2": "did you mean 'epochs'?",
    "train.0.epochs=two": "train.0.epochs",
    "train.3.epochs=2": "a list of 1",
    "train.x.epochs=2": "expected an index",
    "tran.0.epochs=2": "did you mean 'train'?",
    "study.x=2": "valid string",
    "nothing": "expected KEY=VALUE",
    ".=3": "expected KEY=VALUE",
    "attack.0.threats=[linf 2]": "between 0 and 1",
    "measure.0.use=latncy": "expected 'use' to be one of",
    "attack.0.use.1.steps=[": "not valid YAML",
    "data=os:system": "pass --trust",
}


@pytest.mark.parametrize("line", OVERRIDES)
def test_a_bad_override_is_one_sentence(tmp_path: Path, line: str) -> None:
    with pytest.raises(InputError) as caught:
        _read(tmp_path, BLOCKS, line)
    assert OVERRIDES[line] in str(caught.value)
    assert str(caught.value).startswith(f"--set {line}")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no study 'digit'.*did you mean 'digits'"):
        read("digit")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)
    (tmp_path / "latin").write_bytes(b"study: caf\xe9")
    with pytest.raises(InputError, match="UTF-8"):
        read(tmp_path / "latin")
    (tmp_path / "big").write_text("#" * 1_100_000)
    with pytest.raises(InputError, match="at most"):
        read(tmp_path / "big")


def test_a_mapping_takes_keys_from_another_and_its_own_win() -> None:
    text = """
a: &a {x: 1, y: 2}
b: &b {<<: *a, y: 3}
c: {y: 4, <<: *b, z: 5}
d: ["<<"]
"""
    found = _yaml.read(text, "study.yaml").value
    assert found["b"] == {"x": 1, "y": 3}
    assert found["c"] == {"x": 1, "y": 4, "z": 5}
    assert found["d"] == ["<<"]


DOUBLED = "{1}: &{1} {{<<: *{0}, <<: *{0}}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {<<: 3}", "expected one mapping after '<<'"),
        ("a: &a {<<: *a}", "nested at most 24 deep"),
        ("a: &a {x: 1}\n" + "\n".join(DOUBLED.format(*pair) for pair in pairwise("abcdefghijklmnopqrs")), "20,000"),
    ],
)
def test_what_is_taken_cannot_explode_either(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        _yaml.read(text, "study.yaml")


def test_aliases_cannot_explode() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)
    )
    with pytest.raises(InputError, match="20,000 values"):
        _yaml.read(bomb, "bomb")


def test_scalars_follow_yaml_1_2() -> None:
    found = _yaml.read("[1e-3, no, off, 0x1f, 1:30, 2020-01-01, ~, true, '5', 1_000, -.5, yes]", "x").value
    assert found == [0.001, "no", "off", "0x1f", "1:30", "2020-01-01", None, True, "5", 1000, -0.5, "yes"]
