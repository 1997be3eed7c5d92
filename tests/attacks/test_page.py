"""The attack that the documentation adds is a real one, in one short file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from bantamweight.attacks._core import run
from bantamweight.attacks.fgsm import fgsm
from bantamweight.oracle import oracle
from bantamweight.parts import configure
from bantamweight.threats import TOLERANCE, l2, linf
from tests.attacks.nets import Convolutional, images_in_box

PAGE = Path(__file__).parents[2] / "docs" / "adding-an-attack.md"


@pytest.mark.parametrize("threat", [linf(eps=6 / 255), l2(eps=0.2)], ids=str)
def test_the_page_adds_an_attack_in_one_file_of_forty_lines(tmp_path, monkeypatch, threat):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert len(code.splitlines()) <= 40
    (tmp_path / "ni_fgsm.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "ni_fgsm", raising=False)
    attack = configure("attacks", {"use": "ni_fgsm:ni_fgsm", "steps": 12}, trust=True).make(threat)

    model, images = Convolutional().eval(), images_in_box(40, (3, 9, 9))
    with torch.no_grad():
        labels = model(images).argmax(dim=1)
    found = run(attack, oracle(model), images, labels, threat)
    assert float((threat.norm.size(found.images - images) - threat.eps).max()) <= TOLERANCE
    assert found["success"].sum() >= run(fgsm(threat), oracle(model), images, labels, threat)["success"].sum() > 0
    assert (found["forwards"] <= 13).all()
    other = run(attack, oracle(model), images[::2], labels[::2], threat, batch=7)
    assert torch.equal(other.images, found.images[::2])
