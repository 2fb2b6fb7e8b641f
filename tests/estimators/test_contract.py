"""Every estimator, ours or another's, keeps the contract."""

import pytest
import torch
from sklearn.base import clone
from toy_estimator import MeanMatching

from dyninfer import FractionalNoise
from dyninfer.estimators import registry
from dyninfer.testing import check_estimator, checks_of, example_data

# Its own defaults take seconds a fit.
QUICK = {"FractionalSDE": {"noise": FractionalNoise(n_nodes=2, hurst=0.5)}}
MODELS = [cls(**QUICK.get(name, {})) for name, cls in registry().items()] + [
    registry()["ActionMatching"](sigma=0.5, width=16, depth=2),
    registry()["ActionMatching"](
        growth_penalty=0.3, interpolation="cubic", objective="boundary", width=16, depth=2
    ),
    registry()["ActionMatching"](sigma=0.5, growth_penalty=0.3, scale="feature", width=16, depth=2),
    registry()["ActionMatching"](interpolation="none", scale=None, width=16, depth=2),
    registry()["StochasticInterpolant"](interpolant="spline", second="denoiser", width=16, depth=2),
    registry()["StochasticInterpolant"](coupling="unbalanced", gamma="none", width=16, depth=2),
    registry()["StochasticInterpolant"](bridge_sigma=0.5, width=16, depth=2),
    registry()["MarkovJumpInference"](observation="exact", jumps="reversible"),
]


@pytest.mark.parametrize(
    ("model", "check"),
    [pytest.param(m, c, id=f"{m}-{name}") for m in MODELS for name, c in checks_of(m).items()],
)
def test_contract(model, check):
    check(clone(model))


def test_estimators_are_found_by_file():
    assert {"ActionMatching", "MeanMatching"} <= set(registry())


def test_the_battery_fails_an_estimator_that_peeks_at_held_out_cells(monkeypatch):
    original = MeanMatching._read

    def peek(self, data, names, hold_out, seed):
        return original(self, data, names, None, seed)

    monkeypatch.setattr(MeanMatching, "_read", peek)
    with pytest.raises((AssertionError, ValueError)):
        check_estimator(MeanMatching())


def test_toy_estimator_follows_the_mean():
    data = example_data(n=400)
    model = MeanMatching().fit(data, time_key="day", max_steps=400, progress=False)
    drift = model.process_.drift(torch.tensor(3.0), torch.zeros(1, 3))
    torch.testing.assert_close(drift, torch.full((1, 3), 0.4), atol=0.1, rtol=0)
