"""`bantam attack`: how many images a model still gets right under attack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bantamweight.cli._attack_said import sentences
from bantamweight.cli._options import (
    ChannelsOption,
    ClassesOption,
    DataArgument,
    DeviceOption,
    JsonOption,
    ModelArgument,
    SizeOption,
    TrustOption,
    WeightsOption,
    named_model,
)
from bantamweight.cli._watched import counted
from bantamweight.errors import InputError, near

if TYPE_CHECKING:
    from bantamweight.attacks._selftest import SelfTest
    from bantamweight.data import Split
    from bantamweight.oracle import Access, Oracle, Precision
    from bantamweight.variants import Variant

__all__ = ["attack", "with_settings"]

BATCH = 256

NormOption = Annotated[str, typer.Option("--norm", help="linf, l2, l1 or l0.")]
EpsOption = Annotated[
    str | None,
    typer.Option(
        "--eps", help="The budget in pixels of [0, 1], such as 8/255; none: the smallest is sought (--attack ddn)."
    ),
]
SettingOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One setting of it.")]


def attack(
    model: ModelArgument,
    data: DataArgument,
    norm: NormOption = "linf",
    eps: EpsOption = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="fast (where nothing is said), autoattack, or another.")
    ] = None,
    attack: Annotated[str | None, typer.Option("--attack", help="One attack in place of a protocol.")] = None,
    settings: SettingOption = None,
    targeted: Annotated[str | None, typer.Option("--targeted", help="A class, least-likely, or all.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Only the first N images.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", metavar="RUN", help="Begin with the images an earlier attack left there.")
    ] = None,
    audit: Annotated[int, typer.Option("--audit", help="Survivors given to the reference ensemble.")] = 0,
    checks: Annotated[str, typer.Option("--checks", help="probe, full or none.")] = "probe",
    artifact: Annotated[
        Path | None,
        typer.Option(
            "--artifact",
            metavar="FILE",
            help="An exported .onnx of the model, which decides in its place; where a check fails, ask its scores too: "
            "--attack square.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where verdicts and images go.")] = None,
    batch: Annotated[
        int, typer.Option("--batch", help="Rows in play at once, at the most; changes no verdict.")
    ] = BATCH,
    seed: Annotated[int, typer.Option("--seed", help="Of every random number.")] = 0,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of gradients: fp32 or bf16 (default: what the processor has).")
    ] = None,
    device: DeviceOption = "auto",
    split: Annotated[str | None, typer.Option("--split", help="Default: test, else val, else everything.")] = None,
    weights: WeightsOption = None,
    classes: ClassesOption = None,
    size: SizeOption = None,
    channels: ChannelsOption = None,
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Plant adversarial images and count how many the attack finds.")
    ] = False,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Attack a model, and say how many images it still gets right and why that may be believed."""
    from bantamweight.recipes._campaign import adversarial
    from bantamweight.recipes.evaluate import judged_images
    from bantamweight.recipes.robustness import robustness
    from bantamweight.whole import put

    _refuse_empty({"--norm": norm, "--eps": eps, "--protocol": protocol, "--attack": attack})
    if protocol is not None and attack is not None:
        raise InputError("expected --protocol or --attack, got both; an attack stands in for a protocol: leave one out")
    if audit < 0:
        raise InputError(f"expected an audit of 0 or more survivors, got {audit}")
    level = _choice("--checks", checks, ("probe", "full", "none"))
    gradients = None if precision is None else _choice("--precision", precision, ("fp32", "bf16"))
    plan, against = with_settings(attack or protocol or "fast", settings), f"{norm} {eps or 'unbounded'}"
    if self_test:
        _refuse_beside_self_test(
            eps,
            {
                "--targeted": targeted is not None,
                "--from": source is not None,
                "--audit": audit > 0,
                "--checks": checks != "probe",
                "--artifact": artifact is not None,
                "--out": out is not None,
                "--batch": batch != BATCH,
                "--device": device != "auto",
            },
        )
    if artifact is not None and (gradients is not None or device != "auto"):
        raise InputError(
            "an exported file is attacked as it is, in fp32 and on the processor; leave out --precision and --device"
        )
    variant = named_model(model, weights, classes, size, channels, trust)
    _, chosen, names = judged_images(variant, data, split=split, n=n, trust=trust)
    if self_test:
        _tell_planted(_planted(variant, chosen, against, plan, attack is not None, gradients, seed, trust), as_json)
        return
    judged: Variant | Oracle = variant
    if artifact is not None:
        judged = _shipped(variant, artifact, against, plan if attack else None, trust)
        # Checks look at gradients, which an attack on the file's own scores has none of.
        level = level if judged.access == "white" else "none"
    starts = None if source is None else adversarial(source, chosen.images)
    question = (
        variant.hash,
        model,
        data,
        norm,
        eps,
        plan,
        targeted,
        n,
        split,
        None if starts is None else hashlib.blake2b(starts.contiguous().numpy().data).hexdigest(),
        audit,
        checks,
        precision,
        device,
        seed,
        None if artifact is None else hashlib.blake2b(artifact.read_bytes()).hexdigest(),
        _content(chosen),
    )
    with counted() as heard:
        answer = robustness(
            judged,
            chosen.images,
            chosen.labels,
            against,
            protocol=plan,
            attack=None if attack is None else plan,
            targets=_target(targeted, names),
            audit=audit,
            checks=level,
            escalate=artifact is None,
            starts=starts,
            precision=gradients,
            seed=seed,
            batch=batch,
            device=device,
            out=out or _home(question),
            classes=len(names),
            trust=trust,
            heard=heard,
        )
    said = {**answer.summary(), "classes": list(names)}
    assert answer.folder is not None
    put(answer.folder / "result.json", json.dumps(said, indent=1).encode())  # with the classes by name, as it is told
    typer.echo(json.dumps(said) if as_json else "\n".join(sentences(said)))


