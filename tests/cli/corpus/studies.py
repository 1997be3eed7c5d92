"""Studies and overrides that can't be meant, and studies from strangers that would like to run something."""

from __future__ import annotations

from tests.cli.corpus.desk import Case, Cases

__all__ = ["CASES"]

GOOD = "study: a\ndata: digits\ntrain: {model: mlp, epochs: 1}\n"
ATTACK = "attack:\n  - {use: %s, threats: linf 0.1}\n"


def study(text: str, said: str) -> Case:
    """A whole study that is refused."""
    return Case(lambda desk: ["run", desk.study(text)], said)


def also(text: str, said: str) -> Case:
    """A good study with something more, which is wrong."""
    return study(GOOD + text, said)


def override(line: str, said: str) -> Case:
    """A good study with a wrong `--set`."""
    return Case(lambda desk: ["run", desk.study(GOOD), "--set", line], said)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

TEXTS: Cases = {
    "no study of that name": Case(lambda _: ["run", "digit"], r"there is no study 'digit'.* did you mean 'digits'\?"),
    "a folder as a study": Case(lambda desk: ["run", str(desk.path)], "expected a study file, .* is a folder"),
    "an empty study": study("", r"study\.yaml: expected a study, got an empty file"),
    "only comments": study("# nothing\n", "expected a study, got an empty file"),
    "a study of bytes": Case(
        lambda desk: ["run", desk.file("s.yaml", b"\x89PNG\xff\xfe\0")], "expected a study in UTF-8"
    ),
    "a study with control characters": study("study: a\x00b\n", "not valid YAML"),
    "a list as a study": study("- study\n- digits\n", "expected a study as keys and values, got list"),
    "a word as a study": study("digits\n", "expected a study as keys and values, got str"),
    "broken YAML": study("study: a\ntrain: [model: mlp\ndata: digits\n", r"study\.yaml, line \d: not valid YAML"),
    "tabs in YAML": study("study: a\n\tdata: digits\n", "line 2: not valid YAML"),
    "two documents": study(f"{GOOD}---\n{GOOD}", "line 4: not valid YAML"),
    "a key twice": study(f"{GOOD}data: digits\n", "line 4: the key 'data' is given twice"),
    "an alias bomb": study(BOMB, r"at most 20,000 values nested at most 24 deep"),
    "a study without end": study(f"study: {'x' * 1_100_000}\n", "expected a study of at most 1,000,000 bytes"),
    "lists in lists in lists": study(f"study: {'[' * 3000}\n", "not (valid|readable as) YAML"),
    "an object in YAML": study(
        GOOD + 'about: !!python/object/apply:os.system ["touch executed"]\n', r"line 4: tags are not allowed in a study"
    ),
}


def hardened(settings: str, said: str) -> Case:
    """A training against attack, or with compression inside, that can't be meant."""
    return study(f"study: a\ndata: digits\ntrain: {{model: mlp, epochs: 2, {settings}}}\n", said)


HARDENED: Cases = {
    "an eps above 1": hardened("objective: {use: pgd_at, threat: linf 1.5}", "eps"),
    "an adversary without an eps": hardened("objective: {use: pgd_at, threat: linf}", "eps"),
    "a schedule of eps that never ends": hardened("compress: {use: admm, sparsity: 0.5, end: 1.5}", "end: .*1"),
    "a cut that ends before it begins": hardened(
        "compress: {use: admm, sparsity: 0.5, begin: 0.8, end: 0.4}",
        "train.0.compress: expected an end after the beginning",
    ),
    "nothing kept": hardened("compress: {use: admm, sparsity: 1}", "sparsity: .*less than 1"),
    "a scheme of channels inside training": hardened(
        "compress: {use: admm, sparsity: 0.5, scheme: l1_channels}", "l1_channels can't cut during training"
    ),
    "a scheme that reaches another sparsity": hardened(
        "compress: {use: admm, sparsity: 0.8, scheme: two_four}", "cuts to a sparsity of 0.5 and no other"
    ),
    "a student without a teacher": hardened(
        "objective: {use: rslad, threat: linf 0.1}", "train.0: rslad.* learns from a teacher; name a net"
    ),
    "a teacher that is not there": hardened(
        "teacher: resnet, objective: {use: rslad, threat: linf 0.1}", "train.0.teacher: no variant is called 'resnet'"
    ),
    "robust accuracy of a natural training": hardened("monitor: robust_accuracy", "needs an adversarial objective"),
    "a weight perturbation of nothing": hardened("objective: {use: awp, objective: standard}", "awp needs an advers"),
}

