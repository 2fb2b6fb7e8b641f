"""Drift of a baseline and noise with a memory are named, and nothing else is."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.posterior.residuals import without_baseline

TRUE = np.array([1.0, 2.0])
TIMES = 0.05 * np.arange(3000)


def fitted(current):
    paths = di.Paths(times=[TIMES[: current.shape[1]]] * len(current), states=list(current))
    model = di.MarkovJumpInference(observation=di.Gaussian(2)).fit(paths, progress=False)
    return model, paths


def recording(seed, n=1, length=3000):
    gate = di.MarkovJump([[-1.0, 1.0], [2.0, -2.0]])
    run = di.simulate(gate, None, TIMES[:length], n_paths=n, seed=seed)
    noise = 0.3 * np.random.default_rng(seed).normal(size=(n, length))
    return run.states.numpy(), noise


@pytest.mark.parametrize(("n", "length"), [(1, 3000), (40, 75), (3, 1000)])
def test_independent_noise_around_levels_is_passed_over(n, length):
    states, noise = recording(1, n, length)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(states + noise)


def test_a_drift_is_named_and_can_be_subtracted():
    states, noise = recording(0)
    drift = 0.45 * np.sin(TIMES / 40)
    with pytest.warns(UserWarning, match="baseline of the signal drifts"):
        model, paths = fitted(states + noise + drift)
    assert model.emission_.std.max() > 0.33
    flat = di.tl.remove_baseline(model, paths)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again, _ = fitted(np.stack([record[:, 0] for record in flat.states]))
    np.testing.assert_allclose(again.emission_.std, 0.3, rtol=0.04)
    # What was subtracted is the drift, but for its mean, which shifts both levels alike.
    subtracted = paths.states[0] - flat.states[0]
    error = subtracted[:, 0] - (drift - drift.mean())
    assert error.std() < 0.06


def test_a_baseline_is_that_of_the_states_at_the_covariates_of_a_path():
    """Two kinds of records, in one of which the gate is hardly ever open, with levels of 0 and 1."""
    rates = {"few": [[-0.1, 0.1], [5.0, -5.0]], "many": [[-3.0, 3.0], [1.0, -1.0]]}
    states = []
    for rate in rates.values():
        gate = di.MarkovJump(rate)
        run = di.simulate(gate, None, TIMES[:1000], n_paths=3, seed=4)
        states.append(run.states.numpy())
    noise = 0.4 * np.random.default_rng(0).normal(size=(6, 1000))
    signal = np.concatenate(states) + noise
    drift = 0.6 * TIMES[:1000] / TIMES[999]
    kinds = {"kind": np.repeat(list(rates), 3)}
    times = [TIMES[:1000]] * 6
    paths = di.Paths(times=times, states=list(signal), covariates=pd.DataFrame(kinds))
    model = di.MarkovJumpInference(
        observation=di.Gaussian(2), covariates=di.Covariates("~ kind")
    ).fit(paths, progress=False)
    drifting = replace(paths, states=tuple(record[:, None] + drift[:, None] for record in signal))
    flat = di.tl.remove_baseline(model, drifting, n_stretches=1)
    plain = replace(drifting, covariates=None)
    for kind, rows in (("few", slice(0, 3)), ("many", slice(3, 6))):
        generator = torch.from_numpy(model.generator_at({"kind": kind}))
        own = HiddenPaths.of(plain[rows])
        initial = torch.from_numpy(model.initial_)
        chances = own.smooth(generator, model.emission_, initial)
        expected = without_baseline(model.emission_, plain[rows], chances, 1)
        np.testing.assert_allclose(flat[rows].states, expected.states, atol=1e-9)
    chances = model.state_probabilities(paths)
    table = model.posterior_states(paths)
    np.testing.assert_allclose(chances.max(-1).ravel(), table["probability"], atol=1e-12)
    bare = replace(drifting, covariates=None)
    with pytest.raises(ValueError, match="kind"):
        di.tl.remove_baseline(model, bare)
    with pytest.raises(TypeError, match=r"paths must be di\.Paths, found list"):
        di.tl.remove_baseline(model, [1.0])


def test_filtered_noise_is_named():
    states, noise = recording(0)
    filtered = noise.copy()
    filtered[:, 1:] += 0.5 * noise[:, :-1]
    # A moving average with weights 1 and 1/2 has the correlation 0.4.
    with pytest.warns(UserWarning, match=r"correlated from one observation to the next \(0\.[34]"):
        fitted(states + filtered)


def test_a_baseline_needs_levels():
    with pytest.raises(TypeError, match="fitted to a signal"):
        di.tl.remove_baseline(di.MarkovJumpInference(), None)
