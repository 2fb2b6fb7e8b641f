"""Every estimator, ours or another's, keeps the contract."""

import pytest
from increment_regression import IncrementRegression
from latent_ode import LatentODE
from sklearn.base import clone
from toy_estimator import StraightFlow

from dyninfer import FractionalNoise
from dyninfer.estimators import registry
from dyninfer.testing import check_estimator, checks_of, example_data, example_paths

OUTSIDE = (StraightFlow, IncrementRegression, LatentODE)  # registered by the import of their files
# Its own defaults take seconds a fit.
QUICK = {"FractionalSDE": {"noise": FractionalNoise(n_nodes=2, hurst=0.5)}}
QUICK |= {"DriftFamilies": {"max_families": 2}}
QUICK |= {"StraightFlow": {"width": 16}, "LatentODE": {"latent_dim": 3, "width": 8}}
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
    registry()["StochasticInterpolant"](linear_part=True, gamma="none", width=16, depth=2),
    registry()["MarkovJumpInference"](observation="exact", jumps="reversible"),
]


@pytest.mark.parametrize(
    ("model", "check"),
    [pytest.param(m, c, id=f"{m}-{name}") for m in MODELS for name, c in checks_of(m).items()],
)
def test_contract(model, check):
    check(clone(model))


def test_estimators_are_found_by_file():
    assert {"ActionMatching"} | {cls.__name__ for cls in OUTSIDE} <= set(registry())


def test_the_battery_fails_an_estimator_that_peeks_at_held_out_cells(monkeypatch):
    original = StraightFlow.read

    def peek(self, data, source, hold_out, run):
        return original(self, data, source, None, run)

    monkeypatch.setattr(StraightFlow, "read", peek)
    with pytest.raises((AssertionError, ValueError)):
        check_estimator(StraightFlow(width=8))


def test_the_battery_fails_an_estimator_that_forgets_its_model_when_a_fit_fails(monkeypatch):
    def forget(self, data, **options):
        vars(self).pop("process_", None)
        return original(self, data, **options)

    original = StraightFlow.fit
    monkeypatch.setattr(StraightFlow, "fit", forget)
    with pytest.raises((AssertionError, AttributeError)):
        checks_of(StraightFlow())["failed_fit_leaves_the_old_model"](StraightFlow(width=8))


@pytest.mark.parametrize(
    ("make", "options", "kind", "message"),
    [
        (example_data, {"n_times": 5}, ValueError, "n_times must be 1 to 4, found 5"),
        (example_data, {"d": []}, TypeError, "d must be a whole number"),
        (example_data, {"n": 2**40}, MemoryError, "cells of 3 features take at least"),
        (example_paths, {"length": 0}, ValueError, "length must be at least 1"),
        (example_paths, {"n": 2**40}, MemoryError, "paths of 15 times .* take at least"),
    ],
)
def test_sizes_that_examples_cannot_have_are_named(make, options, kind, message):
    with pytest.raises(kind, match=message):
        make(**options)
