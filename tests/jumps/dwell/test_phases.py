"""Dwell times of phases: closed forms, and simulated cycles whose phases are known."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import optimize, stats

import dyninfer as di
from dyninfer.jumps.dwell import PhaseType, SemiMarkov, fit_phases, fit_semi_markov, state_visits

TIMES = [0.3, 0.7, 1.2, 2.5]
FRAMES = 0.1 * np.arange(12)


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
    fit = fit_phases(law.sample(1500, seed=1), "coxian", most_phases=3)
    assert fit.law.n_phases == 2
    assert fit.law.mean == pytest.approx(law.mean, rel=0.08)
    assert fit.law.variance == pytest.approx(law.variance, rel=0.2)


@pytest.mark.parametrize("kind", ["erlang", "coxian"])
def test_of_one_phase_the_rate_is_ends_over_the_time_at_risk_beyond_the_dead_time(kind):
    is_complete = [True, True, True, False]
    fit = fit_phases(TIMES, kind, 1, is_complete=is_complete, dead_time=0.2)
    np.testing.assert_allclose(fit.law.rates, 3 / (4.7 - 4 * 0.2), rtol=1e-6)
    # Of n exponential times that ended, the log-rate has the variance 1 / n.
    row = fit.confidence_intervals(0.9).iloc[0]
    assert np.log(row["high"] / row["mean"]) == pytest.approx(1.6449 / np.sqrt(3), rel=1e-4)


def test_a_visit_of_one_frame_is_as_long_as_a_dead_time_of_one_frame():
    """Of differences of times, some are shorter by rounding."""
    assert np.diff(FRAMES).min() < 0.1
    fit = fit_phases([*np.diff(FRAMES), 0.9], n_phases=1, dead_time=0.1)
    np.testing.assert_allclose(fit.law.rates, 12 / 0.8, rtol=1e-6)


def test_times_above_a_dead_time_are_gamma_times_that_are_cut_below():
    times = np.array(TIMES)
    fit = fit_phases(times, n_phases=3, is_complete=times < 2, dead_time=0.2)

    def deviance(log_rate):
        law = stats.gamma(3, scale=np.exp(-log_rate))
        seen = law.logpdf(times[:3]).sum() + law.logsf(times[3])
        return 4 * law.logsf(0.2) - seen

    best = optimize.minimize_scalar(deviance, bracket=(-1, 2), tol=1e-10)
    assert float(fit.law.rates[0]) == pytest.approx(np.exp(best.x), rel=1e-6)
    assert fit.log_likelihood == pytest.approx(-best.fun, abs=1e-9)


def test_a_coxian_likelihood_holds_over_seven_decades():
    rates = np.array([1000.0, 1.0, 1e-3])
    times = PhaseType(rates, [0.5, 0.3]).sample(300, seed=3)
    assert times.max() / times.min() > 1e6
    fit = fit_phases(times, "coxian", 3)
    np.testing.assert_allclose(fit.law.rates.numpy(), rates, rtol=0.4)
    density = fit.law.density(times)
    is_seen = density > 1e-300
    assert is_seen.mean() > 0.9
    assert fit.log_likelihood == pytest.approx(np.log(density).sum(), rel=1e-6)


def test_a_dead_time_and_an_end_of_recording_leave_the_law_as_it_is():
    law = PhaseType([3.0, 0.2], [0.4])
    times = law.sample(3000, seed=1)
    times = times[times > 0.1]
    fit = fit_phases(np.minimum(times, 4), "coxian", 2, is_complete=times < 4, dead_time=0.1)
    row = fit.confidence_intervals(0.99).iloc[0]
    assert row["low"] < law.mean < row["high"]
    naive = fit_phases(np.minimum(times, 4), "coxian", 2)
    assert naive.law.mean < 0.75 * law.mean


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
    fit = fit_semi_markov(paths)
    laws = fit.model.dwell_times
    assert [law.n_phases for law in laws.values()] == [3, 1]
    assert fit.table["bic"].min() == fit.bic < fit.table["bic"][0] - 10
    rows = fit.confidence_intervals(0.99)
    truth = np.array([1.5, 1.0])
    assert ((rows["low"] < truth) & (rows["high"] > truth)).all()
    np.testing.assert_allclose(rows["mean"], truth, rtol=0.08)


def test_stays_that_may_end_in_each_phase_are_found_from_labels():
    law = PhaseType([4.0, 0.3], [0.4])
    true = SemiMarkov({"A": law, "B": PhaseType.erlang(1, 1.0)})
    runs = di.simulate(true.process, [0] * 300, np.arange(0, 12, 0.4), seed=0)
    labels = true.labels(runs.states.numpy())
    paths = di.Paths(times=[runs.times] * 300, states=list(labels), state_names=["A", "B"])
    fit = fit_semi_markov(paths, {"A": 2}, "coxian")
    markov = fit_semi_markov(paths, 1, "coxian")
    assert fit.bic < markov.bic - 100
    row = fit.confidence_intervals(0.99).iloc[0]
    assert row["low"] < law.mean < row["high"]


def test_visits_are_cut_where_they_were_not_seen_to_begin_or_to_end():
    paths = di.Paths(
        times=[[0, 1, 2, 3, 4, 5, 6, 7], [0, 2, 5, 6]],
        states=[["a", "a", "b", "b", None, "a", "a", "b"], ["b", "a", "b", "b"]],
    )
    rows = state_visits(paths)
    assert rows["state"].tolist() == ["b", "a", "b"]
    # The first was still b at time 3, and nobody knows at 4.
    assert rows["time"].tolist() == [1, 3, 1]
    assert rows["is_complete"].tolist() == [False, True, False]
    of_b = rows[rows["state"] == "b"].iloc[::-1]
    fit = fit_phases(of_b["time"] + 1, n_phases=1, is_complete=of_b["path"] == "1")
    np.testing.assert_allclose(fit.law.rates, 1 / 4, rtol=1e-6)
    entered = state_visits(paths, entered=True)
    assert entered["time"].tolist() == [2, 1, 2, 3, 1]
    assert entered["path"].tolist() == ["0", "0", "1", "1", "1"]


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
    with pytest.raises(ValueError, match="times holds 0.3, shorter than dead_time=0.5"):
        fit_phases(TIMES, dead_time=0.5)
    with pytest.raises(ValueError, match="all times are dead_time=0.1, and no rate"):
        fit_phases(np.diff(FRAMES), dead_time=0.1)
    with pytest.raises(TypeError, match="dwell times need labels"):
        state_visits(di.Paths(times=[[0, 1]], states=[[0.5, 1.5]]))
    with pytest.raises(ValueError, match="which is no state"):
        fit_semi_markov(di.Paths(times=[[0, 1]], states=[["a", "b"]]), {"c": 2})
    with pytest.raises(ValueError, match="begins with a missing label"):
        cycle().log_likelihoods(di.Paths(times=[[0, 1]], states=[[-1, 1]], state_names=["A", "B"]))


def test_what_is_no_label_and_no_flag_is_refused_in_a_sentence():
    continuous = di.Paths(times=[[0, 1]], states=[[[0.0], [1.0]]])
    with pytest.raises(TypeError, match="the paths are continuous"):
        fit_semi_markov(continuous)
    for read in (state_visits, fit_semi_markov):
        with pytest.raises(TypeError, match=r"paths must be di\.Paths of labels, found list"):
            read([[0, 1]])
    with pytest.warns(UserWarning, match="no path is seen to leave state 'c': the labels say"):
        fit_semi_markov(di.Paths(times=[[0, 1, 2, 3]], states=[list("abac")]), 1)
    with pytest.raises(ValueError, match="is_complete must be True or False"):
        fit_phases([2.0, 1.0], is_complete=pd.Series([True, None]))
