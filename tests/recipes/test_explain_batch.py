"""`batch` bounds the rows of every forward, also of those that are only there to know what the model says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bantamweight.data.planted import planted
from bantamweight.errors import InputError
from bantamweight.loading import untrained
from bantamweight.models.small_cnn import small_cnn
from bantamweight.recipes import explain as maps
from bantamweight.recipes import ratings
from bantamweight.recipes.scores import score

N, BATCH = 20, 8


@pytest.fixture(scope="module")
def split() -> Any:
    return planted(size=16, classes=4, train=2, val=2, test=N).splits["test"]


@pytest.fixture
def seen() -> list[int]:
    return []


@pytest.fixture
def net(seen: list[int]) -> nn.Module:
    """A net that writes down how many rows it, or a copy of it, is given."""
    torch.manual_seed(0)
    made = small_cnn(size=16, classes=4).eval()
    made.register_forward_pre_hook(lambda _module, given: seen.append(len(given[0])))
    return made


USE = ["grad_cam", "gradient", {"use": "rise", "masks": 6}]


def test_of_maps(net: nn.Module, seen: list[int], split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "build", lambda *_, **__: net)
    found = maps.explain_images(untrained("small_cnn", size=16, classes=4), split.images, use=USE, batch=BATCH)
    assert len(found.logits) == N
    assert max(seen) == BATCH
    assert sum(seen) > N * 6


def test_of_scores(net: nn.Module, seen: list[int], split: Any) -> None:
    metrics = [{"use": "mprt", "most": 2}, {"use": "deletion", "steps": 4}, "road", "iou",
               {"use": "faithfulness_correlation", "draws": 10}, {"use": "max_sensitivity", "draws": 2}]  # fmt: skip
    found = score(net, split.floats(), split.labels, USE[:2], metrics, objects=split.masks, batch=BATCH)
    assert found.n == N
    assert max(seen) == BATCH


def test_of_a_rating_sheet(net: nn.Module, seen: list[int], split: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ratings, "build", lambda *_, **__: net)
    variant = untrained("small_cnn", size=16, classes=4)
    made = ratings.stimuli(variant, split, list("abcd"), USE[:2], batch=BATCH)
    assert len(made.items) == N
    assert max(seen) == BATCH


def test_what_the_model_says_does_not_depend_on_it(net: nn.Module, split: Any) -> None:
    from bantamweight.explainers._told import logits_within

    x: Tensor = split.floats()
    torch.testing.assert_close(logits_within(net, x, 5), logits_within(net, x, 64), rtol=1e-5, atol=1e-6)


def test_a_batch_of_nothing_is_refused(net: nn.Module, split: Any) -> None:
    with pytest.raises(InputError, match="expected batch >= 1, got 0"):
        score(net, split.floats(), split.labels, ["gradient"], ["sparseness"], batch=0)
