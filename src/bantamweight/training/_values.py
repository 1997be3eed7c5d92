"""The values that the loop, its schedules and its objectives hand to each other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

from torch import Tensor, nn

from bantamweight.types import Float, Images, Int64, Labels, Logits
from bantamweight.variants import Variant

__all__ = ["Factor", "Loss", "Objective", "Pruning", "Row", "Span", "Step", "Trained"]


class Span(NamedTuple):
    """How long a training is: epochs, and optimizer steps in each."""

    epochs: int
    per_epoch: int

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.epochs * self.per_epoch


Factor = Callable[[int], float]
"""Step (from 0) -> what the rate is multiplied by there."""


@dataclass(frozen=True)
class Step:
    """Where training stands when an objective is asked for a loss; whatever is drawn at random is keyed by this.

    `index` says which samples of the training split the batch holds, so that what an objective draws or remembers
    per sample need not know who else is in the batch. `half` says whether the training computes in bfloat16.
    """

    epoch: int
    step: int
    steps: int
    seed: int
    index: Int64[Tensor, " b"]
    epochs: int = 1
    half: bool = False


class Loss(NamedTuple):
    """The batch's mean loss (a scalar with a gradient) and the logits that training accuracy is counted from.

    `recovering` where an objective had seen that something was being lost and worked to win it back; `crafting_seconds`
    were spent on the adversary, who moves images (and weights, in AWP) and for whom as many images as `forwards` and
    `backwards` say passed the net. `scale` is how many cross-entropies the value weighs: one of a hundred is no
    explosion where it says 100.
    """

    value: Float[Tensor, ""]
    logits: Logits
    recovering: bool = False
    crafting_seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0
    scale: float = 1.0

    def after(self, recovering: bool, forwards: int, backwards: int, seconds: float) -> Loss:
        """The same, with what it cost to find the images."""
        return self._replace(recovering=recovering, forwards=forwards, backwards=backwards, crafting_seconds=seconds)


class Objective(Protocol):
    """`objective(module, images, labels, step) -> Loss`.

    The module is in training mode (frozen parts excepted) and computes at the training's precision. Dropout is
    already seeded for this step. An objective leaves the modes as it found them. One that remembers does so within an
    epoch, and is made anew where an epoch is begun again. One with an attribute `replays` gets every batch that many
    times in a row; one with an attribute `probe` (an attack on validation images) can be asked for robust validation
    accuracy; one with an attribute `budget` (the eps in force at a step) says how strong its adversary is by then, and
    an epoch whose adversary was weaker than the last one's is no rival of those that follow.
    """

    def __call__(self, module: nn.Module, images: Images, labels: Labels, step: Step) -> Loss: ...


class Pruning(Protocol):
    """Weights that go while training goes on.

    `state` is all that one remembers from step to step, tensors by name; checkpoints keep it. Weights that are zero
    count as gone: what was cut is read off them when training is resumed.
    """

    state: dict[str, Tensor]

    @property
    def sparsity(self) -> float:
        """The share of all weights that was asked to be gone in the end."""

    def penalty(self, module: nn.Module) -> Tensor | None:
        """What is added to the loss of the next step (a scalar with a gradient); None for nothing."""

    def after(self, module: nn.Module, step: int) -> Mapping[str, Tensor] | None:
        """Which weights are kept from now on, by tensor name, none of those that are gone; None for no change."""

    def settled(self, step: int) -> bool:
        """Whether nothing more goes after that step."""

    def measures(self, since: int) -> Mapping[str, float]:
        """What the row of an epoch that began at step `since` says of it, by name."""


@dataclass(frozen=True)
class Row:
    """One epoch on one split.

    `split="train"` is what the optimizer saw: augmented images, dropout on, the objective's loss, weights moving.
    `split="val"` is plain cross-entropy of the epoch's final weights in eval mode; where the last cut fell into the
    epoch, its `measures` hold the accuracies around it. `rate` is the epoch's last.
    `recovering` counts the steps in which the objective won back what it had seen being lost, `crafting_seconds` is the
    part of `seconds` in which it made adversarial images, `forwards` and `backwards` are the images that passed the net
    for that, counted as an attack's ledger counts them. `setbacks` is how often the epoch exploded and was begun again.
    `measures` is what else there was to say, by name.
    """

    epoch: int
    split: Literal["train", "val"]
    loss: float
    right: int
    n: int
    rate: float
    seconds: float
    recovering: int = 0
    crafting_seconds: float = 0.0
    setbacks: int = 0
    forwards: int = 0
    backwards: int = 0
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Share of the n images that were right."""
        return self.right / self.n


@dataclass(frozen=True, eq=False)
class Trained:
    """What training gives back.

    `weights` are those of the best epoch, `last` those after the final one, no average of them (both contiguous, on the
    CPU, keyed as the module's state dict); `variant` descends from the variant that was trained and is None for a bare
    module. `epochs` is how many ran, `stopped` whether patience ended them early, `kept` the weights of epochs to keep.
    """

    variant: Variant | None
    weights: Mapping[str, Tensor]
    last: Mapping[str, Tensor]
    history: tuple[Row, ...]
    best_epoch: int
    stopped: bool
    kept: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """Epochs that ran, those before a resume included."""
        return self.history[-1].epoch

    @property
    def seconds(self) -> float:
        """Seconds spent in those epochs, training and validation."""
        return sum(row.seconds for row in self.history)
