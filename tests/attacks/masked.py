"""Honest nets, and eight ways in which a model hides its gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Small(nn.Module):
    """Two convolutions and two linear layers for 8 x 8 digits; `gain` multiplies what goes into the activations."""

    def __init__(self, channels: int = 1, gain: float = 0.0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.hidden = nn.Linear(32 * 16, 64)
        self.head = nn.Linear(64, 10)
        self.gain = gain

    def active(self, values: Tensor) -> Tensor:
        return torch.tanh(self.gain * values) if self.gain else functional.relu(values)

    def forward(self, images: Tensor) -> Tensor:
        values = self.active(self.second(self.active(self.first(images - 0.5))))
        return self.head(self.active(self.hidden(values.flatten(1))))


def trained(images: Tensor, labels: Tensor, *, eps: float = 0.0, gain: float = 0.0, epochs: int = 12) -> nn.Module:
    """A net trained on these images, on adversarial ones (3 steps) where `eps` is given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Small(images.shape[1], min(gain, 1.0))
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        for epoch in range(epochs):
            # A steep activation is learnt as a flat one, then made steep.
            net.gain = 1.0 + (gain - 1.0) * max(0.0, epoch / (epochs - 1) - 0.3) if gain else 0.0
            for rows in torch.randperm(len(images)).split(64):
                points = _worse(net, images[rows], labels[rows], eps) if eps else images[rows]
                optimizer.zero_grad()
                functional.cross_entropy(net(points), labels[rows]).backward()
                optimizer.step()
    return net.eval().requires_grad_(False)


def _worse(net: nn.Module, images: Tensor, labels: Tensor, eps: float) -> Tensor:
    points = (images + eps * (2 * torch.rand_like(images) - 1)).clamp(0, 1)
    for _ in range(3):
        points.requires_grad_(True)
        (slope,) = torch.autograd.grad(functional.cross_entropy(net(points), labels), points)
        points = (points + eps / 1.5 * slope.sign()).detach()
        points = torch.minimum(torch.maximum(points, images - eps), images + eps).clamp(0, 1)
    return points


class Quantizer(nn.Module):
    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels

    def forward(self, images: Tensor) -> Tensor:
        return torch.round(images * self.levels) / self.levels


class Outside(nn.Module):
    """Preprocessing that leaves torch: a gamma correction in numpy, and levels."""

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.detach().numpy() ** 0.9
        return torch.from_numpy((pixels * 64).round() / 64)


class Scaled(nn.Module):
    def __init__(self, net: nn.Module, times: float) -> None:
        super().__init__()
        self.net, self.times = net, times

    def forward(self, images: Tensor) -> Tensor:
        return self.times * self.net(images)


class RandomNoise(nn.Module):
    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return images + self.size * torch.randn_like(images)


class RandomResize(nn.Module):
    """Resized to a random size, padded at a random place."""

    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        size = int(torch.randint(side - side // 8, side, ()))
        room = side - size
        left, top = int(torch.randint(room + 1, ())), int(torch.randint(room + 1, ()))
        small = functional.interpolate(images, size=(size, size), mode="bilinear", align_corners=False)
        return functional.pad(small, (left, room - left, top, room - top))


class Stopped(nn.Module):
    """The net without its gradient, and a faint branch that has one and leads elsewhere."""

    def __init__(self, net: nn.Module, pixels: int) -> None:
        super().__init__()
        self.net = net
        draw = torch.Generator().manual_seed(0)
        self.register_buffer("faint", 0.01 * torch.randn(pixels, 10, generator=draw))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images.detach()) + images.flatten(1) @ self.faint


def masks(net: nn.Module, pixels: int, *, levels: int = 8, noise: float = 0.1) -> dict[str, nn.Module]:
    """Seven ways to hide the gradient of a net; the eighth, saturated activations, has to be trained."""
    return {
        "quantizer": nn.Sequential(Quantizer(levels), net),
        "scaled": Scaled(net, 1000.0),
        "softmax": nn.Sequential(net, nn.Softmax(dim=1)),
        "random layer": nn.Sequential(RandomNoise(noise), net),
        "random resize": nn.Sequential(RandomResize(), net),
        "preprocessing": nn.Sequential(Outside(), net),
        "stopped": Stopped(net, pixels),
    }
