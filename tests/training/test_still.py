"""A net that stands still while it is attacked: what is folded and divided changes no step beyond rounding."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from bantamweight.models.resnet20 import resnet20
from bantamweight.threats import NORMS
from bantamweight.training import Step
from bantamweight.training._inner import ascend, ascent
from bantamweight.training._still import copies, divided, look, shares
from bantamweight.training.objectives.quantized import Integers

STEP = Step(1, 0, 8, 0, torch.arange(40))
pytestmark = pytest.mark.usefixtures("threads")


@pytest.fixture
def threads():
    """Two threads, and as many as before when the test is over."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def scene(rows: int = 40) -> tuple[nn.Module, Tensor, Tensor]:
    """A net whose batch norms have seen something, in training mode as the loop has it."""
    torch.manual_seed(0)
    net, images = resnet20(size=8).train(), torch.rand(rows, 3, 8, 8)
    for _ in range(3):
        net(images)
    return net, images, torch.arange(rows) % 10


def steps(mode: str, count: int = 5, norm: str = "l2"):
    made = {"use": norm, "eps": 0.5}
    return ascent("t", made, steps=count, rate=None, share=0.3, start="clean", mode=mode, growth="constant")


def walked(net: nn.Module, images: Tensor, labels: Tensor, count: int = 5) -> Tensor:
    """The same steps by hand: the net itself, all rows at once."""
    plain, norm = images.clone(), NORMS["l2"]
    eps = torch.full((len(images),), 0.5)
    for _ in range(count):
        plain = plain.detach().requires_grad_(True)
        slope = torch.autograd.grad(nn.functional.cross_entropy(net(plain), labels, reduction="sum"), plain)[0]
        plain = norm.project(plain.detach() + 0.15 * norm.steepest(slope, plain.detach()), images, eps)
    return plain


def test_folding_and_dividing_lead_to_the_same_images() -> None:
    net, images, labels = scene()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = ascend(steps("eval"), net, images, labels, STEP)
    assert torch.equal(found, ascend(steps("eval"), net, images, labels, STEP))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())
    plain = walked(net.eval(), images, labels)
    assert float((plain - images).flatten(1).norm(dim=1).min()) > 0.4
    assert float((found - plain).flatten(1).norm(dim=1).max()) < 1e-3


def test_the_copies_answer_as_the_net_does_and_have_no_batch_norm() -> None:
    net, images, _ = scene()
    found = look(net, images)
    one, other = copies(net, found, 2, half=False)
    assert one is not other
    for still in (one, other):
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in still.modules())
        assert not any(weight.requires_grad for weight in still.parameters())
    with torch.no_grad():
        assert torch.allclose(one(images), net.eval()(images), atol=1e-4)
        net.conv1.weight.mul_(1.5)  # what was looked up the first time holds for weights that came later
        (later,) = copies(net, look(net, images), 1, half=False)
        assert torch.allclose(later(images), net(images), atol=1e-4)
    (rough,) = copies(net, found, 1, half=True)
    assert rough.conv1.weight.dtype == torch.bfloat16


def test_a_batch_is_divided_among_the_threads_in_order() -> None:
    images, who = torch.arange(40.0).reshape(40, 1, 1, 1), []

    def walk(number: int, rows: slice, _halt) -> Tensor:
        who.append((number, rows.start, rows.stop, torch.get_num_threads(), threading.get_ident()))
        return 2 * images[rows]

    assert [shares(rows) for rows in (20, 31, 32, 64)] == [1, 1, 2, 2]
    assert torch.equal(divided(40, 2, walk), 2 * images)
    assert sorted(one[:4] for one in who) == [(0, 0, 20, 1), (1, 20, 40, 1)]
    assert threading.get_ident() not in {one[4] for one in who}
    assert torch.get_num_threads() == 2
    who.clear()
    divided(20, 1, walk)
    assert who == [(0, 0, 20, 2, threading.get_ident())]


class Kept(nn.Module):
    """A forward that keeps something in its module, which two threads must not share, nor a copy take along."""

    def __init__(self, *, noise: float = 0.0) -> None:
        super().__init__()
        self.flat = nn.Linear(12, 3)
        self.noise = noise
        self.rows: list[int] = []
        self.seen: Tensor | None = None

    def forward(self, images: Tensor) -> Tensor:
        self.rows.append(len(images))
        self.seen = self.flat(images.flatten(1) + (self.noise * torch.randn(1) if self.noise else 0.0))
        return self.seen * 1.0


@pytest.mark.parametrize("noise", [0.0, 0.1], ids=["keeps its graph", "draws"])
def test_a_net_that_cannot_be_copied_or_draws_is_left_whole(noise: float) -> None:
    net, images, state = Kept(noise=noise), torch.rand(40, 3, 2, 2), torch.get_rng_state()
    assert look(net, images).whole
    assert torch.equal(torch.get_rng_state(), state)
    for _ in range(2):
        net.rows.clear()
        ascend(steps("eval"), net, images, torch.zeros(40, dtype=torch.long), STEP)
        assert net.rows == [40] * 5
        net(images).sum().backward()


def test_a_net_that_leaves_autocast_keeps_its_float_layers() -> None:
    class Exact(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat = nn.Linear(12, 3)

        def forward(self, images: Tensor) -> Tensor:
            with torch.autocast("cpu", enabled=False):
                return self.flat(images.flatten(1).float())

    net, images = Exact(), torch.rand(40, 3, 2, 2)
    assert look(net, images) == ([], False, False)
    ascend(steps("eval"), net, images, torch.zeros(40, dtype=torch.long), replace(STEP, half=True))


def test_training_for_integers_is_attacked_with_integers() -> None:
    net, images, labels = scene()
    with Integers(8, 8):
        assert look(net, images).whole
        rounded = ascend(steps("eval"), net, images, labels, STEP)
    assert not torch.equal(rounded, ascend(steps("eval"), net, images, labels, STEP))


def test_what_stops_one_share_stops_the_others() -> None:
    images = torch.rand(40, 3, 8, 8)

    def broken(number: int, _rows: slice, halt) -> Tensor:
        if number:
            raise RuntimeError("this one breaks")
        while not halt():
            threading.Event().wait(0.01)
        return images

    with pytest.raises(RuntimeError, match="this one breaks"):
        divided(40, 2, broken)
    assert torch.get_num_threads() == 2


def test_few_steps_and_training_mode_use_the_net_itself() -> None:
    net, images, labels = scene()
    seen: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    for how in (steps("train"), steps("eval", count=2)):
        seen.clear()
        ascend(how, net, images, labels, STEP)
        assert set(seen) == {40}


PEAK = """
import resource, sys, torch
from bantamweight.models.resnet20 import resnet20
from bantamweight.training import Step
from bantamweight.training._inner import ascend, ascent

torch.set_num_threads(1)
net, images, labels = resnet20().train(), torch.rand(32, 3, 32, 32), torch.arange(32) % 10
step = Step(1, 0, 8, 0, torch.arange(32))


def peak(count):
    how = ascent("t", {"use": "linf", "eps": 0.1}, steps=count, rate=None, share=0.1, start="random", mode=sys.argv[1],
                 growth="constant")
    ascend(how, net, images, labels, step)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


before = peak(4)
print((peak(40) - before) / 1024, before / 1024)
"""


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_memory_does_not_grow_with_the_steps(mode: str) -> None:
    """36 further steps over 32 images of ResNet-20; one step's graph alone is over 60 MB."""
    run = [sys.executable, "-c", PEAK, mode]
    grown, _ = map(float, subprocess.run(run, capture_output=True, text=True, check=True, timeout=300).stdout.split())
    assert grown < 16
