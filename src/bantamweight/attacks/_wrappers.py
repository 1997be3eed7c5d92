"""What an attack needs where gradients are hidden: many looks at a random model, stand-ins for dead layers."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from bantamweight.attacks._core import Attack, Rows, State
from bantamweight.errors import InputError, near
from bantamweight.oracle import Query

__all__ = ["StraightThrough", "bpda", "eot"]


def eot(attack: Attack, samples: int) -> Attack:
    """The same attack on the mean of `samples` looks at each point (Athalye et al. 2018, section 4.2).

    Choose it for a model that draws random numbers (`checks`: deterministic fails). Logits and gradients are averaged
    before the attack hears of them; forwards and backwards grow by `samples`. Raises InputError below one sample, for
    attacks that see labels only, which have no mean, and when run for those on Jacobians.
    """
    if samples < 1:
        raise InputError(f"expected at least 1 sample of each point, got {samples}")
    if attack.access in ("decision", "transfer"):
        raise InputError(
            f"{attack.name} sees labels only, and labels have no mean; wrap an attack on scores or gradients"
        )

    def ask(rows: Rows, state: State) -> Query:
        query = attack.ask(rows, state)
        if query.want == "jacobian":  # its classes are chosen look by look, and would be mixed up
            raise InputError(f"{attack.name} asks for Jacobians, which eot does not average; wrap a gradient attack")
        return replace(query, samples=query.samples * samples)

    return replace(attack, name=f"{attack.name} x{samples}", ask=ask)


class StraightThrough(nn.Module):
    """A layer whose answer is its own and whose gradient is that of the identity."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, values: Tensor) -> Tensor:
        """What the layer says. Raises InputError where its output has another shape than its input."""
        answer = self.layer(values.detach())
        if answer.shape != values.shape:
            raise InputError(
                f"a layer from {tuple(values.shape)} to {tuple(answer.shape)} has no straight-through gradient, which "
                "needs one shape; pass a surrogate of your own"
            )
        return values + (answer - values).detach()


def bpda(module: nn.Module, layers: Sequence[str] | type[nn.Module]) -> nn.Module:
    """A copy of the module for `oracle(..., surrogate=...)` in which some layers pass gradients straight through.

    Backward pass differentiable approximation (Athalye et al. 2018, section 4.1) with the identity as approximation:
    right for layers that hardly change their input, such as quantizers, JPEG or denoisers. `layers` are names of
    submodules, or their type. The judge stays the module itself. Raises InputError when there is no such layer.

    >>> net = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    >>> type(bpda(net, ["0"])[0]).__name__
    'StraightThrough'
    """
    known = {name: layer for name, layer in module.named_modules() if name}
    if isinstance(layers, type):
        chosen = [name for name, layer in known.items() if isinstance(layer, layers)]
        if not chosen:
            raise InputError(f"expected a layer of type {layers.__name__} in the model, and there is none")
    else:
        chosen = list(layers)
        missing = next((name for name in chosen if name not in known), None)
        if missing is not None or not chosen:
            raise InputError(f"{missing!r} is not a layer of the model{near(str(missing), known)}")
    surrogate = copy.deepcopy(module)
    for name in chosen:
        surrogate.set_submodule(name, StraightThrough(surrogate.get_submodule(name)))
    return surrogate
