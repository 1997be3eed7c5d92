"""Coupled groups: wirings worked out by hand, and answers of a cut net held against one with zeros."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bantamweight.compression._groups import Group, chosen, groups, removal
from bantamweight.errors import InputError
from bantamweight.models._narrow import narrow
from bantamweight.models.mobilenet_v2 import mobilenet_v2
from bantamweight.models.resnet20 import resnet20
from bantamweight.models.simple_cnn import simple_cnn


class Wired(nn.Module):
    """A residual sum, a concatenation, a convolution in two groups and a depthwise one; a convolution gives logits."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c = nn.Conv2d(4, 6, 1)
        self.norm = nn.BatchNorm2d(10)
        self.grouped = nn.Conv2d(10, 6, 1, groups=2)
        self.deep = nn.Conv2d(6, 12, 3, padding=1, groups=6)
        self.last = nn.Conv2d(12, 3, 1)

    def forward(self, images: Tensor) -> Tensor:
        stream = F.relu(self.a(images))
        stream = stream + self.b(stream)
        wide = self.norm(torch.cat([stream, self.c(stream)], dim=1))
        return F.log_softmax(self.last(torch.tanh(self.deep(self.grouped(wide)))).mean((2, 3)), dim=1)


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def parts(group: Group) -> dict[tuple[str, str], tuple[tuple[int, ...], ...]]:
    return {(part.layer, part.side): part.positions for part in group.parts}


def by_name(found: tuple[Group, ...]) -> dict[str, Group]:
    return {group.name: group for group in found}


def test_a_chain_is_as_on_paper() -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    )
    first, last = groups(net, images(2, 1, 8, 8))
    assert parts(first) == {
        ("0", "out"): ((0,), (1,), (2,)),
        ("1", "out"): ((0,), (1,), (2,)),
        ("5", "in"): ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)),
    }
    assert (first.name, first.size, first.reason) == ("0", 3, "")
    assert (last.name, last.reason) == ("5", "its channels are the logits")


def test_sums_concatenations_and_groups_are_as_on_paper() -> None:
    found = by_name(groups(Wired(), images(2, 1, 8, 8)))
    # The two groups of `grouped` tie channel i of the ten to channel i + 5: 0-3 are the sum's, 4-9 are c's.
    pairs = {name: [p for p in group.parts if (p.layer, p.side) == ("grouped", "in")] for name, group in found.items()}
    tied = {position for group in pairs.values() for part in group for position in part.positions}
    assert tied == {(0, 5), (1, 6), (2, 7), (3, 8), (4, 9)}
    stream = found["a"]
    assert parts(stream)["b", "out"] == parts(stream)["b", "in"] == parts(stream)["a", "out"]
    assert parts(stream)["norm", "out"] == ((0, 5), (1, 6), (2, 7), (3, 8))
    assert parts(stream)["c", "out"] == ((1,), (2,), (3,), (4,))
    assert parts(found["c"])["c", "out"] == ((0, 5),)
    assert found["c"].reason == "it is a single channel"
    # Three outputs in each of two groups; each feeds two depthwise channels.
    assert parts(found["grouped"])["grouped", "out"] == ((0, 3), (1, 4), (2, 5))
    assert parts(found["grouped"])["deep", "out"] == ((0, 1, 6, 7), (2, 3, 8, 9), (4, 5, 10, 11))
    assert parts(found["grouped"])["last", "in"] == parts(found["grouped"])["deep", "out"]
    assert found["last"].reason == "its channels are the logits"
    assert set(found) == {"a", "c", "grouped", "last"}


def test_a_shortcut_that_pads_ties_shifted_channels() -> None:
    found = by_name(groups(resnet20(size=8), images(2, 3, 8, 8)))
    narrowest, wider, widest = found["conv1"], found["layer2.0.conv2"], found["layer3.0.conv2"]
    assert [group.size for group in (narrowest, wider, widest)] == [16, 16, 32]
    assert parts(narrowest)["layer2.0.bn2", "out"] == tuple((number + 8,) for number in range(16))
    assert parts(narrowest)["linear", "in"] == tuple((number + 24,) for number in range(16))
    assert parts(wider)["layer2.0.shortcut", "pad"] == tuple((number,) for number in range(16))
    outer = [*range(8), *range(24, 32)]
    assert parts(wider)["layer2.0.bn2", "out"] == tuple((number,) for number in outer)
    assert parts(wider)["linear", "in"] == tuple((number + 16,) for number in outer)
    assert [name for name, group in found.items() if group.reason] == ["linear"]


