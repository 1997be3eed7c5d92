"""What a study may say, block by block: frozen models, nothing extra allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, model_validator

from bantamweight.errors import InputError
from bantamweight.parts import Part, configure, number, settings
from bantamweight.recipes import FINETUNE

__all__ = [
    "AnatomyBlock",
    "AttackBlock",
    "CombineBlock",
    "CompressBlock",
    "ExplainBlock",
    "ExplainCost",
    "InversionBlock",
    "Latency",
    "MinimumEps",
    "MinimumNorm",
    "Finetune",
    "Recipe",
    "RecommendBlock",
    "recipe_of",
    "Sensitivity",
    "Sizes",
    "Study",
    "TrainBlock",
    "Transfer",
]

MOST_NAME = 60


def _listed(value: Any) -> Any:
    """A single value as a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def _part(room: str) -> Callable[[Any, ValidationInfo], Part]:
    def check(value: Any, info: ValidationInfo) -> Part:
        return configure(room, value, trust=bool((info.context or {}).get("trust")))

    return check


def _threat(value: Any, info: ValidationInfo) -> Part:
    """`linf 8/255` or `{use: linf, eps: 8/255}`."""
    if isinstance(value, str):
        norm, _, eps = value.strip().partition(" ")
        if not eps.strip():
            raise InputError(f"expected a threat as NORM EPS, for example 'linf 8/255', got {value[:40]!r}")
        budget = number(eps.strip())
        try:
            value = {"use": norm, "eps": float(budget)}
        except ValueError:
            raise InputError(f"expected a number for eps in {value[:40]!r}, for example 'linf 8/255'") from None
    part = configure("threats", value, trust=bool((info.context or {}).get("trust")))
    part.make()  # the range of eps is the threat's own knowledge
    return part


def _slug(value: Any) -> Any:
    if isinstance(value, str) and (not value or len(value) > MOST_NAME or set(value) - _ALLOWED or value[0] in ".-"):
        raise InputError(
            f"expected a name of letters, digits, '_', '-' and '.', at most {MOST_NAME}, got {value[:60]!r}"
        )
    return value


_ALLOWED = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")

Number = Annotated[float, BeforeValidator(number)]
Slug = Annotated[str, BeforeValidator(_slug)]
Many = BeforeValidator(_listed)
Selector = Annotated[tuple[str, ...], Many, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31, strict=True)], ...], Many, Field(min_length=1)]
Sparsity = Annotated[Number, Field(gt=0, lt=1)]
Sparsities = Annotated[tuple[Sparsity, ...], Many, Field(min_length=1)]
Shares = Annotated[tuple[Annotated[Number, Field(ge=0, lt=1)], ...], Many, Field(min_length=1)]
Budgets = Annotated[tuple[Annotated[Number, Field(gt=0)], ...], Many, Field(min_length=1)]
Data = Annotated[Part, BeforeValidator(_part("data"))]
Criterion = Annotated[Part, BeforeValidator(_part("compression"))]
Attack = Annotated[Part, BeforeValidator(_part("attacks"))]
Protocol = Annotated[Part, BeforeValidator(_part("protocols"))]
Explainer = Annotated[Part, BeforeValidator(_part("explainers"))]
Metric = Annotated[Part, BeforeValidator(_part("metrics"))]
Runtime = Annotated[Part, BeforeValidator(_part("runtimes"))]
Threat = Annotated[Part, BeforeValidator(_threat)]

NO_TARGET = "none"
DENSE, ALL = ("*",), ("**",)


class _Block(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )


