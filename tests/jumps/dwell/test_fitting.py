"""Rates from dwell times of simulated channels, whose rates are known."""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.jumps import RateScheme

NAMES = ["open", "short shut", "long shut"]
JUMPS = "birth-death"
RATES = (4.0, 8.0, 3.0, 1.0)


def relative_errors(fit):
    return fit.confidence_intervals()["rate"].to_numpy() / RATES - 1


def test_missed_visits_are_made_up_for():
    """The bar: within 5 % where the rates of a fit that ignores the dead time are 20 % off."""
    channel = di.simulators.BurstingChannel(rates=RATES)
    record = channel.dwell_times(8000.0, n=2, dead_time=0.05, seed=0)
    fit = di.tl.fit_dwell_times(record, NAMES, ["open"], JUMPS)
    assert np.abs(relative_errors(fit)).max() < 0.05
    part = record.durations[0][:4000]
    ignoring = di.DwellTimes([part], record.first_open[:1], dead_time=0.0)
    naive = di.tl.fit_dwell_times(ignoring, NAMES, ["open"], JUMPS)
    assert np.sort(np.abs(relative_errors(naive)))[1] > 0.2
    rows = fit.confidence_intervals(0.99)
    assert ((rows["low"] < RATES) & (rows["high"] > RATES)).all()
    assert fit.apparent.mean("open") == pytest.approx(record.open_times.mean(), rel=0.005)
    assert fit.apparent.mean("shut") == pytest.approx(record.shut_times.mean(), rel=0.005)


def test_without_a_dead_time_rates_of_a_gate_are_dwell_times_upside_down():
    record = di.DwellTimes([[0.3, 0.4, 0.7, 0.25, 0.2, 0.6]])
    fit = di.tl.fit_dwell_times(record, ["open", "shut"], ["open"])
    rates = fit.confidence_intervals()["rate"]
    np.testing.assert_allclose(rates, [3 / 1.2, 3 / 1.25], rtol=1e-5)
    # Of n exponential times the log-rate has the variance 1 / n.
    np.testing.assert_allclose(fit.fit.covariance.diagonal(), [1 / 3, 1 / 3], rtol=1e-4)


def test_records_cut_off_in_a_dwell_time_are_exponential_too():
    record = di.DwellTimes([[0.3, 0.4, 0.7], [0.2, 0.5]], last_complete=False)
    fit = di.tl.fit_dwell_times(record, ["open", "shut"], ["open"])
    rates = fit.confidence_intervals()["rate"]
    # Events over time at risk: two open times that ended, and one shut time.
    np.testing.assert_allclose(rates, [2 / 1.2, 1 / 0.9], rtol=1e-5)


def test_a_scheme_ties_rates():
    scheme = RateScheme.free(2)
    tied = RateScheme(2, scheme.edges, scheme.design.sum(1, keepdim=True), scheme.offset)
    record = di.DwellTimes([[0.3, 0.4, 0.7, 0.25, 0.2, 0.6]])
    fit = di.tl.fit_dwell_times(record, ["open", "shut"], ["open"], tied)
    np.testing.assert_allclose(fit.confidence_intervals()["rate"], 6 / 2.45, rtol=1e-5)


def test_rates_move_with_the_unit_of_time():
    channel = di.simulators.BurstingChannel(rates=RATES)
    record = channel.dwell_times(300.0, dead_time=0.05)
    seconds = di.DwellTimes(
        [d / 1000 for d in record.durations], record.first_open, 5e-5, record.last_complete
    )
    here = di.tl.fit_dwell_times(record, NAMES, ["open"], JUMPS).process.generator
    there = di.tl.fit_dwell_times(seconds, NAMES, ["open"], JUMPS).process.generator
    np.testing.assert_allclose(there, 1000 * here, rtol=1e-3)


def test_what_cannot_be_fitted_is_refused_by_name():
    record = di.DwellTimes([[0.3]])
    with pytest.raises(ValueError, match="rates need both"):
        di.tl.fit_dwell_times(record, ["open", "shut"], ["open"])
    with pytest.raises(TypeError, match="must be a list of names"):
        di.tl.fit_dwell_times(record, ["open", "shut"], "open")
    with pytest.raises(ValueError, match="2 states and state_names 3"):
        di.tl.fit_dwell_times(record, NAMES, ["open"], RateScheme.free(2))
