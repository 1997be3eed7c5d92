"""Planted objects: masks are exact, the seed decides everything, and masks travel with their images."""

from __future__ import annotations

import pytest
import torch

from bantamweight.data import align, evaluation_split, load
from bantamweight.data._core import Split
from bantamweight.data.planted import planted
from bantamweight.errors import InputError


def test_the_mask_is_the_object_and_nothing_else() -> None:
    """Inside the mask there are the object's two colours; outside only the background and one decoy."""
    digits = {"use": "digits", "size": 24, "channels": 3}
    split, behind = planted(size=24, train=12, val=2, test=2, background=digits).splits["train"], load(digits)
    assert split.masks is not None
    for image, mask in zip(split.images, split.masks, strict=True):
        assert image[:, mask].unique(dim=1).shape[1] <= 2
        changed = (image.int() - behind.splits["train"].images.int()).abs().amax(dim=1) > 0
        closest = changed[changed.flatten(1).sum(dim=1).argmin()]
        assert (closest | ~mask).float().mean() > 0.9, "the object covers its mask"
        assert 0 < int((closest & ~mask).sum()) < 24 * 24 / 4, "and the decoy is no larger than an object"


def test_objects_have_the_size_that_is_said_and_lie_inside() -> None:
    masks = planted(size=(32, 48), train=300, val=2, test=2).splits["train"].masks
    assert masks is not None
    assert masks.shape == (300, 32, 48)
    tall, wide = masks.any(dim=2).sum(dim=1), masks.any(dim=1).sum(dim=1)
    assert int(torch.minimum(tall, wide).min()) >= 6
    assert int(torch.maximum(tall, wide).max()) <= 17
    centre = torch.stack([mask.nonzero().float().mean(dim=0) for mask in masks])
    assert centre.std(dim=0).min() > 4, "they lie anywhere, so a map of the middle does not find them"


def test_the_seed_decides_and_splits_differ() -> None:
    first, again, other = (planted(train=6, val=6, test=6, seed=seed) for seed in (0, 0, 1))
    assert first.content == again.content != other.content
    assert not torch.equal(first.splits["train"].images, first.splits["val"].images)
    more = planted(train=9, val=6, test=6).splits["train"]
    assert torch.equal(more.images[:6], first.splits["train"].images)


def test_classes_by_number_or_by_a_models_names() -> None:
    assert planted(classes=3, train=6, val=3, test=3).classes == ("striped disc", "striped square", "striped triangle")
    assert planted(classes=("cat", "dog"), train=6, val=3, test=3).classes == ("cat", "dog")
    for wrong in (1, 11, ("one",)):
        with pytest.raises(InputError, match="2 to 10 classes"):
            planted(classes=wrong, train=6, val=3, test=3)
    with pytest.raises(InputError, match="at least 16 pixels"):
        planted(size=8)


def test_masks_travel_with_their_images() -> None:
    data = planted(classes=2, train=6, val=3, test=3)
    train = data.splits["train"]
    assert train.masks is not None
    some = train.take([4, 1])
    assert some.masks is not None
    assert torch.equal(some.masks, train.masks[[4, 1]])
    turned = align(data, ("striped square", "striped disc")).splits["train"]
    assert turned.masks is train.masks
    assert torch.equal(turned.labels, 1 - train.labels)
    _, everything = evaluation_split(data, "all")
    assert everything.masks is not None
    assert everything.masks.shape == (12, 32, 32)
    with pytest.raises(InputError, match="one mask of the images' size"):
        Split(train.images, train.labels, train.names, train.masks[:, 1:])
    assert load("digits").splits["train"].masks is None
