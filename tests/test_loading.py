"""What a user may call a model, and the sentence when it doesn't fit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bantamweight import variants
from bantamweight.errors import InputError
from bantamweight.loading import load_model, untrained
from bantamweight.models import read_weights
from tests.models.archives import export, pickled, tiny

OWN = """
import torch
from torch import nn

made = nn.Flatten()

def net(classes=4, size=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * size * size, classes))

def wrong():
    return "a string"

def fails():
    raise RuntimeError("no such luck")

def needs(depth):
    return nn.Flatten()

def image():
    return nn.Identity()
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A harmless `.pt2`."""
    return export(tiny(), tmp_path_factory.mktemp("program") / "tiny.pt2")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a module of the user's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_nets.py").write_text(OWN)
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    return tmp_path


def test_untrained_weights_follow_from_the_seed_and_leave_the_global_one_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = untrained("mlp", size=8), load_model("mlp", size=8), untrained("mlp", size=8, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert one.hash == two.hash != other.hash
    assert one.classes == ()
    assert load_model("mlp", size=8, classes=["cat", "dog"]).classes == ("cat", "dog")


def test_weights_from_safetensors_and_pt(tmp_path: Path) -> None:
    source = untrained("small_cnn", size=8, channels=1, classes=3, seed=5)
    save_file(dict(source.weights), tmp_path / "w.safetensors")
    (tmp_path / "w.pt").write_bytes(pickled({"state_dict": {f"module.{k}": v for k, v in source.weights.items()}}))
    for name in ("w.safetensors", "w.pt"):
        read = load_model("small_cnn", weights=tmp_path / name, size=8, channels=1, classes=3)
        assert read.hash == source.hash


def test_half_precision_and_missing_counters_are_completed(tmp_path: Path) -> None:
    source = untrained("small_cnn", size=8)
    halves = {k: v.half() for k, v in source.weights.items() if "num_batches" not in k}
    save_file(halves, tmp_path / "w.safetensors")
    read = load_model("small_cnn", weights=tmp_path / "w.safetensors", size=8)
    assert read.weights.keys() == source.weights.keys()
    assert all(v.dtype != torch.float16 for v in read.weights.values())


def test_normalisation_comes_from_the_metadata_or_is_asked_for(tmp_path: Path) -> None:
    plain = {k: v for k, v in untrained("resnet20").weights.items() if not k.startswith("normalize")}
    path = tmp_path / "w.safetensors"
    save_file(plain, path, metadata={"normalize_mean": "0.5,0.4,0.3", "normalize_std": "0.2,0.2,0.1"})
    assert load_model("resnet20", weights=path).weights["normalize.mean"].tolist() == pytest.approx([0.5, 0.4, 0.3])
    for metadata, said in [
        (None, "does not say how images are normalised"),
        ({"normalize_mean": "a,b", "normalize_std": "1"}, "expected numbers as normalize_mean"),
        ({"normalize_mean": "0,0,0", "normalize_std": "1,0,1"}, "positive normalize.std"),
        ({"normalize_mean": "0", "normalize_std": "1"}, "normalize.mean is"),
    ]:
        save_file(plain, path, metadata=metadata)
        with pytest.raises(InputError, match=said):
            load_model("resnet20", weights=path)


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(dict(untrained("small_cnn").weights), path)
    with pytest.raises(InputError, match=r"lacks bn1\.bias, bn1\.running_mean, bn1\.running_var"):
        load_model("resnet20", weights=path)
    with pytest.raises(InputError, match=r"\(10,\) in the file and \(3,\) in the model; check classes"):
        load_model("small_cnn", weights=path, classes=3)
    save_file({**untrained("small_cnn").weights, "more": torch.ones(1)}, path)
    with pytest.raises(InputError, match="has the unknown more"):
        load_model("small_cnn", weights=path)
    broken = {k: v * float("nan") if v.is_floating_point() else v for k, v in untrained("small_cnn").weights.items()}
    save_file({**broken, "normalize.std": torch.ones(3)}, path)
    with pytest.raises(InputError, match="NaN or infinity"):
        load_model("small_cnn", weights=path)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("simple_cn", {}, "did you mean 'simple_cnn'"),
        ("nothing/here", {}, "there is none"),
        ("absent.pt2", {}, "there is no file 'absent.pt2'"),
        ("w.safetensors", {}, "pass the file with --weights"),
        ("w.pt", {}, "pass the file with --weights"),
        ("mlp", {"weights": "absent.safetensors"}, "there is no file"),
        ("mlp", {"weights": "w.onnx"}, "expected weights in a .safetensors"),
        ("mlp", {"weights": "broken.safetensors"}, "can't be read"),
        ("mlp", {"size": 3}, "8 to 1024 pixels"),
        ("mlp", {"classes": ["a", "a"]}, "class names that differ"),
        ("os:system", {}, "pass --trust"),
        ("my_nets:net", {}, "pass --trust"),
        ("my_nets:absent", {"trust": True}, "importable as module:function"),
        ("absent_module:net", {"trust": True}, "importable as module:function"),
        ("my_nets:made", {"trust": True}, "wrap it in a function"),
        ("my_nets:wrong", {"trust": True}, "return a torch.nn.Module"),
        ("my_nets:fails", {"trust": True}, "no such luck"),
        ("my_nets:needs", {"trust": True}, "missing 1 required positional"),
        ("my_nets:image", {"trust": True}, r"expected logits \(2, classes\)"),
        ("my_nets:net", {"trust": True, "channels": 1}, "does not take images"),
        ("empty", {}, "no variant.json"),
    ],
)
def test_refusals_are_one_sentence(text: str, options: dict[str, object], said: str, home: Path) -> None:
    (home / "broken.safetensors").write_bytes(b"\xff" * 20)
    (home / "empty").mkdir()
    with pytest.raises(InputError, match=said) as caught:
        load_model(text, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_users_own_function(home: Path) -> None:
    path = sys.path.copy()
    variant = load_model("my_nets:net", trust=True, size=8, classes=["a", "b", "c"])
    assert sys.path == path
    assert variant.arguments == {"classes": 3, "size": 8}
    assert (variant.name, variant.input_shape, variant.classes) == ("net", (3, 8, 8), ("a", "b", "c"))
    assert variants.build(variant, trust=True)(torch.rand(2, 3, 8, 8)).shape == (2, 3)
    assert (
        load_model("my_nets:net", trust=True, size=8, classes=3).weights["1.weight"].equal(variant.weights["1.weight"])
    )
    save_file(dict(variant.weights), home / "w.safetensors")
    assert load_model("my_nets:net", trust=True, weights="w.safetensors", size=8, classes=3).weights.keys()


def test_saved_variants_and_programs_know_their_own_shape(program: Path, tmp_path: Path) -> None:
    variants.save(untrained("mlp", size=8, channels=1, classes=["x", "y"]), tmp_path / "saved")
    assert load_model(tmp_path / "saved").classes == ("x", "y")
    for options, said in [({"size": 9}, "leave out --size"), ({"classes": ["y", "x"]}, "leave out --classes")]:
        with pytest.raises(InputError, match=said):
            load_model(tmp_path / "saved", **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="brings its own weights"):
        load_model(program, weights="w.pt")
    with pytest.raises(InputError, match="returns 5 logits, got 3 classes"):
        load_model(program, classes=3)
    with pytest.raises(InputError, match=r"exported for images of \(3, 8, 8\)"):
        load_model(program, size=32)


def test_a_program_of_any_size_takes_the_size_asked_for(tmp_path: Path) -> None:
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    path = export(net.eval(), tmp_path / "any.pt2")
    assert load_model(path, size=16).input_shape == (3, 16, 16)
    assert load_model(path).input_shape == (3, 8, 8)


@pytest.mark.parametrize("item", [[1, 2], {"a": 1}, {1: torch.ones(1)}, {}])
def test_a_pt_without_a_state_dict(item: object, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(pickled(item))
    with pytest.raises(InputError, match="expected"):
        read_weights(tmp_path / "w.pt")
