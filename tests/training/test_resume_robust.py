"""Every objective with an adversary ends in the same bits whether or not its training was killed on the way."""

from __future__ import annotations

import pytest

from bantamweight.training import train
from bantamweight.training._loop import _Loop
from tests.training.conftest import bits, small_net

LINF = {"use": "linf", "eps": 0.1}
TRADES = {"use": "trades", "threat": LINF, "steps": 2}
GROWING = {"growth": "linear", "pace": "sawtooth"}
OBJECTIVES = {
    "fgsm_rs": {"threat": {"use": "linf", "eps": 0.3}, "every": 3, "gap": 0.02, "growth": "linear"},
    "free": {"threat": LINF, "replays": 3, "growth": "stepwise"},
    "pgd_at": {"threat": {"use": "l2", "eps": 1}, "steps": 3, **GROWING},
    "mixed": {"threat": LINF, "weight": 0.9, "steps": 4, "start": "random", **GROWING},
    "trades": {**TRADES, "steps": 4, **GROWING},
    "mart": {"threat": LINF, "steps": 4, **GROWING},
    "awp": {"objective": TRADES, "warmup": 0.4},
    "ard": {"threat": LINF, "steps": 4, "weight": 0.5, **GROWING},
    "rslad": {"threat": LINF, "steps": 4, **GROWING},
}


class Killed(BaseException):
    """A stand-in for SIGKILL that a test can place exactly."""


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.filterwarnings("ignore:of .* images that the teacher gets right")
def test_killed_in_mid_run_it_ends_in_the_same_bits(digits, net, tmp_path, monkeypatch, name, precision):
    objective = {"use": name, **OBJECTIVES[name]}
    given = {"epochs": 3, "batch": 64, "rate": 1e-2, "objective": objective, "precision": precision}
    if name in ("ard", "rslad"):
        given["teacher"] = small_net()
    whole, prunes = train(net(), digits, **given), _Loop._prune
    for share in (0.55, 0.8):  # of all steps: in the middle of the second epoch, then of the third

        def stopping(self, step, share=share):
            prunes(self, step)
            if step == int(share * self.span.steps):
                raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(_Loop, "_prune", stopping)
            with pytest.raises(Killed):
                train(net(), digits, tmp_path, **given)
    resumed = train(net(), digits, tmp_path, **given)
    assert bits(resumed.last) == bits(whole.last)
    assert bits(resumed.weights) == bits(whole.weights)
    timeless = [[(row.loss, row.recovering, row.forwards) for row in one.history] for one in (whole, resumed)]
    assert timeless[0] == timeless[1]
    if name == "fgsm_rs":
        assert sum(row.recovering for row in whole.history) > 0
