"""What ships answers as torch does, for any batch size, without this package, and says nothing of where it was made."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bantamweight.errors import InputError, StoreError
from bantamweight.parts import find, names
from bantamweight.runtimes import export_onnx, prepare
from bantamweight.runtimes._core import probe
from bantamweight.variants import PROGRAM, Variant, build

from .conftest import NETS, lively
from .test_families import FAMILIES


def test_the_zoo_is_covered() -> None:
    from bantamweight.models import ALSO

    assert set(names("models")) - set(ALSO) == {name for name, _, _ in NETS} | set(FAMILIES)


@pytest.mark.parametrize("net", NETS, ids=str)
@pytest.mark.parametrize("batch", [1, 7, 16])
def test_logits_are_torchs(shipped, net, batch: int) -> None:
    one = shipped(net)
    images = probe(one.variant.input_shape, batch, "test")
    expected = one.module(torch.from_numpy(images)).numpy()
    answered = one.session.run(images)
    assert answered.dtype == np.float32
    assert answered.shape == (batch, 10)
    assert np.abs(answered - expected).max() <= 1e-3
    assert (answered.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("net", [("simple_cnn", 8, 1), ("small_cnn", 32, 3)], ids=str)
def test_the_file_runs_without_us(shipped, net, tmp_path: Path) -> None:
    one = shipped(net)
    images = probe(one.variant.input_shape, 3, "alone")
    np.save(tmp_path / "images.npy", images)
    code = """
import sys, numpy as np, onnxruntime as ort
session = ort.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
np.save(sys.argv[3], session.run(None, {session.get_inputs()[0].name: np.load(sys.argv[2])})[0])
assert not {"torch", "bantamweight", "onnx"} & set(sys.modules)
"""
    paths = [one.session.artifact.path, tmp_path / "images.npy", tmp_path / "logits.npy"]
    subprocess.run([sys.executable, "-I", "-c", code, *map(str, paths)], check=True, cwd=tmp_path, timeout=60)
    np.testing.assert_array_equal(np.load(tmp_path / "logits.npy"), one.session.run(images))


def test_the_file_holds_the_model_and_nothing_else(shipped) -> None:
    one = shipped(("small_cnn", 32, 3))
    content = one.session.artifact.path.read_bytes()
    for told in (b".py", b"stack_trace", b"site-packages", str(Path.home()).encode() + b"/"):
        assert told not in content
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto)
    props = {entry.key: json.loads(entry.value) for entry in proto.metadata_props}
    assert props["bantamweight.classes"] == list(one.variant.classes)
    assert props["bantamweight.parent"] == one.variant.hash == one.session.artifact.parent
    assert props["bantamweight.preprocessing"]["channels"] == 3
    assert [entry.name for entry in (*proto.graph.input, *proto.graph.output)] == ["images", "logits"]
    assert one.session.artifact.meta["opset"] == proto.opset_import[0].version == 20
    assert one.session.artifact.size_bytes == len(content)
    assert list(one.session.artifact.path.parent.iterdir()) == [one.session.artifact.path]


def test_batch_norm_is_folded(shipped) -> None:
    assert "BatchNormalization" not in shipped(("resnet20", 16, 3)).session.artifact.meta["operators"]


def test_the_same_module_gives_the_same_bytes_and_is_left_alone(shipped, tmp_path: Path, capfd) -> None:
    one = shipped(("small_cnn", 8, 1))
    module = build(one.variant).train().requires_grad_(True)
    weights = {key: value.clone() for key, value in module.state_dict().items()}
    state, warned = torch.get_rng_state(), logging.root.manager.disable
    again = export_onnx(one.variant, module, tmp_path / "again.onnx")
    assert again.path.read_bytes() == one.session.artifact.path.read_bytes()
    assert again.meta["hash"] == one.session.artifact.meta["hash"]
    assert all(part.training for part in module.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in module.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert logging.root.manager.disable == warned
    assert capfd.readouterr() == ("", "")


def test_a_program_is_exported_like_a_net_of_the_zoo(tmp_path: Path) -> None:
    from bantamweight.loading import load_model

    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 4)
    ).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 8, 8),)), tmp_path / "net.pt2")
    variant = load_model(str(tmp_path / "net.pt2"))
    assert variant.factory == PROGRAM
    images = probe((3, 8, 8), 5, "program")
    with prepare("onnxruntime", variant, threads=1, folder=tmp_path) as session, torch.inference_mode():
        np.testing.assert_allclose(session.run(images), net(torch.from_numpy(images)).numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lacking", "uses the operation prims.bessel_i1, which ONNX lacks"),
        ("branching", "its forward branches on the values of its input"),
        ("fixed", "for 7 images; a classifier answers each image by itself"),
        ("pair", "return logits"),
        ("chance", "does not answer as torch does"),
        ("failing", "boom went the layer"),
    ],
)
def test_what_onnx_cannot_say_is_one_sentence(name: str, said: str, tmp_path: Path, capfd) -> None:
    factory = f"tests.runtimes.nets:{name}"
    weights = find("models", factory, trust=True)().state_dict()
    variant = Variant(name=name, factory=factory, weights=weights, preprocessing={"size": (8, 8), "channels": 3})
    with pytest.raises(InputError, match=said) as caught:
        prepare("onnxruntime", variant, threads=1, folder=tmp_path, trust=True)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert capfd.readouterr() == ("", "")


def test_places_and_opsets_that_do_not_work(tmp_path: Path) -> None:
    variant = lively("mlp", 8, 1)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="opset from 18 to 20"):
        export_onnx(variant, build(variant), tmp_path / "model.onnx", opset=7)
    with pytest.raises(StoreError, match="choose another place"):
        export_onnx(variant, build(variant), tmp_path / "file" / "model.onnx")


def test_a_damaged_file_is_refused(shipped, tmp_path: Path) -> None:
    from dataclasses import replace

    from bantamweight.runtimes.onnxruntime import open_onnx

    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    artifact = replace(shipped(("mlp", 8, 1)).session.artifact, path=path)
    with pytest.raises(InputError, match=r"can't run broken\.onnx"):
        open_onnx(artifact, shape=(1, 8, 8), threads=1)
