"""Methods outside the package learn what they should, by public names alone."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from increment_regression import IncrementRegression
from latent_ode import LatentODE

import dyninfer as di
from dyninfer.learning.random import numpy_stream

TESTS = Path(__file__).parents[1]


@pytest.mark.parametrize("file", ["toy_estimator.py", "increment_regression.py", "latent_ode.py"])
def test_an_outside_method_reaches_into_no_private_name(file):
    text = (TESTS / file).read_text()
    names = set(re.findall(r"(?<!\w)_[a-z]\w*", text)) - {"_replace"}  # of a NamedTuple
    assert not names


def test_the_sixth_method_takes_less_than_forty_lines():
    lines = [line for line in (TESTS / "toy_estimator.py").read_text().splitlines() if line.strip()]
    assert len(lines) < 40


def test_increment_regression_finds_an_ornstein_uhlenbeck_process_with_the_bias_of_its_steps():
    rate, sigma, gap, n = 1.5, 0.8, 0.2, 200
    times = np.arange(0, 20, gap)
    process = di.simulators.OrnsteinUhlenbeck(rate=rate, sigma=sigma, mean=0.5, dimension=1)
    paths = process.paths(times, n, seed=0)
    model = IncrementRegression(drift_degree=1).fit(paths, progress=False)
    here = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    drift = model.process_.drift(0.0, here)[:, 0]
    noise = model.process_.diffusion(0.0, here)
    # Over a gap Δ the mean decays by e^{−θΔ} and the variance grows to σ² (1 − e^{−2θΔ}) / 2θ.
    decay, n_steps = math.exp(-rate * gap), n * (len(times) - 1)
    slope_error = math.sqrt(1 - decay**2) / math.sqrt(n_steps) / gap
    assert float(drift[1] - drift[0]) == pytest.approx(-(1 - decay) / gap, abs=4 * slope_error)
    # The drift vanishes at the mean, which is known to σ / θ √T.
    root = float(-drift[0] / (drift[1] - drift[0]))
    assert root == pytest.approx(0.5, abs=4 * sigma / rate / math.sqrt(n * times[-1]))
    variance = sigma**2 * (1 - decay**2) / (2 * rate * gap)
    relative_error = math.sqrt(2 / n_steps)
    assert float(noise.square().mean()) == pytest.approx(variance, rel=4 * relative_error)


def test_increment_regression_with_smaller_steps_comes_closer_to_the_process():
    process = di.simulators.OrnsteinUhlenbeck(rate=1.5, sigma=0.8, dimension=1)
    slopes = []
    for gap in (0.4, 0.1):
        paths = process.paths(np.arange(0, 20, gap), 200, seed=1)
        drift = IncrementRegression(drift_degree=1).fit(paths, progress=False).process_.drift
        slopes.append(float(drift(0.0, torch.ones(1, 1)) - drift(0.0, torch.zeros(1, 1))))
    assert abs(slopes[1] + 1.5) < 0.5 * abs(slopes[0] + 1.5)


def damped_oscillators(n, seed):
    """Noisy, irregular observations of a damped oscillator from random starts."""
    rng = numpy_stream(seed, "oscillators")
    times = [np.sort(rng.uniform(0, 6, 20)) for _ in range(n)]
    states = []
    for t in times:
        size, phase = rng.uniform(0.5, 1.5), rng.uniform(0, 2 * np.pi)
        angle = 2 * t + phase
        x = size * np.exp(-0.2 * t) * np.stack([np.cos(angle), np.sin(angle)])
        states.append(x.T + 0.05 * rng.normal(size=(20, 2)))
    return di.Paths(times=times, states=states)


def test_a_latent_ode_forecasts_oscillators_better_than_holding_the_last_value():
    settings = di.Training(max_steps=250, batch_size=32, learning_rate=1e-2)
    model = LatentODE(training=settings).fit(damped_oscillators(60, seed=0), progress=False)
    table = model.evaluate(damped_oscillators(30, seed=1), n_samples=2)
    assert table["crps"].mean() < 0.5 * table["crps_still"].mean()