def _shipped(variant: Variant, artifact: Path, against: str, single: dict[str, Any] | None, trust: bool) -> Oracle:
    """The file as judge; an attack that needs no gradient asks the file itself, any other a form that has one."""
    from bantamweight.machine import describe
    from bantamweight.parts import configure
    from bantamweight.recipes.attack import threat
    from bantamweight.recipes.shipped import shipped_oracle

    made = None if single is None else configure("attacks", single, trust=trust).make(threat(against))
    access: Access = made.access if made is not None and made.access in ("score", "decision") else "white"
    return shipped_oracle(variant, artifact, access=access, threads=describe().cores, trust=trust)


def _refuse_empty(given: Mapping[str, str | None]) -> None:
    """An option that was given without a word is a slip, and no wish for its default."""
    wanted = {
        "--norm": "linf, l2, l1 or l0",
        "--eps": "a budget such as 8/255",
        "--protocol": "a protocol such as fast",
        "--attack": "an attack such as pgd",
    }
    for option, said in given.items():
        if said is not None and not said.strip():
            raise InputError(f"expected {option} to be {wanted[option]}, got {said!r}; say which, or leave it out")


def _refuse_beside_self_test(eps: str | None, beside: Mapping[str, bool]) -> None:
    """What a self-test does not do, option by option: none is taken and then ignored."""
    why = "a self-test plants images at an eps, of any other class, in the model itself, and leaves nothing behind"
    if eps is None or eps.strip() in ("inf", "unbounded"):
        raise InputError(f"{why}: give --eps, such as 8/255")
    given = [option for option, there in beside.items() if there]
    if given:
        raise InputError(f"{why}: leave out {', '.join(given)}")


def _planted(
    variant: Variant,
    chosen: Split,
    against: str,
    plan: dict[str, Any],
    single: bool,
    precision: Precision | None,
    seed: int,
    trust: bool,
) -> SelfTest:
    """What the attack finds of adversarial points that are known to be there."""
    import torch

    from bantamweight.attacks._selftest import self_test
    from bantamweight.parts import configure
    from bantamweight.recipes._precision import gradient_precision
    from bantamweight.recipes.attack import threat
    from bantamweight.variants import build

    budget = threat(against)
    method = configure("attacks" if single else "protocols", plan, trust=trust).make(budget)
    net, gradients = build(variant, trust=trust), gradient_precision(precision, torch.device("cpu"))
    return self_test(net, chosen.floats(), chosen.labels, budget, method, precision=gradients, seed=seed)


def _tell_planted(found: SelfTest, as_json: bool) -> None:
    low, high = found.interval
    counts = {"asked": found.asked, "planted": found.planted, "found": found.found, "lucky": found.lucky}
    said = {**counts, "low": low, "high": high, "telling": found.telling}
    doubt = "" if found.telling else f"; to find these proves nothing: {found.doubt}"
    typer.echo(json.dumps(said) if as_json else f"{found}; {low:.1%} to {high:.1%} at 95%{doubt}")


def _target(targeted: str | None, names: Sequence[str]) -> Any:
    if targeted is None or targeted in ("least-likely", "all"):
        return targeted
    if targeted not in names:
        raise InputError(f"{targeted!r} is not a class of the data{near(targeted, [*names, 'least-likely', 'all'])}")
    return names.index(targeted)


def _choice(option: str, given: str, known: Sequence[str]) -> Any:
    if given not in known:
        raise InputError(f"expected {option} to be one of {', '.join(known)}, got {given!r}{near(given, known)}")
    return given


def with_settings(name: str, settings: Sequence[str] | None) -> dict[str, Any]:
    """A part by name with `key=value` settings, as a study would write it.

    >>> with_settings("pgd", ["steps=40"])
    {'use': 'pgd', 'steps': 40}
    """
    import yaml

    spec: dict[str, Any] = {"use": name}
    for setting in settings or ():
        key, equals, value = setting.partition("=")
        if not equals or not key.strip() or key.strip() == "use":
            raise InputError(f"expected --set KEY=VALUE of a setting, such as steps=40, got {setting!r}")
        if key.strip() in spec:
            raise InputError(f"expected one value of {key.strip()!r}, got another in {setting!r}; leave one out")
        try:
            spec[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"expected a plain value in --set {setting!r}; quote it if it is text") from error
    return spec


def _content(chosen: Split) -> str:
    """Other images make another question, whatever the folder they lie in is called."""
    found = hashlib.blake2b(chosen.images.contiguous().numpy().data)
    found.update(chosen.labels.contiguous().numpy().data)
    return found.hexdigest()


def _home(question: Sequence[Any]) -> Path:
    """A folder of its own for every question, so that asking again goes on where it stopped."""
    import os

    name = hashlib.blake2b(repr(question).encode(), digest_size=8).hexdigest()
    return Path(os.environ.get("BANTAM_STORE") or ".bantam") / "attacks" / name
