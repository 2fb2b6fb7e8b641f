"""Hidden-Markov likelihoods against enumeration of all paths, the panel likelihood, and the truth."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from jumps import cases
from scipy.linalg import expm
from scipy.stats import norm

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import GaussianEmission, LabelNoise
from dyninfer.jumps.likelihood.observe import observe
from dyninfer.jumps.likelihood.panel import panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting_hidden import HiddenProblem, fit_hidden
from dyninfer.jumps.posterior.optimise import maximise
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulation import simulate

LAW = torch.tensor([0.3, 0.7], dtype=torch.float64)


def enumerated(q, times, emissions, law):
    """Probability of every path of states, by plain products."""
    steps = [expm(q.numpy() * dt) for dt in np.diff(times)]
    found = {}
    for path in itertools.product(range(len(q)), repeat=len(times)):
        weight = float(law[path[0]]) * emissions[0, path[0]]
        for k, step in enumerate(steps):
            weight *= step[path[k], path[k + 1]] * emissions[k + 1, path[k + 1]]
        found[path] = weight
    return found


def two_paths(kind):
    times = [np.array([0.0, 0.3, 0.9, 1.0, 2.2, 2.7]), np.array([1.0, 1.3, 4.0])]
    if kind == "labels":
        emission = LabelNoise(torch.tensor([[0.9, 0.1], [0.25, 0.75]], dtype=torch.float64))
        labels = [[0, 1, -1, 1, 0, 0], [1, -1, 0]]
        seen = [
            np.array([emission.confusion[:, o].tolist() if o >= 0 else [1, 1] for o in s])
            for s in labels
        ]
        return Paths(times=times, states=labels), emission, seen, times
    emission = GaussianEmission.of([-1.0, 2.0], [0.5, 1.5])
    values = [[-0.8, 1.2, math.nan, 0.3, 0.1, 2.5], [2.0, math.nan, -1.0]]
    seen = [
        np.array([norm.pdf(x, [-1, 2], [0.5, 1.5]) if x == x else [1, 1] for x in s], dtype=float)
        for s in values
    ]
    columns = [np.array(s)[:, None] for s in values]
    return Paths(times=times, states=columns), emission, seen, times


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_likelihood_smoothing_and_viterbi_match_enumeration(kind):
    paths, emission, seen, times = two_paths(kind)
    q = cases.random_generator(2, 0)
    data = HiddenPaths.of(paths)
    found = data.log_likelihood(q, emission, LAW)
    smoothed = data.smooth(q, emission, LAW)
    states, value = data.viterbi(q, emission, LAW)
    for k in range(2):
        every = enumerated(q, times[k], seen[k], LAW)
        total = sum(every.values())
        assert float(found[k]) == pytest.approx(math.log(total), abs=1e-12)
        for step in range(len(times[k])):
            one = sum(w for path, w in every.items() if path[step] == 1) / total
            assert float(smoothed[k, step, 1]) == pytest.approx(one, abs=1e-12)
        best = max(every, key=every.get)
        assert tuple(states[k, : len(times[k])].tolist()) == best
        assert float(value[k]) == pytest.approx(math.log(every[best]), abs=1e-9)


def test_without_noise_it_is_the_panel_likelihood():
    process = MarkovJump(cases.random_generator(4, 1))
    runs = simulate(process, None, np.arange(12) * 0.3, n_paths=40, seed=0)
    paths = observe(runs, LabelNoise.perfect(4), keep=0.6, missing=0.1, seed=1)
    law = process.stationary()
    panel = panel_counts(paths).log_likelihood(process.generator, law)
    hidden = (
        HiddenPaths.of(paths).log_likelihood(process.generator, LabelNoise.perfect(4), law).sum()
    )
    assert float(hidden) == pytest.approx(float(panel), rel=1e-9)


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_gradients_match_finite_differences(kind):
    paths, emission, _, _ = two_paths(kind)
    data = HiddenPaths.of(paths)
    theta = emission.parameters()
    rates = torch.tensor([[-0.4, 0.2], [0.3, -0.1]], dtype=torch.float64)

    def value(log_rates, theta, logits):
        r = log_rates.exp() * (1 - torch.eye(2, dtype=torch.float64))
        q = r - torch.diag_embed(r.sum(-1))
        return data.log_likelihood(q, emission.with_parameters(theta), logits.softmax(-1))

    inputs = [x.clone().requires_grad_() for x in (rates, theta, LAW)]
    assert torch.autograd.gradcheck(value, inputs)


def test_many_models_at_once():
    paths, emission, _, _ = two_paths("labels")
    data, q = HiddenPaths.of(paths), cases.random_generator(2, 3, 4)
    rates = torch.tensor([0.01, 0.1, 0.2, 0.3], dtype=torch.float64)
    batch = data.log_likelihood(q, LabelNoise.uniform(2, rates), LAW)
    for k in range(4):
        torch.testing.assert_close(
            batch[k], data.log_likelihood(q[k], LabelNoise.uniform(2, rates[k]), LAW)
        )


def test_label_noise_is_found_beside_the_rates():
    q = 0.4 * cases.random_generator(6, 4)
    runs = simulate(MarkovJump(q), None, np.arange(100) * 10 / 99, n_paths=300, seed=2)
    paths = observe(runs, LabelNoise.uniform(6, 0.01), seed=3)
    start = panel_counts(paths).crude_generator(least=0.5)
    noise = LabelNoise.uniform(6, 0.02)
    problem = HiddenProblem(HiddenPaths.of(paths), noise, RateScheme.free(6))
    fit = fit_hidden(problem, start)
    wrong = 1 - float(fit.emission.confusion[0, 0])
    assert wrong == pytest.approx(0.01, abs=1.5e-3)
    error = wrong * (1 - wrong) * float(fit.covariance[30, 30].sqrt())
    assert abs(wrong - 0.01) < 3 * error < 3e-3
    off = ~torch.eye(6, dtype=torch.bool)
    assert float((fit.generator - q)[off].square().mean().sqrt()) < 0.06
    assert bool(fit.converged)


def test_levels_and_rates_of_a_noisy_current_are_found():
    q = torch.tensor([[-0.5, 0.5], [1.0, -1.0]], dtype=torch.float64)
    truth = GaussianEmission.of([0.0, 1.0], [0.4, 0.6])
    runs = simulate(MarkovJump(q), None, np.arange(60) * 0.2, n_paths=200, seed=5)
    data = HiddenPaths.of(observe(runs, truth, missing=0.1, seed=6))
    guess = GaussianEmission.of([-0.3, 1.5], [0.5, 0.5])
    fit = fit_hidden(HiddenProblem(data, guess, RateScheme.free(2)), start=2 * q)
    np.testing.assert_allclose(fit.emission.mean[:, 0].numpy(), [0.0, 1.0], atol=0.03)
    np.testing.assert_allclose(fit.emission.std[:, 0].numpy(), [0.4, 0.6], atol=0.02)
    np.testing.assert_allclose(fit.generator.numpy(), q.numpy(), atol=0.08)
    np.testing.assert_allclose(fit.initial.numpy(), [2 / 3, 1 / 3], atol=0.12)


def test_observed_paths_have_the_noise_gaps_and_holes_that_were_asked_for():
    process = MarkovJump(cases.random_generator(3, 7))
    runs = simulate(process, None, np.arange(20) * 0.1, n_paths=2000, seed=0)
    confusion = torch.tensor(
        [[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.1, 0.1, 0.8]], dtype=torch.float64
    )
    seen = np.stack(observe(runs, LabelNoise(confusion), seed=1).states)
    truth = runs.states.numpy()
    for i in range(3):
        share = np.bincount(seen[truth == i], minlength=3) / (truth == i).sum()
        np.testing.assert_allclose(share, confusion[i], atol=0.02)
    thin = observe(runs, LabelNoise.perfect(3), keep=0.5, missing=0.2, seed=1)
    assert thin.lengths.mean() == pytest.approx(1 + 19 / 2, rel=0.02)
    assert (np.concatenate(thin.states) == -1).mean() == pytest.approx(0.2 * 9.5 / 10.5, rel=0.05)


def test_misclassified_cav_fit_is_that_of_msm():
    """Progressive model of msm's manual: four wrong labels, exact deaths, first state 0 whatever its label."""
    data = HiddenPaths.of(cases.cav(), exact=(3,))
    perfect = data.log_likelihood(
        torch.tensor(cases.CAV_START, dtype=torch.float64), LabelNoise.perfect(4), torch.eye(4)[0]
    )
    assert float(-2 * perfect.sum()) == pytest.approx(4908.816768379, abs=1e-5)
    scheme = RateScheme.free(cases.cav_edges().triu())
    law = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    rows, columns = [0, 1, 1, 2], [1, 0, 2, 1]

    def objective(theta):
        odds = torch.zeros(*theta.shape[:-1], 4, 4, dtype=theta.dtype)
        odds[..., rows, columns] = theta[..., 5:].exp()
        odds = odds + torch.eye(4, dtype=theta.dtype)
        emission = LabelNoise(odds / odds.sum(-1, keepdim=True))
        return data.log_likelihood(scheme.generator(theta[..., :5]), emission, law).sum(-1)

    start = torch.tensor([[-2.0] * 5 + [-2.3] * 4], dtype=torch.float64)
    best = maximise(objective, start)
    assert float(-2 * best.value) == pytest.approx(3951.829, abs=2e-3)


