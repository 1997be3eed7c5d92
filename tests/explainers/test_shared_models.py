"""The models that nobody here trained: a program and the same weights as a net of ours look at the same places."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bantamweight.explainers import Explainer, explain
from bantamweight.explainers.grad_cam import grad_cam
from bantamweight.explainers.gradient import gradient
from bantamweight.loading import load_model
from bantamweight.variants import build


@pytest.mark.parametrize("explainer", [gradient(), grad_cam()], ids=["gradient", "grad_cam"])
def test_a_program_and_its_weights_in_our_net_have_the_same_maps(explainer: Explainer, shared: Path) -> None:
    folder = shared / "models"
    program = build(load_model(folder / "resnet20.pt2"))
    net = build(load_model("resnet20", weights=folder / "resnet20.safetensors"))
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(8)
    theirs, ours = (explain(explainer, model, images, classes, batch=8) for model in (program, net))
    assert (theirs.layer, ours.layer) in ((None, None), ("relu#19", "layer3.2.relu2"))
    torch.testing.assert_close(theirs.maps, ours.maps, rtol=1e-3, atol=1e-4 * float(ours.maps.abs().max()))
