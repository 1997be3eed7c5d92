"""Programs as modules: the same answers, any batch, layers where layers were."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from bantamweight import variants
from bantamweight.data import load as load_data
from bantamweight.errors import InputError
from bantamweight.loading import load_model
from bantamweight.models._plan import parse_plan
from bantamweight.models._program import Program, fold_program, load_program, read_program
from bantamweight.predict import logits_of
from tests.models.archives import export, tiny


def opened(path: Path) -> Program:
    plan, weights = read_program(path)
    program = load_program(plan)
    program.load_state_dict(weights)
    return program


class Attention(nn.Module):
    """A transformer's operations, none of which has a layer of ours."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 16))
        self.qkv = nn.Linear(16, 48)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(images.shape[0], -1, -1), tokens], 1)
        b, n, _ = tokens.shape
        q, k, v = self.qkv(self.norm(tokens)).view(b, n, 3, 4, 4).permute(2, 0, 3, 1, 4)
        tokens = tokens + F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, 16)
        return self.head(F.gelu(tokens)[:, 0])


class Odd(nn.Module):
    """Writes in place (to its own images too), a shared layer, constants, several results of one operation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding="same", groups=1)
        self.shared = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8 * 64, 5)
        self.register_buffer("turn", torch.eye(5), persistent=False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        images.mul_(2)
        left, right = self.shared(self.shared(F.silu(self.conv(images), inplace=True))).chunk(2, 1)
        logits = self.head(torch.cat([right, left], 1).reshape(images.shape[0], -1))
        logits = (logits - logits.max(1, keepdim=True).values) @ self.turn
        return logits + torch.arange(5) * 0.1 + torch.zeros(5, device=images.device)


@pytest.mark.parametrize("make", [tiny, Attention, Odd])
def test_a_program_answers_as_the_module_it_was(make: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = make().eval()
    program = opened(export(net, tmp_path / "net.pt2"))
    for rows in (1, 2, 7):
        images = torch.rand(rows, 3, 8, 8)
        kept = images.clone()
        with torch.no_grad():
            assert torch.equal(program(images), net(kept.clone()))
        assert torch.equal(images, kept)


@pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")  # torch's own, while it decomposes
def test_a_decomposed_program_answers_nearly_so_and_keeps_its_layers(tmp_path: Path) -> None:
    net = tiny()
    program = opened(export(net, tmp_path / "net.pt2", decompose=True))
    images = torch.rand(3, 3, 8, 8)
    torch.testing.assert_close(program(images), net(images).detach(), rtol=0, atol=1e-5)
    assert isinstance(program.get_submodule("bn"), nn.BatchNorm2d)


def test_layers_and_weights_have_their_old_names(program: Path) -> None:
    net, read = tiny(), opened(program)
    assert set(read.state_dict()) == set(net.state_dict())
    assert isinstance(read.get_submodule("conv"), nn.Conv2d)
    assert isinstance(read.get_submodule("bn"), nn.BatchNorm2d)
    assert isinstance(read.get_submodule("linear"), nn.Linear)
    assert {name for name, _ in read.named_parameters()} == {name for name, _ in net.named_parameters()}
    assert (read.input_shape, read.class_count) == ((3, 8, 8), 5)


def test_modes_gradients_copies_and_types(program: Path) -> None:
    read = opened(program)
    images = torch.rand(4, 3, 8, 8, requires_grad=True)
    assert read.train().training
    assert not read.eval().get_submodule("bn").training
    read(images).square().sum().backward()
    theirs = torch.rand(0)
    net = tiny()
    other = images.detach().clone().requires_grad_()
    net(other).square().sum().backward()
    theirs = other.grad
    assert images.grad is not None
    assert theirs is not None
    assert torch.equal(images.grad, theirs)
    assert not any(parameter.requires_grad for parameter in read.parameters())
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(read)(images), read(images))
        assert copy.deepcopy(read).bfloat16()(images.bfloat16()).dtype == torch.bfloat16
        channels_last = images.contiguous(memory_format=torch.channels_last)
        moved = copy.deepcopy(read).to(memory_format=torch.channels_last)
        torch.testing.assert_close(moved(channels_last), read(images), rtol=0, atol=1e-5)


def test_a_program_is_a_variant_that_saves_prunes_and_loads(program: Path, tmp_path: Path) -> None:
    variant = load_model(program, classes=["a", "b", "c", "d", "e"])
    assert variant.classes == ("a", "b", "c", "d", "e")
    variants.save(variant, tmp_path / "saved")
    again = variants.load(tmp_path / "saved")
    assert again.hash == variant.hash
    assert {file.name for file in (tmp_path / "saved").iterdir()} == {
        "variant.json",
        "weights.safetensors",
        "program.json",
    }
    images = torch.rand(3, 3, 8, 8)
    module = variants.build(again)
    assert torch.equal(module(images), variants.build(variant)(images))
    module.get_submodule("conv").weight.mul_(0)
    cut = variants.build(variants.capture(variant, module, name="cut"))
    assert torch.equal(cut(images), module(images))
    assert not torch.equal(cut(images), variants.build(variant)(images))


def test_the_plan_is_plain_json_and_round_trips(program: Path) -> None:
    text, _ = read_program(program)
    assert parse_plan(text).model_dump_json().encode() == text


def test_exported_in_training_mode_or_for_one_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"call model\.eval\(\) before"):
        load_model(export(tiny().train(), tmp_path / "training.pt2"))
    fixed = torch.export.export(tiny(), (torch.rand(4, 3, 8, 8),))
    torch.export.save(fixed, tmp_path / "fixed.pt2")
    with pytest.raises(InputError, match=r"fails at aten.* for 2 images"):
        load_model(tmp_path / "fixed.pt2")


class Several(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images.flatten(1), images.mean((1, 2, 3))


class Maps(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * 2


@pytest.mark.parametrize(("net", "said"), [(Several(), "1 inputs and 2 outputs"), (Maps(), "float32 logits")])
def test_what_is_no_classifier_is_refused(net: nn.Module, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        load_model(export(net, tmp_path / "net.pt2"))


@pytest.mark.parametrize("name", ["resnet20", "resnet2b"])
def test_batch_norm_folds_in_the_shared_programs(name: str, shared: Path) -> None:
    program = opened(shared / "models" / f"{name}.pt2")
    folded = fold_program(program)
    assert not any(isinstance(layer, _BatchNorm) for layer in folded.modules())
    images = torch.rand(16, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), program(images), rtol=0, atol=1e-4)


def test_resnet20_gets_6486_of_8000_right_from_safetensors_and_as_a_program(shared: Path) -> None:
    split = load_data(str(shared / "data" / "cifar10" / "test.parquet")).splits["test"]
    net = variants.build(load_model("resnet20", weights=shared / "models" / "resnet20.safetensors"))
    logits = logits_of(net, split.images)
    assert len(split) == 8000
    assert int((logits.argmax(1) == split.labels).sum()) == 6486
    program = variants.build(load_model(shared / "models" / "resnet20.pt2"))
    some = logits_of(program, split.images[:256])
    torch.testing.assert_close(some, logits[:256], rtol=0, atol=1e-4)
