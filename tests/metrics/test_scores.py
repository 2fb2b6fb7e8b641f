"""Scores of forecasts against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, poisson

from dyninfer.metrics import brier_score, crps, energy_score, hellinger_distance
from dyninfer.metrics.forecasts import Forecasts


@pytest.mark.parametrize("y", [-1.5, 0.0, 2.0])
def test_crps_of_a_normal_forecast_is_its_closed_form(y):
    # Gneiting & Raftery 2007, eq. 21.
    m, mu, sigma = 400_000, 0.5, 2.0
    draws = mu + sigma * torch.randn(m, generator=torch.Generator().manual_seed(0))
    z = (y - mu) / sigma
    closed = sigma * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / math.sqrt(math.pi))
    # The standard error of the mean of |X − y| is below σ / √m.
    assert float(crps(draws, torch.tensor(y))) == pytest.approx(closed, abs=4 * sigma / m**0.5)


@pytest.mark.parametrize("m", [2, 3, 10])
def test_crps_is_unbiased_whatever_the_number_of_draws(m):
    n, generator = 100_000, torch.Generator().manual_seed(1)
    scores = crps(torch.randn(m, n, generator=generator), torch.zeros(n))
    closed = 2 * norm.pdf(0) - 1 / math.sqrt(math.pi)
    error = float(scores.std()) / n**0.5
    assert float(scores.mean()) == pytest.approx(closed, abs=4 * error)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_energy_score_of_a_standard_normal_at_its_centre_is_its_closed_form(d):
    m = 3000
    draws = torch.randn(m, 1, d, generator=torch.Generator().manual_seed(2))
    # E|X| = √2 Γ((d+1)/2) / Γ(d/2), and X − X' has √2 times the spread.
    distance = math.sqrt(2) * math.exp(math.lgamma((d + 1) / 2) - math.lgamma(d / 2))
    closed = distance * (1 - math.sqrt(2) / 2)
    assert float(energy_score(draws, torch.zeros(1, d))) == pytest.approx(closed, abs=0.03)


def test_energy_score_of_one_feature_is_the_crps():
    generator = torch.Generator().manual_seed(3)
    draws, observed = torch.randn(7, 4, generator=generator), torch.randn(4, generator=generator)
    ours = energy_score(draws.unsqueeze(-1), observed.unsqueeze(-1))
    torch.testing.assert_close(ours, crps(draws, observed))


@pytest.mark.parametrize("unit", [1e-300, 1e-160, 1e160, 1e300])
def test_scores_in_another_unit_are_the_same_length(unit):
    generator = torch.Generator().manual_seed(4)
    draws = torch.randn(7, 4, 3, generator=generator, dtype=torch.float64)
    observed = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    # Forecasts of other sizes beside it change nothing.
    units = torch.tensor([unit, 1.0, unit, 1e-9], dtype=torch.float64)[:, None]
    ours = energy_score(draws * units, observed * units) / units[:, 0]
    torch.testing.assert_close(ours, energy_score(draws, observed), rtol=1e-12, atol=0)
    ours = crps(draws * units, observed * units) / units
    torch.testing.assert_close(ours, crps(draws, observed), rtol=1e-12, atol=0)


def test_a_certain_forecast_scores_its_distance():
    draws = torch.tensor([3.0, 4.0]).expand(5, 1, 2)
    assert float(energy_score(draws, torch.zeros(1, 2))) == pytest.approx(5.0)
    assert crps(draws, torch.zeros(1, 2)).tolist() == [[3.0, 4.0]]


def test_hellinger_distance_of_two_poissons_is_its_closed_form():
    # H² = 1 − exp(−(√λ − √μ)² / 2)
    k = np.arange(200)
    one, other = poisson.pmf(k, 4.0), poisson.pmf(k, 9.0)
    assert float(hellinger_distance(one, other)) == pytest.approx(math.sqrt(1 - math.exp(-0.5)))
    assert float(hellinger_distance(one, one)) == 0
    assert float(hellinger_distance([3, 0], [0, 5])) == 1


def test_hellinger_distance_takes_counts_and_batches():
    distances = hellinger_distance([[1, 3], [2, 2]], [[2, 6], [0.5, 0.5]])
    assert distances.tolist() == [0.0, 0.0]


def test_brier_score_of_frequencies():
    draws = torch.tensor([0, 0, 1, 2]).unsqueeze(1)
    # (1/2 − 1)² + (1/4)² + (1/4)²
    assert brier_score(draws, [0], n_states=3).tolist() == [0.375]


def test_the_brier_score_needs_no_room_for_states_that_never_occur():
    assert brier_score([[0], [2**31]], [0], n_states=2**40).tolist() == [0.5]


def test_a_missing_state_has_no_brier_score():
    scores = brier_score([[0, 0], [1, 0]], [-1, 0], n_states=2)
    assert scores.isnan().tolist() == [True, False]
    assert scores[1] == 0


def test_states_beyond_the_number_of_states_are_refused():
    # The last two hold states that are there, too.
    wrong = [([[2]], [0]), ([[0]], [2]), ([[-1]], [0]), ([[1, 2]], [0, 0]), ([[0, 1]], [0, 2])]
    for draws, observed in wrong:
        with pytest.raises(ValueError, match="holds state .* 2 states are numbered from 0 to 1"):
            brier_score(draws, observed, n_states=2)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -1.0])
def test_what_is_no_distribution_is_refused(odd):
    with pytest.raises(ValueError, match="q must hold finite numbers, none negative"):
        hellinger_distance([0.5, 0.5], [2.0, odd])
    # The sum of the second is no number, though none of its numbers is infinite.
    for q in ([0.0, 0.0], [1e308, 1e308], [[1.0, 1.0], [0.0, 0.0]]):
        with pytest.raises(ValueError, match="q must hold finite numbers"):
            hellinger_distance([0.5, 0.5], q)


@pytest.mark.parametrize("half", [0.5, math.nan, math.inf, 2.0**53])
def test_states_that_are_no_whole_numbers_are_refused(half):
    with pytest.raises(ValueError, match="draws must hold whole numbers of states"):
        brier_score([[0.0, half]], [0, 0], n_states=2)


def test_shapes_and_draws_that_cannot_be_scored_are_refused():
    with pytest.raises(ValueError, match="shape of the observations"):
        crps(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ValueError, match="at least two draws"):
        crps(torch.zeros(1, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="draws must be .* found one number"):
        crps(1.0, 1.0)
    with pytest.raises(ValueError, match="p must be .* found one number"):
        hellinger_distance(1.0, [1.0])
    with pytest.raises(ValueError, match="p has 2 states and q has 1"):
        hellinger_distance([1.0, 1.0], [1.0])
    for draws in ([0, 1], [[0, 1]], [[0], [1]], np.zeros((0, 3))):
        with pytest.raises(ValueError, match="draws must be .* shape of the observations"):
            brier_score(draws, [0, 1, 1], n_states=2)


def test_sparse_draws_are_read_and_those_without_numbers_refused():
    draws = torch.tensor([[1.0, 0.0], [0.0, 3.0], [2.0, 2.0]])
    observed = torch.tensor([0.5, 1.5])
    assert torch.equal(crps(draws.to_sparse(), observed), crps(draws, observed))
    assert torch.equal(
        hellinger_distance(draws.to_sparse_csr(), draws.flip(0)),
        hellinger_distance(draws, draws.flip(0)),
    )
    with pytest.raises(ValueError, match="draws is on the device 'meta'"):
        crps(draws.to("meta"), observed)


@pytest.mark.parametrize("score", [crps, energy_score])
@pytest.mark.parametrize("size", [2.0**-960, 2.0**-40, 2.0**40, 2.0**1020])
def test_scores_are_in_the_unit_of_the_forecasts_whatever_it_is(score, size):
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(20, 5, 3, generator=generator, dtype=torch.float64)
    observed = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    assert torch.equal(score(size * draws, size * observed), size * score(draws, observed))


@pytest.mark.parametrize("score", [crps, energy_score])
@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_draws_that_are_not_finite_are_refused_by_name(score, odd):
    draws = torch.zeros(3, 2, 2)
    draws[0, 0, 0] = odd
    with pytest.raises(ValueError, match="1 of 12 numbers of draws are NaN or infinite"):
        score(draws, torch.zeros(2, 2))
    with pytest.raises(ValueError, match="observed holds infinity"):
        score(torch.zeros(3, 2, 2), torch.tensor([[math.inf, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("score", [crps, energy_score])
def test_what_was_not_observed_has_no_score_and_the_rest_has(score):
    observed = torch.tensor([[math.nan, 1.0], [3.0, 4.0]])
    scores = score(torch.zeros(3, 2, 2), observed)
    expected = [[math.nan, 1.0], [3.0, 4.0]] if score is crps else [math.nan, 5.0]
    torch.testing.assert_close(scores, torch.tensor(expected, dtype=torch.float64), equal_nan=True)


def test_forecasts_that_diverged_are_left_out_of_means_and_said():
    draws = np.zeros((3, 4, 1))
    draws[1, 2] = np.nan
    forecasts = Forecasts(
        path=np.array([0, 0, 1, 1]),
        time=np.arange(4.0),
        draws=draws,
        observed=np.array([[1.0], [3.0], [5.0], [7.0]]),
        still=np.zeros((4, 1)),
    )
    with pytest.warns(UserWarning, match="draws of 1 of 4 forecasts diverged"):
        forecasts = forecasts.without_diverged()
    table = forecasts.by_path(2)
    assert table["crps"].tolist() == [2.0, 7.0]
    by_time = forecasts.by_time(1)
    # Zeros, and observations of 1, 3 and 7.
    assert by_time["w1"].item() == pytest.approx(11 / 3)


def test_an_idle_forecast_of_states_scores_zero_where_it_is_right_and_two_where_it_is_wrong():
    forecasts = Forecasts(
        path=np.array([0, 0, 1, 1]),
        time=np.arange(4.0),
        draws=np.array([[0, 1, 1, 2], [0, 0, 1, 2]]),
        observed=np.array([0, 1, 2, -1]),
        still=np.array([0, 0, 2, 1]),
        n_states=3,
    )
    table = forecasts.scores()
    np.testing.assert_array_equal(table["brier_still"], [0.0, 2.0, 0.0, np.nan])
    # Two draws of the right state; one, whose variance is subtracted; none.
    assert table["brier"][0] == 0
    assert table["brier"][2] == 2
    assert np.isnan(table["brier"][3])
