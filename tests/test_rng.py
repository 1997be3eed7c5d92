"""Philox against its published answers, and rows that don't know their neighbours."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bantamweight import rng

ANSWERS = [  # kat_vectors of Random123: counter, key, output
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), ANSWERS)
def test_known_answers(counter, key, answer):
    words = [torch.tensor([word]) for word in counter]
    assert [int(word) for word in rng._philox(words, *(torch.tensor([word]) for word in key))] == answer


@given(count=st.integers(1, 20), order=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_a_row_does_not_know_its_neighbours(count, order):
    keys = rng.image_keys(torch.rand(count, 1, 3, 3, generator=torch.Generator().manual_seed(count)))
    index = list(range(count))
    order.shuffle(index)
    for draw in (rng.uniform, rng.normal, rng.signs):
        assert torch.equal(draw(keys[index], (2, 5), "use", 1), draw(keys, (2, 5), "use", 1)[index])


def test_distributions():
    keys = torch.arange(50)
    assert stats.kstest(rng.uniform(keys, (1000,), "u").flatten().numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(rng.normal(keys, (1000,), "n").flatten().numpy(), "norm").pvalue > 0.01
    assert abs(float(rng.signs(keys, (1000,), "s").mean())) < 0.02


def test_words_lanes_and_images_matter():
    keys = rng.image_keys(torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 1e-7)]))
    assert keys[0] != keys[1]
    assert not torch.equal(rng.uniform(keys, (4,), "a"), rng.uniform(keys, (4,), "b"))
    folded = rng.fold(keys, torch.tensor([0, 1]))
    assert not torch.equal(folded, rng.fold(keys, torch.tensor([1, 1])))
    assert torch.equal(folded[1], rng.fold(keys, torch.tensor([5, 1]))[1])


def test_streams_are_the_same_on_every_machine():
    assert rng.stream(0) == 4761921975702974394
    assert rng.stream(1, "a", 2) != rng.stream(1, "a", "2")
    assert rng.generator(3, "split").integers(1 << 30) == 749966007


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 700)])
def test_the_host_and_the_device_draw_the_same_words(shape, monkeypatch):
    keys = rng.image_keys(torch.rand(shape[0], 1, 3, 3, generator=torch.Generator().manual_seed(0)))
    host = rng.bits(keys, shape[1], "use"), rng.fold(keys, keys >> 7)
    monkeypatch.setattr(rng, "_philox_on_host", rng._philox_in_torch)
    device = rng.bits(keys, shape[1], "use"), rng.fold(keys, keys >> 7)
    assert all(torch.equal(*pair) for pair in zip(host, device, strict=True))
