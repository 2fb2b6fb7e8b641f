"""Drift of a baseline and noise with a memory are named, and nothing else is."""

import warnings

import numpy as np
import pytest

import dyninfer as di

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