STRANGERS: Cases = {
    "an attack that is os.system": also(ATTACK % "os:system", "'os:system' would run code from outside .* --trust"),
    "a model that is os.system": study(
        'study: a\ndata: digits\ntrain: {model: {use: "os:system", command: touch executed}, epochs: 1}\n',
        "'os:system' would run",
    ),
    "data that are os.system": study(
        'study: a\ndata: {use: "os:system", command: touch executed}\ntrain: {model: mlp, epochs: 1}\n',
        "'os:system' would run",
    ),
    "a criterion that is os.system": also("compress: {use: 'os:system', sparsity: 0.5}\n", "compress"),
    "an optimizer that is os.system": study(
        "study: a\ndata: digits\ntrain: {model: mlp, epochs: 1, optimizer: 'os:system'}\n", "'os:system' would run code"
    ),
    "a runtime that is os.system": also(
        "measure:\n  - {use: latency, runtimes: 'os:system'}\n", "'os:system' would run code"
    ),
    "a module of ours by its path": also(ATTACK % "'bantamweight.cli:main'", "would run code .* pass --trust"),
    "a name that leaves the results": study(GOOD.replace("study: a", "study: ../../a"), "expected a name of letters"),
}

SETTINGS: Cases = {
    "an unknown block": also("atack: []\n", r"line 4: the study has no setting 'atack'; did you mean 'attack'\?"),
    "a missing block": study("study: a\ndata: digits\n", "the study needs 'train'"),
    "an unknown setting": study(GOOD.replace("epochs", "epoch"), r"line 3: train.*no setting 'epoch'; did you mean"),
    "an attack with a slip": also(
        ATTACK % "pdg", r"line \d: attack\.0\.use.*'pdg' is not in attacks; did you mean 'pgd'\?"
    ),
    "a setting of an attack with a slip": also(
        ATTACK % "{use: pgd, step: 4}", r"pgd has no setting 'step'; did you mean"
    ),
    "an attack without steps": also(ATTACK % "{use: pgd, steps: 0}", "steps"),
    "words for a number": study(GOOD.replace("epochs: 1", "epochs: many"), r"train.0.epochs: .*got \"many\""),
    "a list for a word": study(GOOD.replace("study: a", "study: [a]"), r"line 1: study: .*string"),
    "negative epochs": study(GOOD.replace("epochs: 1", "epochs: -1"), "epochs"),
    "no epochs": study(GOOD.replace("epochs: 1", "epochs: 0"), "epochs"),
    "a rate that is no number": study(GOOD.replace("epochs: 1", "epochs: 1, rate: .nan"), "rate"),
    "a negative rate": study(GOOD.replace("epochs: 1", "epochs: 1, rate: -1"), "rate"),
    "a batch of none": study(GOOD.replace("epochs: 1", "epochs: 1, batch: 0"), "batch"),
    "an optimizer whose betas can't be": study(
        GOOD.replace("epochs: 1", "epochs: 1, optimizer: {use: adam, betas: [1.5, 0.9]}"),
        r"train.0.optimizer: adam.betas.0: input should be less than 1, got 1.5",
    ),
    "an optimizer that contradicts itself": study(
        GOOD.replace("epochs: 1", "epochs: 1, optimizer: {use: sgd, momentum: 0, nesterov: true}"),
        r"train.0.optimizer: expected a momentum above 0 with nesterov",
    ),
    "an optimizer with a slip": study(
        GOOD.replace("epochs: 1", "epochs: 1, optimizer: adamm"), r"'adamm' is not in optimizers; did"
    ),
    "an augmentation with a slip": study(GOOD.replace("epochs: 1", "epochs: 1, augment: [flipp]"), "flipp"),
    "a threat without eps": also("attack: {use: pgd, threats: linf}\n", "expected a threat as NORM EPS"),
    "a threat that divides by zero": also("attack: {use: pgd, threats: linf 8/0}\n", "expected a number for eps"),
    "a negative eps": also("attack: {use: pgd, threats: linf -0.1}\n", "eps"),
    "an eps beyond the box": also("attack: {use: pgd, threats: linf 255}\n", "eps"),
    "an unknown norm": also(
        "attack: {use: pgd, threats: linff 0.1}\n", r"'linff' is not in threats; did you mean 'linf'\?"
    ),
    "an unknown target": also(
        "attack: {use: pgd, threats: linf 0.1, targets: basketball}\n", r"attack\.0: 'basketball' is not a class"
    ),
    "an attack on no images": also(
        "attack: {use: pgd, threats: linf 0.1, n: 0}\n", r"attack\.0\.n.*greater than or equal"
    ),
    "an attack on a split that is missing": also(
        "attack: {use: pgd, threats: linf 0.1, split: tests}\n", r"no split 'tests'; did you mean 'test'\?"
    ),
    "a cut of everything": also("compress: {use: magnitude, sparsity: 1.0}\n", r"sparsity.*less than 1, got 1\.0"),
    "a cut below nothing": also(
        "compress: {use: magnitude, sparsity: -0.1}\n", r"sparsity.*greater than or equal to 0"
    ),
    "a cut to nothing in particular": also("compress: {use: magnitude}\n", "expected one target"),
    "a cut to two targets": also(
        "compress: {use: l1_channels, sparsity: 0.5, target: {macs: 0.5}}\n", "expected one target"
    ),
    "a cut to an unknown target": also("compress: {use: l1_channels, target: {mac: 0.5}}\n", "target"),
    "a cut that leaves all MACs": also("compress: {use: l1_channels, target: {macs: 1.0}}\n", "model as it is"),
    "zeros that lower MACs": also("compress: {use: magnitude, target: {macs: 0.5}}\n", "lowers no macs"),
    "an unknown schedule": also("compress: {use: magnitude, sparsity: 0.5, schedule: gradually}\n", "gradual"),
    "a schedule without training": also(
        "compress: {use: magnitude, sparsity: 0.5, schedule: iterative}\n", "trains what it cuts; add finetune"
    ),
    "a teacher there is not": also(
        "compress: {use: magnitude, sparsity: 0.5, finetune: {objective: distill, teacher: nett}}\n",
        "no variant is called 'nett'",
    ),
    "a teacher of nobody": also(
        "compress: {use: magnitude, sparsity: 0.5, finetune: {teacher: net}}\n", "has no use for a teacher"
    ),
    "a cut by an unknown allocation": also(
        "compress: {use: magnitude, sparsity: 0.5, allocate: globl}\n", r"'globl' is not known; did you mean 'global'\?"
    ),
    "variants that are not there": also(
        "attack: {use: pgd, threats: linf 0.1, variants: cnn}\n", r"attack\.0: no variant is called 'cnn'"
    ),
    "no variant left": also(
        "attack: {use: pgd, threats: linf 0.1, variants: ['*', '!mlp']}\n", "no variant is left by"
    ),
    "a transfer from nowhere": also(
        "attack: {use: pgd, threats: linf 0.1, transfer: {sources: cnn}}\n", r"transfer\.sources: no variant is called"
    ),
    "maps of an attack without a threat": also(
        "explain: {use: gradient, attack: pgd}\n", "expected both 'attack' and 'threat'"
    ),
    "a measure that is unknown": also("measure: [{use: speed}]\n", "expected 'use' to be one of .*'latency'"),
    "too few timings": also("measure: [{use: latency, runtimes: torch, runs: 3}]\n", "greater than or equal to 20"),
    "the same net twice": study(
        "study: a\ndata: digits\ntrain: [{model: mlp, epochs: 1}, {model: mlp, epochs: 2}]\n",
        "give one of them a 'name'",
    ),
    "neither model nor load": study(
        "study: a\ndata: digits\ntrain: [{epochs: 1}]\n", "expected either 'model' .* or 'load'"
    ),
    "a model that is not there": study("study: a\ndata: digits\ntrain: {load: no/such.pt2}\n", r"no/such\.pt2"),
    "a net with a slip": study(
        "study: a\ndata: digits\ntrain: {model: mlpp, epochs: 1}\n", r"'mlpp' is not in models; did you mean"
    ),
    "a net that can't take the images": study(
        "study: a\ndata: {use: digits, size: 2}\ntrain: {model: small_cnn, epochs: 1}\n", "expected images of 8 to 1024"
    ),
    "a word for a block": also("attack: pgd\n", r"attack\.0: expected settings as keys and values, got \"pgd\""),
    "a net for other classes": study(
        GOOD.replace("model: mlp", "model: {use: mlp, classes: 7}"),
        r"train\.0\.model: expected classes 10, as the data have, got 7; leave it out",
    ),
    "a scenario that there is none of": also(
        "recommend: {scenarios: clod}\n", r"'clod' is not known; did you mean 'cloud'\?"
    ),
    "two blocks for one variant": also(
        "compress:\n- {use: magnitude, sparsity: 0.5, finetune: {epochs: 1}}\n"
        "- {use: magnitude, sparsity: 0.5, finetune: {epochs: 2}}\n",
        "two blocks would make 'mlp/magnitude-0.5/tuned'",
    ),
    "a gate that is no sentence": also("gates: [accuracy is high]\n", "line 4: gates.0: expected a gate like"),
    "a gate on an unknown column": also(
        "gates: ['accuracy[spilt=test] > 0.5']\n", r"no column 'spilt'; did you mean 'split'"
    ),
    "a gate on an unknown number": also("gates: ['accuracy.lo > 0.5']\n", r"no number 'lo'; did you mean 'low'"),
    "a gate against a word": also("gates: ['accuracy > high']\n", "expected a number such as 0.3"),
    "a seed that is negative": also("seed: -1\n", "line 4: seed: .*greater than or equal to 0"),
}

OVERRIDES: Cases = {
    "an override without =": override("train.0.epochs", "expected KEY=VALUE with a dotted key"),
    "an override of nothing": override("=3", "expected KEY=VALUE with a dotted key"),
    "an override with a slip": override("train.0.epoch=2", r"--set train\.0\.epoch=2: .*did you mean 'epochs'\?"),
    "an override of an unknown block": override("trian.0.epochs=2", r"no trian; did you mean 'train'\?"),
    "an override beyond the end": override("train.3.epochs=2", "train"),
    "an override with a word as index": override("train.first.epochs=2", "first"),
    "an override of the wrong type": override("train.epochs=many", r"--set train\.epochs=many: .*integer"),
    "an override inside a word": override("study.name=x", "study"),
    "an override that is no YAML": override("title=[a", "not valid YAML"),
    "an override with code": override("data=os:system", "'os:system' would run code"),
}

CASES: Cases = {**TEXTS, **HARDENED, **STRANGERS, **SETTINGS, **OVERRIDES}
