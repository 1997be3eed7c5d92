"""The published families ship as well: as ONNX files they answer as torch does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bantamweight.runtimes._core import probe

FAMILIES = {
    "alexnet": 32,
    "densenet121": 32,
    "googlenet": 32,
    "mobilenet_v2": 32,
    "plain20": 32,
    "average": 16,
    "preact_resnet18": 32,
    "resnet18": 32,
    "vgg16": 32,
    "wrn_28_10": 8,
}
"""A net of each, and the side of its images."""


@pytest.mark.peers
@pytest.mark.parametrize("name", FAMILIES)
def test_logits_are_torchs(shipped, name: str) -> None:
    one = shipped((name, FAMILIES[name], 3))
    images = probe(one.variant.input_shape, 3, "family")
    expected = one.module(torch.from_numpy(images)).numpy()
    answered = one.session.run(images)
    assert np.abs(answered - expected).max() <= 1e-3 * max(1.0, np.abs(expected).max())
    assert (answered.argmax(1) == expected.argmax(1)).all()