class Recipe(_Block):
    """How a net is trained: every further key is a setting of `training.train`, checked by `recipe_of`.

    `teacher` names the variant that an objective such as `distill` or `rslad` learns from.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    seeds: Seeds = (0,)
    teacher: str | None = None


class TrainBlock(Recipe):
    """One architecture trained from scratch (`model`), or a finished model read from a file (`load`)."""

    model: str | dict[str, Any] | None = None
    load: str | None = None
    name: Slug | None = None


class Finetune(Recipe):
    """Training after a cut; what was cut stays zero. Unless said: Adam at a constant 1e-4 for 10 epochs.

    The teacher of an objective that has one is what was cut, unless somebody is named. `name` is the last step of the
    variant's name, so that two blocks can train the same cut in two ways.
    """

    name: Slug = "tuned"


RUNNING = frozenset({"seed", "resume", "masks", "folder", "progress", "accelerator", "devices", "keep", "begin"})
"""Settings of `training.train` that are the executor's business, not a study's."""


def recipe_model() -> type[BaseModel]:
    """The settings of `training.train` as a model that forbids anything else."""
    from bantamweight.training import train

    return settings(train)


def recipe_of(block: Recipe, *, trust: bool = False) -> dict[str, Any]:
    """A block's training settings, defaults included; parts are Part. Raises pydantic's ValidationError."""
    given = {**(FINETUNE if isinstance(block, Finetune) else {}), **(block.model_extra or {})}
    model = recipe_model()
    checked = model.model_validate(given, context={"trust": trust})
    return {key: getattr(checked, key) for key in model.model_fields if key not in RUNNING}


class CombineBlock(_Block):
    """A net that answers the average of the variants `of`; attacked, it is attacked as that."""

    name: Slug
    of: Annotated[tuple[str, ...], Many, Field(min_length=2, max_length=16)]


class CompressBlock(_Block):
    """Cuts of the selected variants by each criterion to each target, with and without fine-tuning.

    `sparsity` is short for a target of that kind; 0 cuts nothing, which makes a control that is trained as the others.
    `runtime` is where latency_ms (of one image) is measured: onnxruntime, unless said.
    """

    variants: Selector = DENSE
    use: Annotated[tuple[Criterion, ...], Many, Field(min_length=1)]
    sparsity: Shares | None = None
    target: dict[Literal["sparsity", "macs", "parameters", "size_bytes", "latency_ms"], Budgets] | None = None
    runtime: Runtime | None = None
    schedule: Literal["one-shot", "stepwise", "iterative", "gradual"] = "one-shot"
    rounds: Annotated[int, Field(ge=2, le=100, strict=True)] | None = None
    allocate: Literal["global", "per_layer", "funnel", "erk", "sensitivity", "greedy", "per_mac"] | None = None
    round_to: Annotated[int, Field(ge=1, le=1024, strict=True)] = 1
    skip: Annotated[tuple[str, ...], Many] = ()
    uncut: Literal["refuse", "say"] = "refuse"
    finetune: Finetune | None = None

    @model_validator(mode="after")
    def _one_target(self) -> CompressBlock:
        if (self.sparsity is None) is (self.target is None) or len(self.target or {"": ()}) != 1:
            raise InputError(
                "expected one target: sparsity, or target with one of macs, parameters, size_bytes, latency_ms"
            )
        if self.runtime is not None and "latency_ms" not in (self.target or {}):
            raise InputError("runtime says where latency_ms is measured; ask for that target, or leave it out")
        if self.schedule != "one-shot" and self.finetune is None:
            raise InputError(f"the schedule {self.schedule!r} trains what it cuts; add finetune")
        return self

    @property
    def points(self) -> tuple[tuple[str, float], ...]:
        """Every target as its kind and value."""
        if self.sparsity is not None:
            return tuple(("sparsity", share) for share in self.sparsity)
        return tuple((kind, value) for kind, values in (self.target or {}).items() for value in values)


class Transfer(_Block):
    """The block's adversarial images, made on `sources`, judged by `to`; of some threats and targets, or all."""

    sources: Selector = DENSE
    to: Selector = ALL
    n: Count | None = None
    threats: Annotated[tuple[Threat, ...], Many] | None = None
    targets: Annotated[tuple[str, ...], Many] | None = None