def test_one_seed_for_all_gives_labels_that_do_not_know_the_path():
    """Both draws use a uniform number per path and time; were they the same ones, errors would follow jumps."""
    q = cases.random_generator(3, 0)
    runs = simulate(MarkovJump(q), None, np.arange(10) * 0.3, n_paths=5000, seed=4)
    wrong = (
        np.stack(observe(runs, LabelNoise.uniform(3, 0.1), seed=4).states) != runs.states.numpy()
    )
    for state in range(3):
        assert wrong[runs.states.numpy() == state].mean() == pytest.approx(0.1, abs=0.01)
    jumped = np.diff(runs.states.numpy()) != 0
    assert wrong[:, 1:][jumped].mean() == pytest.approx(0.1, abs=0.01)


def test_paths_of_one_observation_count_their_label():
    data = HiddenPaths.of(Paths(times=[[0.0], [2.0]], states=[[1], [0]]))
    found = data.log_likelihood(cases.random_generator(2, 0), LabelNoise.uniform(2, 0.1), LAW)
    exact = [math.log(0.7 * 0.9 + 0.3 * 0.1), math.log(0.3 * 0.9 + 0.7 * 0.1)]
    np.testing.assert_allclose(found.numpy(), exact, rtol=1e-12)


def test_bad_arguments_are_named():
    paths, _, _, _ = two_paths("labels")
    data = HiddenPaths.of(paths)
    with pytest.raises(ValueError, match="rate must be a probability"):
        LabelNoise.uniform(3, 1.5)
    with pytest.raises(ValueError, match="std must be positive"):
        GaussianEmission.of([0.0, 1.0], 0.0)
    with pytest.raises(ValueError, match="continuous features"):
        data.log_likelihood(cases.random_generator(2, 0), GaussianEmission.of([0.0, 1.0], 1.0), LAW)
