"""Dwell times of phases: closed forms, and simulated cycles whose phases are known."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.jumps.dwell import PhaseType, SemiMarkov, fit_phases, fit_semi_markov

TIMES = [0.3, 0.7, 1.2, 2.5]


def cycle(n_phases=2):
    return SemiMarkov({"A": PhaseType.erlang(n_phases, 2.0), "B": PhaseType.erlang(1, 1.0)})


@pytest.mark.parametrize(
    ("n_phases", "log_likelihood"),
    [(1, -4.645073), (2, -4.207003), (3, -4.448530), (4, -4.952725)],
)
def test_erlang_fits_have_the_rate_of_the_mean(n_phases, log_likelihood):
    fit = fit_phases(TIMES, n_phases=n_phases)
    np.testing.assert_allclose(fit.law.rates, 4 * n_phases / 4.7, rtol=1e-6)
    assert fit.log_likelihood == pytest.approx(log_likelihood, abs=1e-6)


def test_the_number_of_phases_is_that_of_the_least_bic():
    fit = fit_phases(TIMES)
    assert fit.law.n_phases == 2
    np.testing.assert_allclose(fit.table["bic"], np.log(4) - 2 * fit.table["log_likelihood"])


def test_coxian_density_and_moments_are_those_of_the_closed_form():
    first, second, p = 3.0, 1.0, 0.4
    law = PhaseType([first, second], [p])
    t = np.array([0.5, 2.0])
    both = first * second * (np.exp(-second * t) - np.exp(-first * t)) / (first - second)
    density = (1 - p) * first * np.exp(-first * t) + p * both
    np.testing.assert_allclose(law.density(t), density, rtol=1e-12)
    np.testing.assert_allclose(density, [0.6316746, 0.0841757], atol=1e-7)
    assert (law.mean, law.variance) == pytest.approx((1 / 3 + 0.4, 0.7511111), abs=1e-7)
    assert law.density([-1.0]) == [0]
    assert law.survival([-1.0]) == [1]


def test_draws_have_the_moments_of_the_law():
    law = PhaseType([3.0, 1.0], [0.4])
    times = law.sample(40000, seed=0)
    assert times.mean() == pytest.approx(law.mean, rel=0.02)
    assert times.var() == pytest.approx(law.variance, rel=0.06)
    assert np.mean(times > 1) == pytest.approx(float(law.survival([1.0])[0]), abs=0.008)


def test_a_coxian_fit_of_one_phase_is_exponential_whatever_is_cut_off():
    fit = fit_phases(TIMES, "coxian", 1, is_complete=[True, True, True, False])
    np.testing.assert_allclose(fit.law.rates, 3 / 4.7, rtol=1e-6)
    erlang = fit_phases(TIMES, "erlang", 1, is_complete=[True, True, True, False])
    assert erlang.log_likelihood == pytest.approx(fit.log_likelihood, abs=1e-9)


def test_coxian_phases_are_recovered_from_wide_times():
    # Two kinds of shuttings: of one phase, or of a slow second one.
    law = PhaseType([3.0, 0.2], [0.4])
    fit = fit_phases(law.sample(3000, seed=1), "coxian", most_phases=3)
    assert fit.law.n_phases == 2
    assert fit.law.mean == pytest.approx(law.mean, rel=0.06)
    assert fit.law.variance == pytest.approx(law.variance, rel=0.15)


@pytest.mark.parametrize(("time", "probability"), [(0.5, 0.2206668), (1.0, 0.4147371)])
def test_transitions_of_a_cycle_are_those_of_the_closed_form(time, probability):
    omega = np.sqrt(7) / 2
    decay = np.exp(-2.5 * time)
    wave = 0.5 * np.cos(omega * time) + 1.25 / omega * np.sin(omega * time)
    to_b = float(cycle().process.transition(time)[0, 2])
    assert to_b == pytest.approx(0.5 - decay * wave, abs=1e-12)
    assert to_b == pytest.approx(probability, abs=1e-7)


def test_labels_after_an_entry_have_the_likelihood_of_the_phases():
    path = di.Paths(times=[[0, 1, 2, 3]], states=[["A", "B", "A", "A"]])
    assert cycle().log_likelihoods(path) == pytest.approx(-2.2545240, abs=1e-6)


def test_labels_of_one_phase_have_the_likelihood_of_a_markov_process():
    path = di.Paths(times=[[0, 1, 2.5, 3], [7, 9]], states=[[0, 1, -1, 0], [1, 1]])
    model = SemiMarkov({"0": PhaseType.erlang(1, 0.7), "1": PhaseType.erlang(1, 1.6)})
    p = model.process.transition(torch.tensor([1.0, 2.0]))
    first = p[0, 0, 1] * p[1, 1, 0]
    second = p[1, 1, 1]
    expected = torch.stack([first, second]).log()
    np.testing.assert_allclose(model.log_likelihoods(path), expected, rtol=1e-12)
    stationary = model.process.stationary().log()
    running = model.log_likelihoods(path, entered=False)
    np.testing.assert_allclose(running, expected + stationary, rtol=1e-12)


def test_phases_are_found_from_labels_at_given_times():
    """Simulated: a phase that lasts for two steps, and one that lasts for one."""
    true = cycle(n_phases=3)
    runs = di.simulate(true.process, [0] * 150, np.arange(0, 12, 0.4), seed=0)
    labels = true.labels(runs.states.numpy())
    paths = di.Paths(times=[runs.times] * 150, states=list(labels), state_names=["A", "B"])
    fits = {k: fit_semi_markov(paths, {"A": k}) for k in (1, 3)}
    assert fits[3].bic < fits[1].bic - 10
    rows = fits[3].confidence_intervals(0.99)
    truth = np.array([1.5, 1.0])
    assert ((rows["low"] < truth) & (rows["high"] > truth)).all()
    np.testing.assert_allclose(rows["mean"], truth, rtol=0.08)


def test_three_states_learn_where_they_jump_to():
    jumps = np.array([[0, 0.8, 0.2], [0.5, 0, 0.5], [1, 0, 0]])
    true = SemiMarkov({name: PhaseType.erlang(2, 3.0) for name in "abc"}, jumps)
    runs = di.simulate(true.process, [0] * 100, np.arange(0, 10, 0.5), seed=2)
    labels = true.labels(runs.states.numpy())
    paths = di.Paths(times=[runs.times] * 100, states=list(labels), state_names=list("abc"))
    fit = fit_semi_markov(paths, 2)
    np.testing.assert_allclose(fit.model.jumps, jumps, atol=0.08)


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(ValueError, match="continuing must hold 1 prob"):
        PhaseType([1.0, 2.0])
    with pytest.raises(ValueError, match="times must be positive"):
        fit_phases([0.0, 1.0])
    with pytest.raises(ValueError, match="which is no state"):
        fit_semi_markov(di.Paths(times=[[0, 1]], states=[["a", "b"]]), {"c": 2})
    with pytest.raises(ValueError, match="begins with a missing label"):
        cycle().log_likelihoods(di.Paths(times=[[0, 1]], states=[[-1, 1]], state_names=["A", "B"]))
