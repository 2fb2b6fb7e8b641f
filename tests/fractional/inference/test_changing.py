"""The linear part with an index that changes, against covariances in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import OptimizeResult
from torch.distributions import MultivariateNormal

from dyninfer import Paths
from dyninfer.fractional import HurstFunction, MarkovApproximation, approximate_covariance
from dyninfer.fractional.inference import (
    Equation,
    LinearPrior,
    Series,
    exact_log_likelihood,
    exact_posterior,
    guided_paths,
    maximise,
    maximum,
)
from dyninfer.fractional.inference.changing import ChangingPrior
from dyninfer.fractional.noise.changing_index import OwnIndex, PiecewiseIndex

DOUBLE = torch.float64
COMMON = {"drift": "none", "tau": 0.2, "latent": False, "free_start": False}
COMMON |= {"observation_noise": torch.tensor([0.1, 0.3], dtype=DOUBLE)}
SHARED = [100.0, 100.3, 100.7, 101.5, 102.0]


def noise_of(kind, horizon=2.0):
    return MarkovApproximation(5, horizon=horizon, dt=0.1, kind=kind)


def changing(kind="II", indices=(0.3, 0.7), unit=0.5, **settings):
    index = PiecewiseIndex(torch.tensor([100.0, 102.0], dtype=DOUBLE))
    index.logits.data = torch.tensor(indices, dtype=DOUBLE).logit()
    prior = ChangingPrior(noise_of(kind), 2, 2, index=index, **COMMON | settings)
    prior.requires_grad_(False)
    prior.log_unit.fill_(math.log(unit / 0.2))
    prior.log_amplitude.copy_(torch.tensor([0.2, -0.4]))
    return prior


def series_of(times, seed=0, missing=()):
    rng = np.random.default_rng(seed)
    states = [rng.normal(size=(len(t), 2)) for t in times]
    for path, row, feature in missing:
        states[path][row, feature] = np.nan
    return Series.of(Paths(times=times, states=states))


def covariance_of(prior, times, coordinate):
    """Motion in units of ``u``: the covariance of a Markov approximation with rates and horizon in these units."""
    unit = float(prior.unit)
    scaled = MarkovApproximation(
        horizon=prior.noise.horizon / unit,
        dt=prior.noise.dt / unit,
        kind=prior.noise.kind,
        nodes=(prior.noise.nodes[1:] * unit).tolist(),
    )
    elapsed = (times - times[0]) / unit
    motion = approximate_covariance(scaled, elapsed, prior.index(times))
    return prior.scale[coordinate] ** 2 * motion + (2 * prior.log_start[coordinate]).exp()


def expected_log_likelihoods(prior, series):
    total = torch.zeros(len(series), dtype=DOUBLE)
    for path in range(len(series)):
        for coordinate in range(2):
            is_there = series.full_mask[path, :, coordinate]
            times = series.times[path]
            covariance = covariance_of(prior, times[: int(is_there.nonzero()[-1]) + 1], coordinate)
            variance = (2 * prior.log_noise[coordinate]).exp()
            own = is_there[: len(covariance)]
            observed = covariance[own][:, own] + variance * torch.eye(int(own.sum()))
            law = MultivariateNormal(
                prior.start_mean[coordinate] * torch.ones(len(observed)), observed
            )
            total[path] += law.log_prob(series.values[path, is_there, coordinate])
    return total


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize(
    ("times", "missing"),
    [
        ([SHARED] * 3, []),
        ([SHARED] * 3, [(0, 2, 1), (2, 0, 0)]),
        ([SHARED, [100.5, 100.9, 101.0, 101.9], [100.0, 100.4, 100.8]], [(1, 2, 0)]),
        ([[100.0, 100.5, 101.0], [100.5, 101.0, 101.5], [101.0, 101.5, 102.0]], []),
    ],
)
def test_likelihood_is_that_of_the_covariance(kind, times, missing):
    """Shared times, values that are missing, and gaps that paths share though their times differ."""
    prior = changing(kind)
    series = series_of(times, missing=missing)
    found = exact_log_likelihood(prior, series)
    assert torch.allclose(found, expected_log_likelihoods(prior, series), atol=1e-8)


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("times", [[SHARED] * 2, [SHARED, [100.5, 100.9, 101.0]]])
def test_an_index_that_stays_is_a_constant_index(kind, times):
    """Whatever the unit, as long as the amplitude goes with it."""
    prior = changing(kind, indices=(0.35, 0.35), drift="constant")
    constant = LinearPrior(
        noise_of(kind), 2, 2, hurst=0.35, shared=True, **COMMON | {"drift": "constant"}
    )
    constant.requires_grad_(False)
    shift = 0.35 * math.log(0.2 / 0.5)
    constant.log_amplitude.copy_(prior.log_amplitude + shift)
    for one in (prior, constant):
        one.level.copy_(torch.tensor([0.5, -1.0]))
    series = series_of(times)
    found = exact_log_likelihood(prior, series)
    assert torch.allclose(found, exact_log_likelihood(constant, series), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_a_linear_drift_acts_as_in_the_exact_steps_of_a_constant_index(kind):
    """By the midpoint rule in quarters of a gap: the error of a log-likelihood is below a hundredth."""
    settings = COMMON | {"drift": "linear"}
    prior = changing(kind, indices=(0.6, 0.6), drift="linear", unit=0.2)
    constant = LinearPrior(noise_of(kind), 2, 2, hurst=0.6, shared=True, **settings)
    constant.requires_grad_(False)
    constant.log_amplitude.copy_(prior.log_amplitude)
    series = series_of([SHARED, [100.5, 100.9, 101.0]])
    found, expected = (exact_log_likelihood(one, series) for one in (prior, constant))
    assert (found - expected).abs().max() < 0.01
    without = exact_log_likelihood(changing(kind, indices=(0.6, 0.6), unit=0.2), series)
    assert (without - expected).abs().min() > 0.1


@pytest.mark.parametrize("kind", ["I", "II"])
@pytest.mark.parametrize("times", [[SHARED] * 2, [SHARED, [100.5, 100.9, 101.0]]])
def test_guided_paths_weigh_what_the_likelihood_says(kind, times):
    prior = changing(kind)
    series = series_of(times, missing=[(0, 1, 0)])
    found = guided_paths(Equation(prior), series, 6, n_steps=3)
    exact = exact_log_likelihood(prior, series)
    assert (found.log_weights - exact).abs().max() < 1e-7


def test_guided_paths_where_nothing_is_observed_have_the_variance_of_the_motion():
    prior = changing("I", start_width=1e-6)
    series = series_of([[100.0, 101.0, 102.0]], missing=[(0, k, f) for k in (1, 2) for f in (0, 1)])
    found = guided_paths(Equation(prior), series, 4000, n_steps=2)
    for coordinate in range(2):
        expected = covariance_of(prior, series.times[0], coordinate).diagonal()[1:]
        variance = found.states[:, 0, 1:, coordinate].var(0)
        assert torch.allclose(variance, expected, rtol=0.1)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_posterior_is_the_gaussian_conditional(kind):
    prior = changing(kind)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 2))
    paths = Paths(times=[[100.0, 100.5, 101.2, 101.6]], states=[values])
    series = Series.of(paths, [100.8, 102.0])
    draws = exact_posterior(prior, series, 4000, seed=0)[:, 0]
    for coordinate in range(2):
        full = covariance_of(prior, series.times[0], coordinate)
        is_there = series.full_mask[0, :, coordinate]
        variance = (2 * prior.log_noise[coordinate]).exp()
        observed = full[is_there][:, is_there] + variance * torch.eye(4)
        gain = torch.linalg.solve(observed, full[is_there]).T
        mean = gain @ series.values[0, is_there, coordinate]
        spread = (full - gain @ full[is_there]).diagonal()
        error = (draws[:, :, coordinate].mean(0) - mean).abs()
        assert (error < 4 * (spread / 4000).sqrt()).all()
        assert torch.allclose(draws[:, :, coordinate].var(0), spread, rtol=0.12)


def test_gradients_are_those_of_differences():
    prior = changing("I").requires_grad_(True)
    series = series_of([SHARED, [100.5, 100.9, 101.0]])
    parameters = [prior.index.logits, prior.log_unit, prior.log_amplitude]
    slopes = torch.autograd.grad(exact_log_likelihood(prior, series).sum(), parameters)
    for parameter, slope in zip(parameters, slopes, strict=True):
        for k in range(parameter.numel()):
            ends = []
            for shift in (1e-5, -1e-5):
                with torch.no_grad():
                    parameter.view(-1)[k] += shift
                    ends.append(float(exact_log_likelihood(prior, series).sum()))
                    parameter.view(-1)[k] -= shift
            assert slope.view(-1)[k].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_latent_coordinates_that_are_features_have_their_likelihood():
    prior = changing("I")
    latent = changing("I", latent=True)
    with torch.no_grad():
        latent.start_mean.copy_(prior.start_mean)
    series = series_of([SHARED, [100.5, 100.9, 101.0]])
    found = exact_log_likelihood(latent, series)
    assert torch.allclose(found, exact_log_likelihood(prior, series), atol=1e-8)


def test_piecewise_index_is_interpolated_and_constant_beyond():
    index = PiecewiseIndex(torch.tensor([1.0, 2.0, 5.0]))
    index.logits.data = torch.tensor([0.2, 0.8, 0.5], dtype=DOUBLE).logit()
    times = np.array([0.0, 1.0, 1.25, 2.0, 4.0, 5.0, 9.0])
    expected = np.interp(times, [1, 2, 5], [0.2, 0.8, 0.5])
    np.testing.assert_allclose(index(torch.from_numpy(times)).detach(), expected, atol=1e-12)


def test_a_function_that_returns_something_else_is_named():
    times = torch.tensor([0.0, 1.0])
    with pytest.raises(ValueError, match=r"noise.hurst must return a tensor \(m,\)"):
        OwnIndex(lambda t: t[:, None], 0.0, 1.0)(times)
    spline = HurstFunction(0.0, 1.0, hurst=0.6)
    assert OwnIndex(spline, 0.0, 1.0)(times).tolist() == pytest.approx([0.6, 0.6])


def test_single_precision_far_from_zero_is_refused():
    module = torch.nn.Sequential(torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match=r"module.double\(\)"):
        OwnIndex(module, 1.7e9, 1.7e9 + 3600)
    OwnIndex(module.double(), 1.7e9, 1.7e9 + 3600)


def test_a_search_that_finds_no_further_step_is_not_begun_again(monkeypatch):
    """At a maximum a line search may end by rounding: it did so 275 times in one fit."""
    found = []
    search = maximum.minimize

    def once(objective, start, **options):
        if found:
            found.append(OptimizeResult(x=start, fun=found[0].fun, nit=0, status=2, success=False))
        else:
            found.append(search(objective, start, **options))
        return found[-1]

    monkeypatch.setattr(maximum, "minimize", once)
    prior = LinearPrior(noise_of("I"), 2, 2, hurst=0.5, shared=True, **COMMON)
    fit = maximise(prior, series_of([SHARED] * 3), 100)
    assert len(found) == 2
    assert fit.status == "finished"


def test_noise_too_small_to_show_in_the_slope_is_let_grow():
    """A search ended so, 0.17 nats and an index 0.008 off the maximum, on some machines."""
    rng = np.random.default_rng(0)
    times = 0.1 * np.arange(60)
    walks = np.cumsum(rng.normal(size=(6, 60, 2)), axis=1)
    states = list(walks + 0.5 * rng.normal(size=walks.shape))
    series = Series.of(Paths(times=[times] * 6, states=states))
    learned = COMMON | {"observation_noise": None}
    prior = LinearPrior(noise_of("I"), 2, 2, hurst=0.5, shared=True, **learned)
    maximise(prior, series, 300)
    objective = maximum.ExactObjective(prior, series)
    best = objective.vector()
    least, _ = objective(best)
    assert objective.beyond(best, least) is None
    place = best.copy()
    place[objective.slices["log_noise"]] -= 4
    value, _ = objective(place)
    for _ in range(30):
        better = objective.beyond(place, value)
        if better is None:
            break
        place = better
        value, _ = objective(place)
    assert (value - least) * objective.count < 0.05
