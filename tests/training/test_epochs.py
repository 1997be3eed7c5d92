"""Batches: every image once, in sizes that differ by one at most, however many processes share them."""

from __future__ import annotations

import pytest
import torch

from bantamweight.training import _epochs
from bantamweight.training._epochs import batches, count

WHERE = {"device": torch.device("cpu"), "memory_format": torch.channels_last}


@pytest.mark.parametrize(("batch", "chunk"), [(64, 4096), (50, 100), (7, 20), (256, 10), (1000, 4096)])
def test_every_image_comes_once_and_batches_are_even(digits, monkeypatch, batch, chunk):
    monkeypatch.setattr(_epochs, "CHUNK", chunk * 64)
    split = digits.splits["train"]
    seen = list(batches(split, batch, (), seed=0, epoch=1, **WHERE))
    index = torch.cat([each.index for each in seen])
    sizes = [len(each.labels) for each in seen]
    assert sorted(index.tolist()) == list(range(len(split)))
    assert len(seen) == count(len(split), batch)
    assert max(sizes) <= batch
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([each.images for each in seen]), split.floats(index))
    assert torch.equal(torch.cat([each.labels for each in seen]), split.labels[index])


def test_the_order_follows_from_seed_and_epoch(digits):
    def order(seed, epoch):
        return [
            each.index.tolist() for each in batches(digits.splits["train"], 64, (), seed=seed, epoch=epoch, **WHERE)
        ]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_processes_share_each_batch(digits):
    split = digits.splits["train"]
    whole = list(batches(split, 50, (), seed=0, epoch=1, **WHERE))
    shares = [list(batches(split, 50, (), seed=0, epoch=1, rank=rank, world=3, **WHERE)) for rank in range(3)]
    for all_of_it, *parts in zip(whole, *shares, strict=True):
        together = torch.cat([part.index for part in parts]).sort().values
        assert torch.equal(together, all_of_it.index.sort().values)
        assert {part.whole for part in parts} == {len(all_of_it.labels)}


def test_augmentation_follows_the_image_and_not_its_neighbours(digits, monkeypatch):
    def drawn(batch, chunk):
        monkeypatch.setattr(_epochs, "CHUNK", chunk * 64)
        ops = ({"use": "flip"}, {"use": "crop", "padding": 1})
        seen = list(batches(digits.splits["train"], batch, ops, seed=0, epoch=1, **WHERE))
        place = torch.cat([each.index for each in seen]).argsort()
        return torch.cat([each.images for each in seen])[place]

    wanted = drawn(64, 4096)
    assert not torch.equal(wanted, digits.splits["train"].floats())
    assert torch.equal(wanted, drawn(17, 30))
