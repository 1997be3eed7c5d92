"""Every method on the forms a net takes: with weights at zero, with channels gone, and as an int8 file's surrogate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bantamweight import parts
from bantamweight.data import Data, load
from bantamweight.explainers import explain
from bantamweight.models._narrow import narrow
from bantamweight.runtimes import export_onnx, quantize_onnx
from bantamweight.runtimes._surrogate import surrogate
from bantamweight.training import fresh, train
from bantamweight.variants import Variant, build
from tests.explainers.nets import images, unit
from tests.explainers.test_conformance import FEW, NAMES

UNDEFINED = {"surrogate": {"cam", "guided_backprop"}}
"""In an int8 file the ReLU is part of the rounding, so there is none to guide; and what saturates is not linear."""


@pytest.fixture(scope="module")
def data() -> Data:
    return load({"use": "digits", "size": 16, "channels": 3})


@pytest.fixture(scope="module")
def variant(data: Data) -> Variant:
    """A net that has learned something: rounding drowns what little a random one says."""
    made = train(fresh("small_cnn", data), data, epochs=1).variant
    assert made is not None
    return made


@pytest.fixture(scope="module")
def forms(variant: Variant, data: Data, tmp_path_factory: pytest.TempPathFactory) -> dict[str, nn.Module]:
    folder: Path = tmp_path_factory.mktemp("files")
    dense = build(variant)
    masked, narrowed = build(variant), build(variant)
    for part in masked.modules():
        if isinstance(part, nn.Conv2d):
            part.weight.data[part.weight.abs() < part.weight.abs().median()] = 0.0
    gone = list(range(0, 32, 4))
    narrow(narrowed, {"features.0": {"out": gone}, "features.1": {"out": gone}, "features.3": {"in": gone}})
    rows = data.splits["val"].floats(slice(0, 40)).numpy()
    made = quantize_onnx(export_onnx(variant, dense, folder / "net.onnx"), rows, folder / "int8.onnx")
    return {"dense": dense, "masked": masked, "narrowed": narrowed, "surrogate": surrogate(made.path)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["masked", "narrowed", "surrogate"])
def test_maps_are_there(name: str, form: str, forms: dict[str, nn.Module]) -> None:
    settings = {key: value for key, value in FEW.get(name, {}).items() if key != "layer"}
    found = explain({"use": name, **settings}, forms[form], images(2, 16), [0, 1])
    if name in UNDEFINED.get(form, ()):
        assert found.undefined is not None
        return
    assert found.undefined is None
    assert found.maps.shape == (2, 16, 16)
    assert torch.isfinite(found.maps).all()
    assert not found.flat.all()


def alike(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([unit(first).flatten(), unit(second).flatten()]))[0, 1])


def test_a_surrogate_looks_where_its_parent_looks(forms: dict[str, nn.Module], data: Data) -> None:
    x = data.splits["test"].floats(slice(0, 4))
    for spec in ({"use": "occlusion", "score": "logit"}, {"use": "integrated_gradients", "most": 64}):
        maps = [explain(spec, forms[form], x, [0, 1, 2, 3]).maps for form in ("dense", "surrogate")]
        assert alike(*maps) > 0.8, spec
    assert parts.names("explainers") == NAMES
