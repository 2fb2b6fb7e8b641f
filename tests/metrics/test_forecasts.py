"""Forecasts of paths: what is given and what is left over, and scores that are known by hand."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.metrics.calibration import LEVELS
from dyninfer.metrics.forecasts import Forecasts, forecast_rest


def forecasts_of_numbers(draws, observed, still, time=None, path=None):
    """Of one feature; each forecast has the same draws."""
    n = len(observed)
    column = np.array(draws, dtype=float)[:, None, None]
    return Forecasts(
        path=np.arange(n) if path is None else np.array(path),
        time=np.arange(n, dtype=float) if time is None else np.array(time, dtype=float),
        draws=np.repeat(column, n, axis=1),
        observed=np.array(observed, dtype=float)[:, None],
        still=np.array(still, dtype=float)[:, None],
    )


@pytest.mark.filterwarnings("ignore:.*do not exist")
def test_intervals_of_time_hold_equally_many_forecasts_and_their_distances():
    times = [1, 1, 2, 3, 4, 4, 4]
    observed = [1, 2, 3, 5, 6, 7, np.nan]
    still = [0, 1, 2, 5, 6, 7, 7]
    table = forecasts_of_numbers([0, 0], observed, still, times).by_time(2)
    # The median time, 3, ends the first interval.
    assert table["start"].tolist() == [1, 4]
    assert table["end"].tolist() == [3, 4]
    assert table["time"].tolist() == [1.75, 4]
    assert table["forecasts"].tolist() == [4, 3]
    # Draws are all zero, so that W1 is the mean observation.
    np.testing.assert_allclose(table["w1"], [11 / 4, 13 / 2], rtol=1e-12)
    np.testing.assert_allclose(table["w1_still"], [3 / 4, 0], atol=1e-12)
    # 2 E|y| − E|y − y'|, of {1, 2, 3, 5} and of {6, 7}.
    np.testing.assert_allclose(table["energy"], [11 / 2 - 26 / 16, 13 - 1 / 2], rtol=1e-12)
    # E|x − y| is 32/16, and so is E|x − x'| of {0, 1, 2, 5}.
    np.testing.assert_allclose(table["energy_still"], [(64 - 26 - 32) / 16, 0], atol=1e-12)
    np.testing.assert_allclose(table["crps"], [11 / 4, 13 / 2], rtol=1e-12)


def test_times_that_every_path_shares_are_intervals_of_their_own():
    times = np.repeat([0.0, 1.0, 2.0], 6)
    numbers = np.arange(18.0)
    table = forecasts_of_numbers([0, 1], numbers, numbers, times).by_time(10)
    assert table["forecasts"].tolist() == [6, 6, 6]
    # The floor of the energy distance of n against n is 2 E|y − y'| / n over different pairs.
    np.testing.assert_allclose(table["energy_floor"], 2 * (7 / 3) / 6, rtol=1e-9)


def test_frequencies_of_states_have_their_hellinger_distances():
    states = Forecasts(
        path=np.arange(5),
        time=np.zeros(5),
        draws=np.array([[0, 0, 1, 1, 2], [2, 0, 0, 1, 2]]),
        observed=np.array([0, 1, 1, 1, -1]),
        still=np.array([0, 0, -1, 1, 2]),
        n_states=3,
    )
    row = states.by_time(1).iloc[0]
    # Observed 1/4 and 3/4; drawn 4/8, 3/8 and 1/8; held still 2/3 and 1/3.
    drawn = np.sqrt(1 - np.sqrt(4 / 32) - np.sqrt(9 / 32))
    still = np.sqrt(1 - np.sqrt(2 / 12) - np.sqrt(3 / 12))
    assert row["hellinger"] == pytest.approx(drawn, rel=1e-12)
    assert row["hellinger_still"] == pytest.approx(still, rel=1e-12)
    assert row["hellinger_floor"] == pytest.approx(np.sqrt(1 / 32), rel=1e-12)
    nothing = Forecasts(**{**vars(states), "observed": np.full(5, -1)})
    row = nothing.by_time(1).iloc[0]
    assert row.filter(like="hellinger").isna().all()


def test_an_observation_in_the_middle_lies_in_every_region_and_one_outside_in_none():
    draws = np.linspace(-1, 1, 199)
    inside = forecasts_of_numbers(draws, [0, 0, np.nan], [0, 0, 0])
    outside = forecasts_of_numbers(draws, [9, np.nan, 9], [0, 0, 0])
    assert inside.calibration_error() == pytest.approx(1 - np.mean(LEVELS))
    assert outside.calibration_error() == pytest.approx(np.mean(LEVELS))
    table = inside.reliability(5)
    levels = [0.2, 0.4, 0.6, 0.8]
    np.testing.assert_allclose(table["predicted"], levels)
    np.testing.assert_allclose(table["low"], levels)
    np.testing.assert_allclose(table["high"], levels)
    assert table["observed"].tolist() == [1, 1, 1, 1]
    assert table["n"].tolist() == [2, 2, 2, 2]
    assert outside.reliability(5)["observed"].tolist() == [0, 0, 0, 0]


def test_each_path_has_the_mean_of_its_forecasts():
    numbers = forecasts_of_numbers([0, 0], [1, 3, 8], [1, 1, 6], path=[0, 0, 2])
    table = numbers.by_path(4)
    assert table["forecasts"].tolist() == [2, 0, 1, 0]
    np.testing.assert_allclose(table["crps"], [2, np.nan, 8, np.nan])
    np.testing.assert_allclose(table["energy_score_still"], [1, np.nan, 2, np.nan])


def numbered(past, times, seed):
    """Three draws of each path, which tell the path, the draw and the time."""
    first = torch.tensor([float(states[0, 0]) for states in past.states])
    draw = torch.arange(3.0)
    by_path = (first[:, None] + 0.1 * draw).flatten()
    return by_path[:, None, None] + torch.tensor(times)[None, :, None] / 100


def paths_of_lengths(lengths):
    """Path k starts at k + 10, and stays there."""
    times = [np.arange(n, dtype=float) for n in lengths]
    states = [np.full((n, 1), k + 10.0) for k, n in enumerate(lengths)]
    return di.Paths(times=times, states=states)


@pytest.mark.parametrize(("share", "first"), [(0.5, [1, 2, 2, 3]), (0.1, [1, 1, 1, 1])])
def test_the_given_part_is_rounded_up_and_leaves_one_observation(share, first):
    lengths = [1, 2, 3, 4, 5]
    paths = paths_of_lengths(lengths)
    forecasts = forecast_rest(paths, paths, numbered, share, None, seed=0)
    for path, n_past in zip([1, 2, 3, 4], first, strict=True):
        times = forecasts.time[forecasts.path == path]
        assert sorted(times) == list(range(n_past, lengths[path]))
    # Each draw stands beside the path and the time that it was made for.
    start = forecasts.path + 10 + forecasts.time / 100
    for k in range(3):
        np.testing.assert_allclose(forecasts.draws[k, :, 0], start + 0.1 * k, rtol=1e-6)
    np.testing.assert_array_equal(forecasts.observed[:, 0], forecasts.path + 10)
    np.testing.assert_array_equal(forecasts.still, forecasts.observed)


def test_nearly_all_may_be_given_but_the_last():
    paths = paths_of_lengths([2, 7])
    forecasts = forecast_rest(paths, paths, numbered, 0.99, None, seed=0)
    assert sorted(forecasts.time.tolist()) == [1, 6]


def test_no_more_paths_are_forecast_than_asked_for():
    paths = paths_of_lengths([3] * 20)
    some = forecast_rest(paths, paths, numbered, 0.5, 7, seed=0)
    every = forecast_rest(paths, paths, numbered, 0.5, 20, seed=0)
    assert len(np.unique(some.path)) == 7
    assert len(np.unique(every.path)) == 20
    # Drawn from all of them, and not the first.
    assert some.path.max() > 7


def test_a_path_whose_past_is_missing_is_not_forecast():
    times = [0.0, 1.0, 2.0, 3.0]
    seen = [[1.0], [1.0], [1.0], [1.0]]
    unseen = [[np.nan], [np.nan], [1.0], [1.0]]
    paths = di.Paths(times=[times, times], states=[seen, unseen])
    forecasts = forecast_rest(paths, paths, numbered, 0.5, None, seed=0)
    assert forecasts.path.tolist() == [0, 0]


@pytest.mark.parametrize("share", [0, 1, -0.5, "half", np.nan])
def test_a_share_that_leaves_nothing_is_refused(share):
    paths = paths_of_lengths([3, 3])
    with pytest.raises(ValueError, match="past_fraction must lie between 0 and 1"):
        forecast_rest(paths, paths, numbered, share, None, seed=0)


def test_paths_of_one_observation_leave_nothing_to_forecast():
    paths = paths_of_lengths([1, 1])
    with pytest.raises(ValueError, match="no path has an observation to forecast from"):
        forecast_rest(paths, paths, numbered, 0.5, None, seed=0)


def test_an_energy_score_that_no_forecast_has_is_said():
    observed = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, 4.0]])
    forecasts = Forecasts(
        path=np.array([0, 0, 1]),
        time=np.array([0.0, 1.0, 2.0]),
        draws=np.zeros((2, 3, 2)),
        observed=observed,
        still=np.zeros((3, 2)),
    )
    with pytest.warns(UserWarning, match="energy_score is NaN for 1 of 2 paths"):
        table = forecasts.by_path(2)
    np.testing.assert_allclose(table["energy_score"], [np.nan, 5.0])
    np.testing.assert_allclose(table["crps"], [1.5, 3.5])
