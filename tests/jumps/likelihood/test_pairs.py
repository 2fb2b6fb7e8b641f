"""Pairs of observations one by one against the same panel with a matrix for every waiting time."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from jumps import cases

import dyninfer as di
from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.panel import panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.ascent import information
from dyninfer.jumps.posterior.fitting import PanelProblem, fit_panel
from dyninfer.jumps.posterior.optimise import information as information_by_autograd
from dyninfer.jumps.posterior.optimise import value_and_slope
from dyninfer.jumps.posterior.panel_objective import PanelObjective
from dyninfer.jumps.posterior.starts import LogRatePrior, log_rate_prior
from dyninfer.jumps.process import MarkovJump

PRIOR = LogRatePrior(centre=-0.5, width=2.0)


def irregular(process, n_paths, length, seed=0, longest=2.0):
    """Paths of which no two waiting times are alike."""
    rng = np.random.default_rng(seed)
    times, states = [], []
    for path in range(n_paths):
        t = np.cumsum(rng.uniform(0.05, longest, length))
        run = di.simulate(process, None, t, n_paths=1, seed=path)
        times.append(t)
        states.append(run.states.numpy()[0])
    return Paths(times=times, states=states, state_names=process.state_names)


RING = torch.tensor([[-1.0, 1.0, 0.0], [0.0, -1.2, 1.2], [0.9, 0.0, -0.9]], dtype=torch.float64)
PROBLEMS = {
    "all jumps": (cases.random_generator(4, 1), RateScheme.free(4), PRIOR),
    "complex eigenvalues": (RING, RateScheme.free(RING > 0), None),
    "reversible": (cases.random_generator(3, 2), RateScheme.reversible(3), PRIOR),
}


@pytest.mark.parametrize("name", list(PROBLEMS))
def test_value_slope_and_curvature_are_those_of_the_counted_panel(name):
    q, scheme, prior = PROBLEMS[name]
    paths = irregular(MarkovJump(q), 10, 20)
    problem = PanelProblem(panel_counts(paths), scheme, prior)
    objective = PanelObjective(PanelPairs.of(paths, len(q)), scheme, prior)
    theta = torch.from_numpy(np.random.default_rng(0).normal(size=scheme.n_parameters) / 3)
    moment = objective.at(theta.numpy())
    value, slope = value_and_slope(problem.log_posterior, theta)
    assert moment.value == pytest.approx(float(value), rel=1e-11)
    np.testing.assert_allclose(moment.slope, slope.numpy(), rtol=1e-7, atol=1e-8)
    exact = information_by_autograd(problem.log_posterior, theta.unsqueeze(0))[0]
    np.testing.assert_allclose(information(objective, theta.numpy()), exact, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rate", [1.0, 1.0 + 1e-9, 1.0 + 1e-6, 1.001])
def test_rates_that_are_nearly_alike_have_the_likelihood_of_their_limit(rate):
    """Two phases in a row: at one rate the generator has too few eigenvectors."""
    q = np.array([[-1.0, 1.0, 0.0], [0.0, -rate, rate], [0.0, 0.0, 0.0]])
    wait = np.array([0.3, 0.7, 1.2, 2.5])
    pairs = PanelPairs(
        source=np.zeros(4, dtype=int),
        target=np.array([0, 1, 2, 2]),
        wait=wait,
        starts=torch.tensor([4.0, 0.0, 0.0], dtype=torch.float64),
    )
    value, slope = pairs.value_and_slope(q)
    stays = np.exp(-wait)
    erlang = np.array([stays[0], wait[1] * stays[1], *(1 - stays * (1 + wait))[2:]])
    assert value == pytest.approx(np.log(erlang).sum(), abs=2 * abs(rate - 1) + 1e-9)
    # In a common factor of all rates, by differences of the closed form.
    later = wait * (1 + 1e-6)
    decays = np.exp(-later)
    moved = np.array([decays[0], later[1] * decays[1], *(1 - decays * (1 + later))[2:]])
    change = (np.log(moved) - np.log(erlang)).sum() / 1e-6
    assert (slope * q).sum() == pytest.approx(change, abs=3 * abs(rate - 1) + 1e-4)


def test_pairs_that_are_rare_keep_their_digits():
    """Six jumps within a hundredth of the time of one: a chance of 1e-15."""
    scheme = RateScheme.birth_death(7)
    q = scheme.generator(torch.zeros(12, dtype=torch.float64))
    paths = Paths(times=[[0.0, 0.01, 1.0]], states=[[0, 6, 3]], state_names=tuple("abcdefg"))
    value, slope = PanelPairs.of(paths, 7).value_and_slope(q.numpy())
    q.requires_grad_()
    exact = panel_counts(paths).log_likelihood(q)
    (exact_slope,) = torch.autograd.grad(exact, q)
    assert value == pytest.approx(float(exact), rel=1e-12)
    np.testing.assert_allclose(slope, exact_slope.numpy(), rtol=1e-8, atol=1e-8)


def test_the_fit_and_its_prior_are_those_of_the_counted_panel():
    q = cases.random_generator(3, 4)
    paths = irregular(MarkovJump(q), 20, 20)
    counts = panel_counts(paths)
    pairs = PanelPairs.of(paths, 3)
    scheme = RateScheme.free(3)
    prior = log_rate_prior(pairs, scheme, 2.5)
    assert prior.centre == pytest.approx(log_rate_prior(counts, scheme, 2.5).centre, rel=1e-12)
    torch.testing.assert_close(pairs.crude_generator(), counts.crude_generator())
    fit = fit_panel(pairs, scheme, prior=prior)
    whole = fit_panel(counts, scheme, prior=prior)
    assert float(fit.log_likelihood) == pytest.approx(float(whole.log_likelihood), abs=1e-5)
    torch.testing.assert_close(fit.theta, whole.theta, rtol=0, atol=1e-4)
    torch.testing.assert_close(fit.information, whole.information, rtol=1e-3, atol=1e-2)
    assert float(fit.n_observed) == float(whole.n_observed)
    with pytest.raises(TypeError, match="prior must be a LogRatePrior"):
        fit_panel(pairs, scheme, prior=lambda log_rates: log_rates.sum(-1))


def test_impossible_pairs_are_named():
    paths = Paths(times=[[0.0, 1.0, 2.5]], states=[[0, 1, 0]])
    one_way = RateScheme.free(torch.tensor([[0, 1], [0, 0]]))
    with pytest.raises(ValueError, match="impossible there"):
        fit_panel(PanelPairs.of(paths, 2), one_way)


def test_many_states_at_times_that_are_all_different_take_seconds_and_no_gigabytes():
    """A matrix for each of 2,500 waiting times of 50 states would be 50 MB, and minutes."""
    scheme = RateScheme.birth_death(50)
    truth = scheme.generator(torch.zeros(98, dtype=torch.float64))
    paths = irregular(MarkovJump(truth), 25, 101)
    began = time.process_time()
    model = di.MarkovJumpInference(observation=di.ExactLabels(), jumps="birth-death")
    model.fit(paths, progress=False)
    assert time.process_time() - began < 5
    assert bool(model.fit_.converged)
    error = np.abs(np.log(np.diagonal(model.generator_, 1)))
    assert np.median(error) < 0.4
