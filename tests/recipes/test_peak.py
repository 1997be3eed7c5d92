"""What training was seen to hold, against what the replay says it holds."""

from __future__ import annotations

import sys

import pytest

from bantamweight.loading import untrained
from bantamweight.models._memory import training_memory
from bantamweight.recipes.peak import measured_peak
from bantamweight.variants import build

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much was resident")


@linux
def test_the_replay_is_within_a_tenth_of_the_measured_peak() -> None:
    variant = untrained("small_cnn", size=64)
    said = training_memory(build(variant), (3, 64, 64), batch=96, optimizer="momentum")
    assert said.peak == pytest.approx(measured_peak(variant, batch=96, optimizer="momentum"), rel=0.1)


@linux
@pytest.mark.peers
@pytest.mark.parametrize(("name", "batch"), [("alexnet", 4), ("vgg16", 2), ("resnet50", 4)])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_replay_is_within_a_tenth_for_the_large_nets(name: str, batch: int, optimizer: str) -> None:
    variant = untrained(name, size=224, classes=1000)
    said = training_memory(build(variant), (3, 224, 224), batch=batch, optimizer=optimizer)
    assert said.peak == pytest.approx(measured_peak(variant, batch=batch, optimizer=optimizer), rel=0.1)
