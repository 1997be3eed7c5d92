"""Real images and nets for the attack tests."""

from __future__ import annotations

import pytest
import torch

from bantamweight import variants


@pytest.fixture(scope="session")
def cifar512(shared):
    """The first 512 images of the shared CIFAR-10 (JPEG) test."""
    from bantamweight import data

    split = data.load(str(shared / "data" / "cifar10" / "test.parquet")).splits
    images = next(iter(split.values()))
    return images.floats(torch.arange(512)), images.labels[:512]


@pytest.fixture(scope="session")
def zoo_net(shared):
    """A zoo net by name; resnet20 with the shared weights, others with fixed random ones."""
    from bantamweight.loading import load_model

    def net(name):
        if name == "resnet20":
            return variants.build(load_model(name, weights=shared / "models" / "resnet20.safetensors"))
        return variants.build(load_model(name))

    return net


@pytest.fixture(scope="session")
def digits64():
    """64 test digits, and nets trained on others: plainly, against attack, and with activations that saturate."""
    from bantamweight.data.digits import digits
    from tests.attacks.masked import trained

    splits = digits().splits
    whole = torch.arange(len(splits["train"].labels))
    train = splits["train"].floats(whole), splits["train"].labels
    nets = {"plain": trained(*train), "robust": trained(*train, eps=0.1), "saturated": trained(*train, gain=40.0)}
    return splits["test"].floats(torch.arange(64)), splits["test"].labels[:64], nets
