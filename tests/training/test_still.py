"""A net that stands still while it is attacked: what is folded and divided changes no step beyond rounding."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch
from torch import Tensor, nn

from bantamweight.models.resnet20 import resnet20
from bantamweight.training import Step
from bantamweight.training._inner import ascend, ascent
from bantamweight.training._still import divided, folded, look

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


def test_folding_and_dividing_lead_to_the_same_images() -> None:
    net, images, labels = scene()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = ascend(steps("eval"), net, images, labels, STEP)
    plain = images.clone()
    net.eval()
    for _ in range(5):
        plain = plain.detach().requires_grad_(True)
        slope = torch.autograd.grad(nn.functional.cross_entropy(net(plain), labels, reduction="sum"), plain)[0]
        moved = plain.detach() + 0.15 * slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
        away = moved - images
        share = (0.5 / away.flatten(1).norm(dim=1)).clamp_max(1.0)[:, None, None, None]
        plain = (images + share * away).clamp(0, 1)
    # The nearest point of ball and box, and a clamp after the ball, differ at the edges of the box by a little.
    assert float((found - plain).flatten(1).norm(dim=1).median()) < 0.02
    assert torch.allclose(found, ascend(steps("eval"), net, images, labels, STEP), atol=0)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(weight.grad is None for weight in net.parameters())


def test_the_copy_answers_as_the_net_does_and_has_no_batch_norm() -> None:
    net, images, _ = scene()
    still = folded(net, images, half=False)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in still.modules())
    assert not any(weight.requires_grad for weight in still.parameters())
    with torch.no_grad():
        assert torch.allclose(still(images), net.eval()(images), atol=1e-4)
        net.conv1.weight.mul_(1.5)  # what was looked up the first time holds for weights that came later
        assert torch.allclose(folded(net, images, half=False)(images), net(images), atol=1e-4)


def test_a_batch_is_divided_among_the_threads_in_order() -> None:
    images, who = torch.arange(40.0).reshape(40, 1, 1, 1), []

    def walk(rows: slice) -> Tensor:
        who.append((rows.start, rows.stop, torch.get_num_threads(), threading.get_ident()))
        return 2 * images[rows]

    assert torch.equal(divided(40, torch.device("cpu"), walk), 2 * images)
    assert sorted(who)[0][:3] == (0, 20, 1)
    assert sorted(who)[1][:3] == (20, 40, 1)
    assert threading.get_ident() not in {one[3] for one in who}
    assert torch.get_num_threads() == 2
    who.clear()
    divided(20, torch.device("cpu"), walk)
    assert who[0][:3] == (0, 20, 2)


def test_a_net_that_draws_is_left_whole() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.rows: list[int] = []

        def forward(self, images: Tensor) -> Tensor:
            self.rows.append(len(images))
            return self.scale * (images + 0.1 * torch.randn_like(images)).flatten(1)[:, :3]

    net, images = Noisy(), torch.rand(40, 3, 2, 2)
    state = torch.get_rng_state()
    assert look(net, images).whole
    assert torch.equal(torch.get_rng_state(), state)
    ascend(steps("eval"), net, images, torch.zeros(40, dtype=torch.long), STEP)
    assert net.rows == [40] * 5


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
