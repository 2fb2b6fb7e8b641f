"""The weight of the divergence: closed forms of the tempered posterior, and what is refused."""

import math

import numpy as np
import pytest
import torch
from fractional.inference.test_bound import prior_of, seen

import dyninfer as di
from dyninfer.data.paths.observed import last_rows
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.inference import Equation, exact_log_likelihood, guided_paths
from dyninfer.fractional.inference.bound import Readout, normal_fit
from dyninfer.fractional.inference.guide import PseudoObservations

NOISE = MarkovApproximation(4, horizon=2.0, dt=0.05)


def tempered_paths(prior, series, weight, n):
    pseudo = PseudoObservations.of(prior, series).tempered(weight)
    readout = Readout(pseudo, lambda x: normal_fit(prior, series, x))
    return guided_paths(Equation(prior), series, n, readout=readout, n_steps=1)


@pytest.mark.parametrize(
    ("weight", "mean", "variance"), [(0.1, 1.268, 0.0244), (1.0, 1.04, 0.2), (10.0, 0.371, 0.714)]
)
def test_posterior_is_that_of_the_likelihood_to_the_power_of_one_over_the_weight(
    weight, mean, variance
):
    prior = prior_of(NOISE, 0.5, 0.5, start=1.0)
    draws = tempered_paths(prior, seen([0.0, 1.0], [1.3, np.nan]), weight, 40_000).states[:, 0, 0]
    assert draws.mean().item() == pytest.approx(mean, abs=4 * (variance / 40_000) ** 0.5 + 5e-4)
    assert draws.var().item() == pytest.approx(variance, rel=0.03)


@pytest.mark.parametrize("weight", [0.1, 1.0, 10.0])
def test_weighted_bound_of_paths_is_the_evidence_with_as_much_more_error(weight):
    """``p(o | x)^{1/w}`` is a normal density of ``w`` times the variance, but for its constant."""
    series = seen([0.0, 0.3, 1.0, 2.0], [0.3, 0.1, np.nan, -0.4])
    prior = prior_of(NOISE, 0.7, 0.2, start=0.5)
    guided = tempered_paths(prior, series, weight, 10)
    values = guided.tempered(weight)
    assert values.std() < 1e-8
    wider = prior_of(NOISE, 0.7, 0.2 * weight**0.5, start=0.5)
    variance = 0.2**2
    constant = weight * math.log(2 * math.pi * weight * variance) - math.log(2 * math.pi * variance)
    expected = weight * exact_log_likelihood(wider, series).item() + 3 * constant / 2
    assert values.mean().item() == pytest.approx(expected, abs=1e-6)


def test_a_weight_of_one_is_the_bound_to_the_bit():
    series = seen([0.0, 0.3, 1.0], [0.3, 0.1, -0.4])
    prior = prior_of(NOISE, 0.7, 0.2, start=0.5)
    plain = guided_paths(Equation(prior), series, 5, n_steps=1)
    weighted = tempered_paths(prior, series, 1.0, 5)
    assert torch.equal(weighted.states, plain.states)
    assert torch.equal(weighted.tempered(1.0), plain.log_weights)


def walks():
    rng = np.random.default_rng(0)
    times = 0.1 * np.arange(12)
    states = [rng.normal(size=(12, 1)).cumsum(0) for _ in range(4)]
    return di.Paths(times=[times] * 4, states=states)


def fitted(weight, **noise):
    return di.FractionalSDE(
        noise=di.FractionalNoise(n_nodes=2, hurst=0.5, **noise),
        inference=di.Variational(control=None, path_weight=weight, n_samples=2),
        observation_noise=0.3,
    ).fit(walks(), max_steps=5, progress=False)


def test_no_likelihood_is_reported_of_another_weight():
    model = fitted(0.2)
    assert model.log_likelihoods(walks()) is None
    assert "log_likelihood" not in model.evaluate(walks(), n_samples=4)
    with pytest.raises(
        ValueError, match=r"path_weight=0.2 was maximised, which bounds no likelihood"
    ):
        model.elbo(walks())
    assert fitted(1.0).elbo(walks()).shape == (4,)
    with pytest.raises(ValueError, match="fit"):
        di.FractionalSDE(inference=di.Variational(path_weight=0.2)).log_likelihoods(walks())
    with pytest.raises(ValueError, match="path_weight must be positive and finite, found 0"):
        fitted(0.0)


def test_paths_follow_the_data_where_the_weight_is_small():
    paths = walks()
    distances = []
    for weight in (0.1, 1.0, 10.0):
        means = fitted(weight).posterior(paths).draw(n_samples=50).states.reshape(4, 50, 12).mean(1)
        observed = torch.tensor(np.stack(paths.states))[..., 0]
        distances.append((means - observed).square().mean().item())
    assert distances[0] < distances[1] < distances[2]


def test_a_window_knows_the_last_observations_only():
    model = fitted(1.0)
    paths = walks()
    first = model.posterior(paths, window=3).draw([1.3], n_samples=5)
    second = model.posterior(last_rows(paths, 3)).draw([1.3], n_samples=5)
    assert torch.equal(first.states, second.states)
    assert not torch.equal(first.states, model.posterior(paths).draw([1.3], n_samples=5).states)
    with pytest.raises(ValueError, match="starts with the path"):
        fitted(1.0, kind="II").posterior(paths, window=3)
