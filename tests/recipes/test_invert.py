"""Images inverted through a variant: layers found or named, rows bounded, the model told apart by layer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bantamweight.errors import InputError
from bantamweight.explainers.pictures import Prior
from bantamweight.loading import untrained
from bantamweight.models.small_cnn import small_cnn
from bantamweight.recipes import invert as recipe
from bantamweight.recipes.invert import drawn, invert_images

IMAGES = (255 * torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))).to(torch.uint8)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each forward has."""
    found: list[int] = []
    torch.manual_seed(0)
    net: nn.Module = small_cnn(size=16).eval()
    net.register_forward_pre_hook(lambda _module, given: found.append(len(given[0])))
    monkeypatch.setattr(recipe, "build", lambda *_, **__: net)
    return found


def test_an_early_a_middle_and_a_late_layer_unless_others_are_named(seen: list[int]) -> None:
    variant, heard = untrained("small_cnn", size=16), []
    found = invert_images(variant, IMAGES, steps=3, batch=8, heard=lambda done, text: heard.append((done, text)))
    assert [one.layer for one in found.found] == ["features.0", "features.7", "features.16"]
    assert max(seen) == 8
    assert heard[-1] == (1.0, "inverting features.16")
    assert [done for done, _ in heard] == sorted(done for done, _ in heard)
    assert {row["image"] for row in found.summary()} == {"image 0", "image 1", "image 2"}
    assert drawn(found).shape[1] > 4 * 160


def test_what_an_early_layer_gives_back_is_nearer_to_the_image(seen: list[int]) -> None:
    layers, variant = ["features.0", "features.16"], untrained("small_cnn", size=16)
    found = invert_images(variant, IMAGES[:1], layers=layers, prior=Prior(tv=0.1, norm=0.0), steps=60)
    early, late = found.errors().values()
    assert early < late
    assert found.curves()["features.0"]["fit"][-1] < found.curves()["features.0"]["fit"][0]
    assert seen


def test_a_mistyped_layer_is_found_before_any_search(seen: list[int]) -> None:
    with pytest.raises(InputError, match=r"did you mean 'features\.16'"):
        invert_images(untrained("small_cnn", size=16), IMAGES, layers=["features.0", "featurs.16"], steps=300)
    assert len(seen) <= 2
