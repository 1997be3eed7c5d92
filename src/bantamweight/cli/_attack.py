"""`bantam attack`: how many images a model still gets right under attack."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
    from bantamweight.oracle import Access, Oracle
    from bantamweight.variants import Variant

__all__ = ["attack"]

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
    protocol: Annotated[str, typer.Option("--protocol", help="fast, autoattack, or another.")] = "fast",
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
    batch: Annotated[int, typer.Option("--batch", help="Rows in play at once, at the most; changes no verdict.")] = 256,
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

    if audit < 0:
        raise InputError(f"expected an audit of 0 or more survivors, got {audit}")
    level = _choice("--checks", checks, ("probe", "full", "none"))
    gradients = None if precision is None else _choice("--precision", precision, ("fp32", "bf16"))
    variant = named_model(model, weights, classes, size, channels, trust)
    _, chosen, names = judged_images(variant, data, split=split, n=n, trust=trust)
    plan = with_settings(attack or protocol, settings)
    judged: Variant | Oracle = variant
    if device != "auto" and (self_test or artifact is not None):
        raise InputError("a self-test, and an exported file, run on the processor; leave out --device")
    if artifact is not None:
        if gradients is not None or self_test:
            raise InputError("an exported file is attacked in fp32 and as it is; leave out --precision and --self-test")
        judged = _shipped(variant, artifact, f"{norm} {eps or 'unbounded'}", plan if attack else None, trust)
        # Checks look at gradients, which an attack on the file's own scores has none of.
        level = level if judged.access == "white" else "none"
    if self_test:
        if eps in (None, "inf", "unbounded") or targeted is not None or audit or out is not None:
            raise InputError(
                "a self-test plants images at an eps, of any other class, and leaves nothing behind: give --eps, leave "
                "out --targeted, --audit and --out"
            )
        _tell_planted(_planted(variant, chosen, f"{norm} {eps}", plan, attack is not None, seed, trust), as_json)
        return
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
            f"{norm} {eps or 'unbounded'}",
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
    typer.echo(json.dumps(said) if as_json else "\n".join(_sentences(said)))


def _shipped(variant: Variant, artifact: Path, against: str, single: dict[str, Any] | None, trust: bool) -> Oracle:
    """The file as judge; an attack that needs no gradient asks the file itself, any other a form that has one."""
    from bantamweight.machine import describe
    from bantamweight.parts import configure
    from bantamweight.recipes.attack import threat
    from bantamweight.recipes.shipped import shipped_oracle

    made = None if single is None else configure("attacks", single, trust=trust).make(threat(against))
    access: Access = made.access if made is not None and made.access in ("score", "decision") else "white"
    return shipped_oracle(variant, artifact, access=access, threads=describe().cores, trust=trust)


def _planted(
    variant: Variant, chosen: Split, against: str, plan: dict[str, Any], single: bool, seed: int, trust: bool
) -> SelfTest:
    """What the attack finds of adversarial points that are known to be there."""
    from bantamweight.attacks._selftest import self_test
    from bantamweight.parts import configure
    from bantamweight.recipes.attack import threat
    from bantamweight.variants import build

    budget = threat(against)
    method = configure("attacks" if single else "protocols", plan, trust=trust).make(budget)
    return self_test(build(variant, trust=trust), chosen.floats(), chosen.labels, budget, method, seed=seed)


def _tell_planted(found: SelfTest, as_json: bool) -> None:
    low, high = found.interval
    counts = {"asked": found.asked, "planted": found.planted, "found": found.found, "lucky": found.lucky}
    said = {**counts, "low": low, "high": high}
    typer.echo(json.dumps(said) if as_json else f"{found}; {low:.1%} to {high:.1%} at 95%")


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


def _sentences(said: Mapping[str, Any]) -> Iterator[str]:
    """The answer as a person would want to read it."""
    n, clean, robust = said["n"], said["clean"]["correct"], said["robust"]
    under = f"under {said['threat']} by {said['protocol']}"
    stood = f"{robust['correct']} never became what was aimed for" if said["targeted"] else robust["correct"]
    yield f"{clean} of {n} images are right before, {stood} {under}"
    if said["left_out"]:
        yield f"{said['left_out']} more are of the class that was aimed for, and left out"
    share = "right, and never the target" if said["targeted"] else "robust accuracy"
    yield f"{share} {robust['correct'] / n:.1%} ({robust['low']:.1%} to {robust['high']:.1%} at 95%)"
    if "distance" in said:
        distance = said["distance"]
        ends = [f"{distance[key]:.4g}" if distance[key] is not None else "more" for key in ("median", "low", "high")]
        yield f"median distance {ends[0]} ({ends[1]} to {ends[2]} at 95%)"
    for part in said["attacks"]:
        yield (
            f"  {part['name']:<20} broke {part['broken']:>5} of {part['given']:<5}"
            f" {part['forwards']:>9,} forwards {part['backwards']:>9,} backwards {part['seconds']:>7.1f} s"
        )
    for check in said["checks"]:
        if check["state"] == "fail":
            yield f"FAIL  {check['name']}: {check['detail']}"
    if said["checks"]:
        states = [check["state"] for check in said["checks"]]
        absent = f", {states.count('did not run')} did not run" if "did not run" in states else ""
        yield f"{states.count('pass')} of {len(states)} checks passed{absent}"
    if said["audit"]:
        audit = said["audit"]
        yield (
            f"audit: {audit['broken']} of {audit['n']} survivors broken by the reference ensemble: "
            f"at 95% at most {audit['bound']:.1%} of survivors"
        )
    if said["escalated"]:
        yield f"escalated to the reference ensemble: {said['escalated']}"
    yield f"{said['seconds']:.1f} s; verdicts and images in {said['folder']}"