class AttackBlock(_Block):
    """Every selected variant x attack x threat x target, and every variant x protocol x threat x `targeted`.

    `until`, `targets` and `keep` are about the attacks of `use`; `targeted` (a class, least-likely, all), `audit`,
    `checks` and `warm` (begin with the parent's adversarial images) about a protocol, whose images are all kept.
    """

    variants: Selector = ALL
    use: Annotated[tuple[Attack, ...], Many] = ()
    protocol: Annotated[tuple[Protocol, ...], Many] = ()
    threats: Annotated[tuple[Threat, ...], Many, Field(min_length=1)]
    targets: Annotated[tuple[str, ...], Many, Field(min_length=1)] = (NO_TARGET,)
    targeted: Annotated[tuple[str, ...], Many, Field(min_length=1)] = (NO_TARGET,)
    audit: Annotated[int, Field(ge=0, strict=True)] = 0
    checks: Literal["probe", "full", "none"] = "probe"
    warm: bool = True
    n: Count | None = None
    split: str | None = None
    seeds: Seeds = (0,)
    until: Literal["first", "budget"] = "budget"
    precision: Literal["fp32", "bf16"] = "fp32"
    keep: Annotated[int, Field(ge=0, strict=True)] = 64
    transfer: Transfer | None = None

    @model_validator(mode="after")
    def _meant(self) -> AttackBlock:
        """Refuse settings that nothing in the block would listen to."""
        if not self.use and not self.protocol:
            raise InputError("expected 'use' (attacks) or 'protocol' (fast, autoattack), got neither; add one")
        if self.protocol and "until" in self.model_fields_set:
            raise InputError("a protocol ends at an image's first success; leave 'until' to a block with 'use' alone")
        for key in ("targets", "keep"):
            if not self.use and key in self.model_fields_set:
                instead = "; a protocol takes 'targeted'" if key == "targets" else "; a protocol keeps every image"
                raise InputError(f"{key!r} belongs to the attacks of 'use'{instead}")
        for key in ("audit", "checks", "targeted", "warm"):
            if not self.protocol and key in self.model_fields_set:
                raise InputError(f"{key!r} belongs to a protocol; add one, for example 'protocol: fast'")
        return self


class Drift(_Block):
    """The noise floor that movement of maps is held against: `draws` of noise within `noise` of each pixel."""

    draws: Annotated[int, Field(ge=1, le=64, strict=True)] = 3
    noise: Annotated[Number, Field(gt=0, lt=1)] = 0.5 / 255


class ExplainBlock(_Block):
    """Maps of clean and attacked images, per variant: a gallery of `show` images and figures over `n`.

    `metrics` scores the clean maps beside baselines; `drift` tests whether the gaze moved.
    """

    variants: Selector = ALL
    use: Annotated[tuple[Explainer, ...], Many, Field(min_length=1)]
    attack: Attack | None = None
    threat: Threat | None = None
    target: str = NO_TARGET
    n: Count = 64
    show: Annotated[int, Field(ge=2, le=64, strict=True)] = 6
    split: str | None = None
    metrics: Annotated[tuple[Metric, ...], Many] = ()
    drift: Drift | None = None


class Sizes(_Block):
    """Parameters, MACs, non-zeros, and bytes of every format."""

    use: Literal["sizes"]
    variants: Selector = ALL


class Latency(_Block):
    """Interleaved timing of the selected variants on each runtime."""

    use: Literal["latency"]
    variants: Selector = ALL
    runtimes: Annotated[tuple[Runtime, ...], Many, Field(min_length=1)]
    batches: Annotated[tuple[Count, ...], Many, Field(min_length=1)] = (1, 16)
    runs: Annotated[int, Field(ge=20, le=100_000, strict=True)] = 100
    warmups: Annotated[int, Field(ge=0, le=1_000, strict=True)] = 10


class Sensitivity(_Block):
    """Accuracy when one layer alone is cut to each sparsity."""

    use: Literal["sensitivity"]
    variants: Selector = DENSE
    criterion: Criterion
    sparsity: Sparsities
    n: Count | None = None
    split: str | None = None


