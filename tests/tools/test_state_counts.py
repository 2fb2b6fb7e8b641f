"""Rates from counts where nobody was followed: closed forms and coverage."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import dyninfer as di

GATE = di.MarkovJump([[-1.0, 1.0], [4.0, -4.0]])


def table(counts, times, names=("well", "ill")):
    return pd.DataFrame(counts, index=times, columns=list(names))


def sampled(process, start, times, n, seed):
    """Counts of other individuals at every time."""
    rng = np.random.default_rng(seed)
    shares = [np.asarray(start) @ process.transition(t).numpy() for t in times]
    return [rng.multinomial(n, share / share.sum()) for share in shares]


def test_a_single_rate_is_the_logarithm_of_the_share_that_is_left():
    counts = table([[10**6, 0], [611_000, 389_000]], [3.0, 8.0])
    fit = di.tl.fit_state_counts(counts, jumps=di.Only(["well>ill"]), prior_width=None)
    rate = -np.log(0.611) / 5
    assert fit.process_.generator[0, 1].item() == pytest.approx(rate, rel=1e-5)
    # The delta method: d rate = d share / (5 share).
    error = np.sqrt(0.389 / (0.611 * 10**6)) / 5
    row = fit.confidence_intervals(0.9).iloc[0]
    half = norm.ppf(0.95) * error
    assert (row["high"] - row["low"]) / 2 == pytest.approx(half, rel=0.01)


def test_two_rates_are_those_of_exact_shares_in_any_unit_and_order():
    times = 1e3 + 60 * np.array([0, 0.1, 0.2, 0.4, 1.0])
    shares = [[1, 0] @ GATE.transition((t - 1e3) / 60).numpy() for t in times]
    counts = table(1e7 * np.array(shares), times).iloc[[3, 0, 1, 4, 2]]
    fit = di.tl.fit_state_counts(counts, prior_width=None)
    rates = 60 * fit.process_.generator.numpy()
    np.testing.assert_allclose(rates, GATE.generator.numpy(), rtol=1e-3)


def test_intervals_cover_as_often_as_they_say():
    times = [0, 0.1, 0.25, 0.5, 1]
    hits = []
    for seed in range(25):
        counts = table(sampled(GATE, [0.9, 0.1], times, 400, seed), times)
        rows = di.tl.fit_state_counts(counts).confidence_intervals(0.9)
        hits += [*((rows["low"] < [1, 4]) & (rows["high"] > [1, 4]))]
    assert 0.82 <= np.mean(hits) <= 0.98


def test_tables_take_the_fit():
    times = [0, 0.1, 0.25, 0.5, 1]
    fit = di.tl.fit_state_counts(table(sampled(GATE, [1, 0], times, 400, 1), times))
    stays = di.tl.sojourn_times(fit)
    np.testing.assert_allclose(stays["value"], -1 / np.diag(fit.process_.generator))
    assert (stays["low"] < stays["high"]).all()


def test_stationary_shares_leave_the_speed_unknown():
    counts = table([[800, 200]] * 6, range(6))
    rows = di.tl.fit_state_counts(counts).confidence_intervals(0.9)
    # As wide as the prior: twice 1.64 standard deviations of 2.5, a factor of 3,700, or a good part.
    assert (rows["high"] / rows["low"] > 100).all()


def test_what_cannot_be_fitted_is_named():
    counts = table([[5, 5], [4, 6]], [0, 1])
    cases = [
        (lambda: di.tl.fit_state_counts(counts, prior_width=None), "determine 2 numbers; 3"),
        (lambda: di.tl.fit_state_counts([[1, 2]]), "must be a DataFrame"),
        (lambda: di.tl.fit_state_counts(table([[5, 5], [0, 0]], [0, 1])), "nobody was counted"),
        (lambda: di.tl.fit_state_counts(table([[5, -5], [1, 0]], [0, 1])), "must not be negative"),
        (lambda: di.tl.fit_state_counts(table([[5, 5], [1, 0]], [1, 1])), "each once"),
        (lambda: di.tl.fit_state_counts(counts, prior_width=0), "prior_width must be positive"),
    ]
    for call, words in cases:
        with pytest.raises((TypeError, ValueError), match=words):
            call()