@pytest.mark.parametrize("make", [simple_cnn, resnet20, mobilenet_v2])
def test_a_cut_answers_as_channels_of_nothing_would(make: object) -> None:
    """Zero scale and shift in batch norm silence a channel exactly, since these nets map zero to zero after it."""
    torch.manual_seed(0)
    net = make(size=16)  # type: ignore[operator]
    net(torch.rand(8, 3, 16, 16))  # running statistics that are not 0 and 1
    net.eval()
    found = [group for group in groups(net, images(2, 3, 16, 16)) if not group.reason]
    draws = torch.Generator().manual_seed(2)
    channels = [torch.randperm(group.size, generator=draws)[: group.size // 3].tolist() for group in found]
    silent, cut = copy.deepcopy(net), copy.deepcopy(net)
    for layer, sides in removal(found, channels).items():
        if sides.get("out"):
            for name in ("weight", "bias"):
                if (tensor := getattr(silent.get_submodule(layer), name)) is not None:
                    tensor.data[sides["out"]] = 0
    narrow(cut, removal(found, channels))
    batch = images(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(cut(batch), silent(batch), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(cut(batch), net(batch), rtol=1e-2, atol=1e-3)
    assert sum(p.numel() for p in cut.parameters()) < 0.6 * sum(p.numel() for p in net.parameters())


def test_a_frozen_net_under_no_grad_is_read_and_left_alone() -> None:
    net = Wired().train().requires_grad_(False)
    net.a.weight.requires_grad_(True)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    drawn = torch.get_rng_state()
    with torch.no_grad():
        found = groups(net, images(2, 1, 8, 8))
        assert not torch.is_grad_enabled()
    assert [group.size for group in found if not group.reason] == [4, 3]
    assert net.training
    assert [name for name, weight in net.named_parameters() if weight.requires_grad] == ["a.weight"]
    assert all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), drawn)


class Viewed(nn.Module):
    """A shape written into the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(64, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.second(F.relu(self.first(images))).view(-1, 64))


class Shuffled(nn.Module):
    """Channels in another order, which the trace does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 8, 3), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.last(self.first(images)[:, [0, 4, 1, 5, 2, 6, 3, 7]].mean((2, 3)))


def test_a_forward_that_does_not_follow_is_named() -> None:
    found = by_name(groups(Viewed(), images(2, 1, 8, 8)))
    assert found["first"].reason == ""
    assert "does not follow" in found["second"].reason
    assert "does not follow" in by_name(groups(Shuffled(), images(2, 1, 8, 8)))["first"].reason


def test_layers_that_mix_channels_and_bare_parameters_are_named() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.scale = nn.Linear(4, 6), nn.Linear(6, 2), nn.Parameter(torch.ones(6))

        def forward(self, images: Tensor) -> Tensor:
            return self.last(self.first(images.flatten(1)) * self.scale)

    normed = nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    found = by_name(groups(normed, images(2, 1, 2, 2)))
    assert "'2', a LayerNorm" in found["1"].reason
    assert found["3"].reason == ""
    assert "bare parameter" in by_name(groups(Bare(), images(2, 1, 2, 2)))["first"].reason


def test_what_can_not_be_traced_or_has_no_channels_is_refused() -> None:
    class Branching(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise ValueError(f"only for Tuesdays, not for {len(images)}")

    with pytest.raises(InputError, match=r"can't be traced: only for Tuesdays"):
        groups(Branching(), images(2, 1, 8, 8))
    with pytest.raises(InputError, match="without any"):
        groups(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten()), images(2, 1, 2, 2))


def test_groups_are_chosen_by_any_layer_that_makes_them() -> None:
    found = groups(resnet20(size=8), images(2, 3, 8, 8))
    assert [group.name for group in chosen(found, ["layer1.0.conv2"])] == ["conv1"]
    inner = chosen(found, ["layer1"], skip="layer1.0.conv2")
    assert [group.name for group in inner] == ["layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1"]
    with pytest.raises(InputError, match="did you mean 'conv1'"):
        chosen(found, ["cnv1"])


BAD_EDITS = [
    {"nowhere": {"out": [0]}},
    {"features.0": {"out": list(range(32))}},
    {"features.0": {"out": [32]}},
    {"features.0": {"out": [-1]}},
    {"features.0": {"out": [0, 0]}},
    {"features.0": {"out": ["0"]}},
    {"features.0": {"out": "01"}},
    {"features.0": {"out": [True]}},
    {"features.0": {"sideways": [0]}},
    {"features.0": [0]},
    {"features.1": {"in": [0]}},
    {"features.2": {"out": [0]}},
    {"normalize": {"out": [0]}},
]


@pytest.mark.parametrize("removed", BAD_EDITS)
def test_an_edit_that_fits_no_layer_is_refused_before_anything_is_cut(removed: dict[str, object]) -> None:
    net = simple_cnn(size=8)
    before = {key: value.shape for key, value in net.state_dict().items()}
    with pytest.raises(InputError, match="an edit removes channels of"):
        narrow(net, removed)  # type: ignore[arg-type]
    assert {key: value.shape for key, value in net.state_dict().items()} == before


def test_a_convolution_in_groups_loses_the_same_of_each_or_is_refused() -> None:
    net = nn.Sequential(nn.Conv2d(4, 6, 1, groups=2))
    weight = net[0].weight.detach().clone()
    for sides in ({"out": [0]}, {"in": [0]}, {"in": [0, 3]}, {"out": [0, 1, 2]}):
        with pytest.raises(InputError, match="an edit removes"):
            narrow(copy.deepcopy(net), {"0": sides})
    narrow(net, {"0": {"out": [1, 5], "in": [1, 3]}})
    assert (net[0].in_channels, net[0].out_channels, net[0].groups) == (2, 4, 2)
    assert torch.equal(net[0].weight.detach(), weight[[0, 2, 3, 4]][:, [0]])


def test_a_forward_that_branches_on_its_data_is_refused() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.bright = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
            self.dark, self.flat = nn.Conv2d(8, 8, 3, padding=1), nn.Linear(8, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = self.stem(images)
            found = self.bright(found) if float(images.mean()) > 0 else self.dark(found)
            return self.flat(found.mean(dim=(2, 3)))

    with pytest.raises(InputError, match="'dark' had no part in the answer to example images"):
        groups(Branches().eval(), torch.rand(2, 3, 8, 8))