class MinimumEps(_Block):
    """The smallest eps that breaks each image, up to the threat's, and the median of them."""

    use: Literal["minimum_eps"]
    variants: Selector = ALL
    attack: Attack
    threat: Threat
    rounds: Annotated[int, Field(ge=1, le=24, strict=True)] = 8
    n: Count = 128
    split: str | None = None
    seeds: Seeds = (0,)


class MinimumNorm(_Block):
    """The smallest perturbation of each image that a minimum-norm attack finds: distances, and accuracy against eps."""

    use: Literal["minimum_norm"]
    variants: Selector = ALL
    attack: Attack
    norm: Literal["linf", "l2", "l1", "l0"]
    n: Count = 128
    show: Annotated[int, Field(ge=0, le=64, strict=True)] = 12
    split: str | None = None
    seeds: Seeds = (0,)


class ExplainCost(_Block):
    """What maps cost: time in the net and outside it, passes, and memory beyond plain inference."""

    use: Literal["explain_cost"]
    variants: Selector = DENSE
    explainers: Annotated[tuple[Explainer, ...], Many, Field(min_length=1)]
    batches: Annotated[tuple[Count, ...], Many, Field(min_length=1)] = (1, 8, 32)
    sizes: Annotated[tuple[Annotated[int, Field(ge=8, le=1024, strict=True)], ...], Many] = ()
    runs: Annotated[int, Field(ge=6, le=1_000, strict=True)] = 7


class InversionBlock(_Block):
    """What an early, a middle and a late layer still know of `n` images."""

    use: Literal["inversion"]
    variants: Selector = DENSE
    n: Annotated[int, Field(ge=1, le=256, strict=True)] = 4
    steps: Annotated[int, Field(ge=3, le=10_000, strict=True)] = 200
    restarts: Annotated[int, Field(ge=1, le=64, strict=True)] = 1
    split: str | None = None


class AnatomyBlock(_Block):
    """A net layer by layer: counts, receptive fields, times under the roof, and the memory of training on `batch`."""

    use: Literal["anatomy"]
    variants: Selector = DENSE
    batch: Count = 32
    optimizer: Literal["sgd", "momentum", "adamw"] = "adamw"


Measure = Annotated[
    Sizes | Latency | Sensitivity | MinimumEps | MinimumNorm | ExplainCost | InversionBlock | AnatomyBlock,
    Field(discriminator="use"),
]


Scenario = Literal["mobile", "edge", "cloud", "high-security"]


class RecommendBlock(_Block):
    """Which variant to ship in each scenario, and by which attack robustness is judged."""

    variants: Selector = ALL
    scenarios: Annotated[tuple[Scenario, ...], Many, Field(min_length=1)] = get_args(Scenario)
    attack: Attack | None = None
    threat: Threat | None = None
    frame_ms: Annotated[Number, Field(gt=0)] = 33.0
    most_bytes: Count | None = None
    margin: Annotated[Number, Field(gt=0, lt=1)] = 0.05


class Study(_Block):
    """A whole study: what is trained, compressed, attacked, explained, measured and claimed."""

    study: Slug
    title: str = ""
    about: str = ""
    data: Data
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)] = 0
    threads: Annotated[int, Field(ge=1, le=1024, strict=True)] | None = None
    train: Annotated[tuple[TrainBlock, ...], Many, Field(min_length=1)]
    compress: Annotated[tuple[CompressBlock, ...], Many] = ()
    combine: Annotated[tuple[CombineBlock, ...], Many] = ()
    attack: Annotated[tuple[AttackBlock, ...], Many] = ()
    explain: Annotated[tuple[ExplainBlock, ...], Many] = ()
    measure: Annotated[tuple[Measure, ...], Many] = ()
    recommend: RecommendBlock | None = None
    gates: Annotated[tuple[str, ...], Many] = ()
