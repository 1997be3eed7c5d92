"""Costs: passes and bytes that can be counted on paper; clocks only in their order of magnitude's sign."""

from __future__ import annotations

import pytest
import torch

from bantamweight.errors import InputError
from bantamweight.explainers import Explainer, explain
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.gradient import gradient
from bantamweight.explainers.lime import lime
from bantamweight.explainers.occlusion import occlusion
from bantamweight.explainers.rise import rise
from bantamweight.explainers.score_cam import score_cam
from bantamweight.facts import select
from bantamweight.models.mlp import mlp
from bantamweight.models.small_cnn import small_cnn
from bantamweight.recipes.explain_cost import _watched, explain_cost, peak_bytes
from tests.explainers.nets import images, pooled_net


def test_the_peak_is_what_is_held_at_once() -> None:
    """Three tensors of a megabyte, of which two live together."""

    def call() -> None:
        first = torch.empty(250_000)
        second = torch.empty(250_000)
        del first
        third = torch.empty(250_000)
        del second, third

    assert peak_bytes(call) == pytest.approx(2_000_000, abs=2_000)
    assert peak_bytes(lambda: None) == 0


@pytest.fixture(scope="module")
def facts():
    torch.manual_seed(0)
    net, rows = small_cnn(size=16).eval(), torch.rand(8, 3, 16, 16)
    return explain_cost(net, rows, [gradient(), grad_cam()], batches=(1, 8), runs=6, variant="net")


def test_passes_are_counted_with_their_padding(facts) -> None:
    """A predicted class costs a forward, the map another and one backward; a single image is padded to eight."""
    for batch, padding in ((1, 8.0), (8, 1.0)):
        (forwards,) = select(facts, "explain_forwards", item="gradient", batch=batch)
        (backwards,) = select(facts, "explain_backwards", item="gradient", batch=batch)
        assert (forwards.value, backwards.value) == (2 * padding, padding)


MADE = 3
"""Forwards of eight rows by which the fast copy is made: folding looks before and after, fusing once."""


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize(
    ("method", "eights", "made_up"),
    [
        (rise(masks=40), 1, 40),
        (lime(samples=30), 1, 30),
        (occlusion(window=6, stride=3), 1, 1 + 9),  # the whole image; squares at 0, 3 and 6 in both directions
        (score_cam(), 3, 16 + 1),  # also the search for the layer and its activations; a mask per channel and none
    ],
    ids=["rise", "lime", "occlusion", "score_cam"],
)
def test_forwards_of_methods_that_only_ask_are_counted(
    method: Explainer, eights: int, made_up: int, batch: int
) -> None:
    """Made-up images in tiles of eight, and beside them the answer that is explained and what is looked at first."""
    net = pooled_net()
    with _watched(net) as watch:
        explain(method, net, images(batch), batch=batch)
    assert watch.rows_forward == 8 * (MADE + eights) + 8 * -(-made_up * batch // 8)
    assert watch.rows_backward == 0
    assert watch.forward > 0
    assert not net._forward_hooks


def test_times_have_intervals_and_parts(facts) -> None:
    for item in ("gradient", "grad_cam"):
        for batch in (1, 8):
            (whole,) = select(facts, "explain_ms", item=item, batch=batch)
            assert 0 < whole.low <= whole.value <= whole.high
            assert (whole.n, whole.step, whole.origin, whole.variant) == (6, 16.0, "measured", "net")
            parts = [select(facts, f"explain_{name}_ms", item=item, batch=batch)[0].value
                     for name in ("forward", "backward", "rest")]  # fmt: skip
            assert min(parts) > 0


def test_a_gradient_holds_activations_that_inference_lets_go(facts) -> None:
    (deep,) = select(facts, "explain_peak_bytes", item="gradient", batch=8)
    # The first block alone keeps 32 channels of 16 x 16 floats, twice, for each of eight images.
    assert deep.value > 2 * 8 * 32 * 16 * 16 * 4


def test_sizes_are_resized_to_and_methods_without_meaning_said() -> None:
    net = small_cnn(size=16).eval()
    found = explain_cost(net, torch.rand(2, 3, 16, 16), [gradient()], batches=(2,), sizes=(16, 24), runs=6)
    assert [fact.step for fact in select(found, "explain_ms")] == [16.0, 24.0]
    (flag,) = explain_cost(mlp(size=16).eval(), torch.rand(1, 3, 16, 16), [grad_cam()], batches=(1,), runs=6)
    assert flag.metric == "explainer_undefined"
    assert not any(part._forward_hooks for part in net.modules())
    with pytest.raises(InputError, match="at least 6 runs"):
        explain_cost(net, torch.rand(2, 3, 16, 16), [gradient()], runs=3)
