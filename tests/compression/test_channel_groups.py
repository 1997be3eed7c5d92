"""Channel groups: what goes goes from every layer, and can be taken out afterwards without changing an answer."""

from __future__ import annotations

import torch
from torch import nn

from bantamweight import variants
from bantamweight.compression import compress, coupled, cut_channels
from bantamweight.compression._core import prunable
from bantamweight.compression._filters import filters
from bantamweight.compression._groups import removal
from bantamweight.compression.channel_groups import channel_groups
from bantamweight.loading import untrained
from bantamweight.predict import logits_of


def empty(module: nn.Module, group) -> list[int]:
    """Channels of which nothing is left in the layers that make them."""
    left = sum(rows.abs().sum(dim=1) for rows in filters(module, group))
    return torch.nonzero(left == 0).flatten().tolist()


def test_empty_channels_can_be_taken_out_without_changing_an_answer() -> None:
    for model in ("resnet20", "mobilenet_v2", "simple_cnn"):
        dense = untrained(model, size=16)
        cut, achieved = compress(dense, channel_groups(), sparsity=0.6)
        assert abs(achieved.sparsity - 0.6) < 1e-3
        module, found = variants.build(cut), [group for group in coupled(cut) if not group.reason]
        gone = [empty(module, group) for group in found]
        assert sum(map(len, gone)) > 20
        assert all(len(numbers) < group.size for numbers, group in zip(gone, found, strict=True))
        narrow = cut_channels(cut, removal(found, gone), name="narrow")
        images = torch.rand(4, 3, 16, 16)
        assert torch.allclose(logits_of(variants.build(narrow), images), logits_of(module, images), atol=1e-5)
        # Nothing is left over but of the one channel that went in part.
        kept = prunable(variants.build(narrow))
        zeros = sum(int((weight == 0).sum()) for weight in kept.values())
        assert zeros <= max(weight[0].numel() + weight.numel() // len(weight) for weight in kept.values()) * 4


def test_a_channel_is_worth_its_mean_magnitude_over_its_groups() -> None:
    net = nn.Sequential(nn.Conv2d(1, 3, 1, bias=False), nn.ReLU(), nn.Conv2d(3, 2, 1, bias=False), nn.Flatten())
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 2.0, 6.0]).reshape(3, 1, 1, 1))
    scores = channel_groups().score(net, {})
    made, read = scores["0.weight"].flatten(), scores["2.weight"][0].flatten()
    assert torch.allclose(made, torch.tensor([1 / 3, 2 / 3, 1e6], dtype=torch.float64), rtol=1e-6)
    assert torch.allclose(read, made, rtol=1e-6)
