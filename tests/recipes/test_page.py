"""What docs/when-a-check-fails.md says runs as it stands there, and breaks what hid."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from tests.attacks.nets import Convolutional, images_in_box

PAGE = Path(__file__).resolve().parents[2] / "docs" / "when-a-check-fails.md"


class Rounded(torch.nn.Module):
    def forward(self, images):
        return torch.round(images * 255) / 255


class Hidden(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.quantizer, self.inner = Rounded(), Convolutional()

    def forward(self, images):
        return self.inner(self.quantizer(images))


def test_the_snippets_of_the_page_run():
    net, images = Hidden().eval(), images_in_box(20, (3, 9, 9))
    with torch.no_grad():
        labels = net(images).argmax(dim=1)
    scope = {"net": net, "images": images, "labels": labels}
    mean, straight = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    exec(mean, scope)
    blind = len(scope["answer"].survivors)
    assert {part.name for part in scope["answer"].attacks} >= {"apgd x10"}
    exec(straight, scope)
    assert len(scope["answer"].survivors) < blind
