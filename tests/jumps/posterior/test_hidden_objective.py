"""The compiled log-posterior of hidden paths against the batched one, which autograd knows."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from jumps import cases

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import ConfusionMatrix, GaussianEmission, LabelNoise
from dyninfer.jumps.likelihood.observe import observe
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.ascent import information
from dyninfer.jumps.posterior.fitting_hidden import HiddenProblem, fit_hidden
from dyninfer.jumps.posterior.hidden_objective import HiddenObjective
from dyninfer.jumps.posterior.optimise import information as information_by_autograd
from dyninfer.jumps.posterior.optimise import maximise, value_and_slope
from dyninfer.jumps.posterior.starts import LogRatePrior
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulation import simulate

Q = cases.random_generator(3, 2)
LEVELS = GaussianEmission.of([[0.0, 1.0], [1.0, -1.0], [2.5, 0.0]], [[0.5, 1.0]] * 3)
NOISE = LabelNoise.uniform(3, 0.05)
MIXED_UP = ConfusionMatrix.uniform(3, 0.1)
LAW = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)


def paths_of(emission, n=30, irregular=True):
    runs = simulate(MarkovJump(Q), None, np.arange(12) * 0.4, n_paths=n, seed=0)
    keep = 0.6 if irregular else 1.0
    return observe(runs, emission, keep=keep, missing=0.1 * irregular, seed=1)


def problem_of(kind):
    free = RateScheme.free(3)
    prior = LogRatePrior(centre=-0.5, width=2.0)
    if kind == "labels":
        return HiddenProblem(HiddenPaths.of(paths_of(NOISE)), NOISE, free)
    if kind == "labels with a prior, reversible":
        data = HiddenPaths.of(paths_of(NOISE))
        return HiddenProblem(data, NOISE, RateScheme.reversible(3), prior=prior)
    if kind == "confusion":
        return HiddenProblem(HiddenPaths.of(paths_of(MIXED_UP)), MIXED_UP, free, prior=prior)
    if kind == "known labels, exact entries, known law":
        data = HiddenPaths.of(paths_of(NOISE), exact=(2,))
        # Entries that are none have densities without bound: the prior keeps the rates finite.
        narrow = LogRatePrior(centre=0.0, width=0.3)
        return HiddenProblem(data, MIXED_UP, free, LAW, fit_emission=False, prior=narrow)
    if kind == "known levels":
        return HiddenProblem(HiddenPaths.of(paths_of(LEVELS)), LEVELS, free, fit_emission=False)
    if kind == "equal gaps":
        return HiddenProblem(HiddenPaths.of(paths_of(LEVELS, irregular=False)), LEVELS, free)
    return HiddenProblem(HiddenPaths.of(paths_of(LEVELS)), LEVELS, free, prior=prior)


KINDS = [
    "labels",
    "labels with a prior, reversible",
    "confusion",
    "known labels, exact entries, known law",
    "known levels",
    "equal gaps",
    "levels with a prior",
]


@pytest.mark.parametrize("kind", KINDS)
def test_value_slope_and_curvature_are_those_of_autograd(kind):
    problem = problem_of(kind)
    theta = problem.start(Q)
    shift = np.random.default_rng(0).normal(size=len(theta)) / 5
    theta = theta + torch.from_numpy(shift)
    objective = HiddenObjective(problem)
    moment = objective.at(theta.numpy())
    value, slope = value_and_slope(problem.log_posterior, theta)
    assert moment.value == pytest.approx(float(value), rel=1e-12)
    np.testing.assert_allclose(moment.slope, slope.numpy(), rtol=1e-8, atol=1e-9)
    exact = information_by_autograd(problem.log_posterior, theta.unsqueeze(0))[0]
    scale = float(exact.abs().max())
    np.testing.assert_allclose(
        information(objective, theta.numpy()), exact.numpy(), atol=1e-7 * scale
    )


@pytest.mark.parametrize("kind", KINDS)
def test_em_never_loses(kind):
    problem = problem_of(kind)
    objective = HiddenObjective(problem)
    moment = objective.at(problem.start(3 * Q).numpy())
    for _ in range(15):
        new = objective.at(objective.maximised(moment))
        assert new.value >= moment.value - 1e-9
        moment = new


@pytest.mark.parametrize("kind", KINDS)
def test_the_maximum_is_that_of_the_batched_search(kind):
    problem = problem_of(kind)
    starts = torch.stack([2 * Q, Q / 2])
    fit = fit_hidden(problem, starts)
    best = maximise(problem.log_posterior, problem.start(starts))
    reached = problem.log_posterior(fit.theta)
    torch.testing.assert_close(reached, best.value, rtol=0, atol=2e-6)
    assert bool(fit.converged.all())


def test_curvature_waits_until_it_is_asked_for_and_is_copied_without_data():
    fit = fit_hidden(problem_of("labels"), Q)
    curvature = fit.curvature
    assert curvature._information is None
    exact = information_by_autograd(problem_of("labels").log_posterior, fit.theta.unsqueeze(0))
    np.testing.assert_allclose(fit.information, exact[0], rtol=1e-5, atol=1e-4)
    for twin in (copy.deepcopy(fit), pickle.loads(pickle.dumps(fit))):
        assert twin.curvature._compute is None
        torch.testing.assert_close(twin.information, fit.information, rtol=0, atol=0)


def test_rates_that_eigenvectors_cannot_tell_are_fitted_all_the_same():
    """Two phases in a row with one rate: the generator of the start has too few eigenvectors."""
    jumps = torch.tensor([[0, 1, 0], [0, 0, 1], [0, 0, 0]], dtype=torch.bool)
    scheme = RateScheme.free(jumps)
    q = scheme.generator(torch.zeros(2, dtype=torch.float64))
    runs = simulate(MarkovJump(q), torch.zeros(400, dtype=torch.long), np.arange(8) * 0.5, seed=0)
    data = HiddenPaths.of(observe(runs, NOISE, seed=1))
    problem = HiddenProblem(data, NOISE, scheme, initial=torch.eye(3, dtype=torch.float64)[0])
    theta = problem.start(q)
    moment = HiddenObjective(problem).at(theta.numpy())
    value, slope = value_and_slope(problem.log_posterior, theta)
    assert moment.value == pytest.approx(float(value), rel=1e-12)
    np.testing.assert_allclose(moment.slope, slope.numpy(), rtol=1e-7, atol=1e-7)
    fit = fit_hidden(problem, q)
    error = fit.covariance[[0, 1], [0, 1]].sqrt()
    assert bool((fit.theta[:2].abs() < 4 * error).all())


def test_an_impossible_start_is_named():
    data = HiddenPaths.of(Paths(times=[[0.0, 1.0, 2.0]], states=[[0, 1, 0]]))
    one_way = RateScheme.free(torch.tensor([[0, 1], [0, 0]]))
    problem = HiddenProblem(data, LabelNoise.perfect(2), one_way)
    with pytest.raises(ValueError, match="impossible there"):
        fit_hidden(problem, torch.tensor([[-1.0, 1.0], [0.0, 0.0]], dtype=torch.float64))
