"""What a study may say, block by block: frozen models, nothing extra allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from bantamweight.errors import InputError
from bantamweight.parts import Part, configure, number, settings
from bantamweight.recipes import FINETUNE

__all__ = [
    "AttackBlock",
    "CompressBlock",
    "ExplainBlock",
    "Latency",
    "MinimumEps",
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
Data = Annotated[Part, BeforeValidator(_part("data"))]
Criterion = Annotated[Part, BeforeValidator(_part("compression"))]
Attack = Annotated[Part, BeforeValidator(_part("attacks"))]
Explainer = Annotated[Part, BeforeValidator(_part("explainers"))]
Runtime = Annotated[Part, BeforeValidator(_part("runtimes"))]
Threat = Annotated[Part, BeforeValidator(_threat)]

NO_TARGET = "none"
DENSE, ALL = ("*",), ("**",)


class _Block(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=()
    )


class Recipe(_Block):
    """How a net is trained: every further key is a setting of `training.train`, checked by `recipe_of`."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    seeds: Seeds = (0,)


class TrainBlock(Recipe):
    """One architecture trained from scratch (`model`), or a finished model read from a file (`load`)."""

    model: str | dict[str, Any] | None = None
    load: str | None = None
    name: Slug | None = None


class Finetune(Recipe):
    """Training after a cut; what was cut stays zero. Unless said: Adam at a constant 1e-4 for 10 epochs."""


RUNNING = frozenset({"seed", "resume", "masks", "folder", "progress", "accelerator", "devices"})
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


class CompressBlock(_Block):
    """Cuts of the selected variants by each criterion to each sparsity, with and without fine-tuning."""

    variants: Selector = DENSE
    use: Annotated[tuple[Criterion, ...], Many, Field(min_length=1)]
    sparsity: Sparsities
    allocate: Literal["global", "per_layer"] = "global"
    finetune: Finetune | None = None


class Transfer(_Block):
    """The block's adversarial images, made on `sources`, judged by `to`; of some threats and targets, or all."""

    sources: Selector = DENSE
    to: Selector = ALL
    n: Count | None = None
    threats: Annotated[tuple[Threat, ...], Many] | None = None
    targets: Annotated[tuple[str, ...], Many] | None = None


class AttackBlock(_Block):
    """Every selected variant x attack x threat x target."""

    variants: Selector = ALL
    use: Annotated[tuple[Attack, ...], Many, Field(min_length=1)]
    threats: Annotated[tuple[Threat, ...], Many, Field(min_length=1)]
    targets: Annotated[tuple[str, ...], Many, Field(min_length=1)] = (NO_TARGET,)
    n: Count | None = None
    split: str | None = None
    seeds: Seeds = (0,)
    until: Literal["first", "budget"] = "budget"
    precision: Literal["fp32", "bf16"] = "fp32"
    keep: Annotated[int, Field(ge=0, strict=True)] = 64
    transfer: Transfer | None = None


class ExplainBlock(_Block):
    """Maps of clean and attacked images, per variant: a gallery of `show` images and figures over `n`."""

    variants: Selector = ALL
    use: Annotated[tuple[Explainer, ...], Many, Field(min_length=1)]
    attack: Attack | None = None
    threat: Threat | None = None
    target: str = NO_TARGET
    n: Count = 64
    show: Annotated[int, Field(ge=2, le=64, strict=True)] = 6
    split: str | None = None


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


Measure = Annotated[Sizes | Latency | Sensitivity | MinimumEps, Field(discriminator="use")]


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
    attack: Annotated[tuple[AttackBlock, ...], Many] = ()
    explain: Annotated[tuple[ExplainBlock, ...], Many] = ()
    measure: Annotated[tuple[Measure, ...], Many] = ()
    recommend: RecommendBlock | None = None
    gates: Annotated[tuple[str, ...], Many] = ()
