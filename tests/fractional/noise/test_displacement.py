import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.fractional import FractionalBrownianMotion, msd_exponent


def tracks_of(exponent, noise=0.0, n=400, length=100, seed=0):
    motion = FractionalBrownianMotion(exponent / 2)
    x = motion.sample(np.arange(length), n, n_features=2, seed=seed, dtype=torch.float64).numpy()
    return x + noise * np.random.default_rng(seed).normal(size=x.shape)


@pytest.mark.parametrize("localisation_noise", [False, True])
def test_straight_motion_has_exponent_two_and_the_square_of_its_speed(localisation_noise):
    t = 0.1 * np.arange(20)
    found = msd_exponent(
        np.stack([3 * t, 4 * t], axis=-1)[None], dt=0.1, localisation_noise=localisation_noise
    )
    assert found.exponent[0] == pytest.approx(2)
    assert found.coefficient[0] == pytest.approx(25)
    np.testing.assert_allclose(found.msd[0], 25 * found.lags**2)


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.4])
def test_exponent_coefficient_and_noise_of_simulated_tracks_are_found(exponent):
    clean = msd_exponent(tracks_of(exponent), 10, pooled=True)
    assert clean.exponent[0] == pytest.approx(exponent, abs=0.03)
    assert clean.coefficient[0] == pytest.approx(2, rel=0.05)  # E |x(1)|² of two coordinates
    noisy = msd_exponent(tracks_of(exponent, noise=0.7), 10, pooled=True, localisation_noise=True)
    assert noisy.exponent[0] == pytest.approx(exponent, abs=0.1)
    assert noisy.noise_variance[0] == pytest.approx(0.49, abs=0.15)
    assert (
        msd_exponent(tracks_of(exponent, noise=0.7), 10, pooled=True).exponent[0] < exponent - 0.1
    )


def test_frames_not_seen_are_left_out_of_the_mean():
    x = tracks_of(1.0, n=2, length=12)
    x[0, 5], x[1, 9:] = np.nan, np.nan
    found = msd_exponent(x, 4)
    for i in range(2):
        for lag in range(1, 5):
            squares = [((x[i, k + lag] - x[i, k]) ** 2).sum() for k in range(12 - lag)]
            assert found.msd[i, lag - 1] == pytest.approx(np.nanmean(squares))
    assert found.exponent.shape == (2,)


@pytest.mark.parametrize("localisation_noise", [False, True])
def test_tracks_that_are_too_short_have_no_exponent(localisation_noise):
    x = tracks_of(1.0, n=3, length=20)
    x[1, 3:] = np.nan
    with pytest.warns(UserWarning, match="track 1 is too short or stands still"):
        found = msd_exponent(x, 5, localisation_noise=localisation_noise).exponent
    assert np.isnan(found).tolist() == [False, True, False]
    with pytest.warns(UserWarning, match="^the tracks together are too short or stand still"):
        pooled = msd_exponent(x[1:2], 5, localisation_noise=localisation_noise, pooled=True)
    assert np.isnan(pooled.exponent).all()


@pytest.mark.parametrize(
    ("tracks", "settings", "word"),
    [
        (np.zeros(5), {}, "tracks"),
        (np.zeros((2, 3)), {}, "tracks"),
        (np.zeros((2, 30)), {"max_lag": 30}, "max_lag"),
        (np.zeros((2, 30)), {"max_lag": 3, "localisation_noise": True}, "max_lag"),
        (np.zeros((2, 30)), {"dt": 0.0}, "dt"),
    ],
)
def test_bad_arguments_are_named(tracks, settings, word):
    with pytest.raises(ValueError, match=word):
        msd_exponent(tracks, **settings)


@pytest.mark.parametrize("localisation_noise", [False, True])
def test_every_second_frame_is_fitted_at_the_lags_that_exist(localisation_noise):
    tracks = tracks_of(0.6)
    sparse = tracks.copy()
    sparse[:, 1::2] = np.nan
    whole = msd_exponent(tracks[:, ::2], 5, dt=2.0, localisation_noise=localisation_noise)
    gaps = msd_exponent(sparse, 10, localisation_noise=localisation_noise)
    # The same numbers, on the same lags: 2, 4, ..., 10.
    np.testing.assert_allclose(gaps.exponent, whole.exponent, atol=1e-9)
    np.testing.assert_allclose(gaps.coefficient, whole.coefficient, rtol=1e-6)
    assert np.isnan(gaps.msd[:, ::2]).all()


def test_too_few_lags_and_tracks_that_stand_still_have_no_exponent():
    tracks = tracks_of(0.6, n=3, length=20)
    tracks[0, 1:] = np.nan
    tracks[1] = 0.1
    tracks[2, 4:] = np.nan
    with pytest.warns(UserWarning, match=r"track 0 .* NaN \(2 of 3 such\)"):
        exponent = msd_exponent(tracks, 8).exponent
    # The third has the lags 1, 2, 3.
    assert np.isnan(exponent).tolist() == [True, True, False]


def test_four_frames_have_three_lags():
    found = msd_exponent(np.arange(8.0).reshape(2, 4))
    np.testing.assert_array_equal(found.lags, [1, 2, 3])
    np.testing.assert_allclose(found.exponent, 2.0)


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.4])
def test_error_bars_are_the_spread_over_simulated_tracks(exponent):
    """Of single tracks, with noise and with frames that are missing, and of twenty pooled."""
    x = tracks_of(exponent, noise=0.5, n=2000, length=40)
    x[:, [5, 6, 20, 33]] = np.nan
    settings = {"max_lag": 6, "localisation_noise": True}
    pooled = msd_exponent(x, pooled=True, **settings)
    single = msd_exponent(x, **settings)
    spread = np.nanstd(single.msd, axis=0)
    of_all = spread / np.sqrt(2000)
    np.testing.assert_allclose(pooled.msd_error[0], of_all, rtol=0.1)
    assert (single.msd_error > 0).all()
    np.testing.assert_allclose(np.median(single.msd_error, axis=0), spread, rtol=0.3)


def test_error_bars_of_a_track_that_is_bound_to_a_point():
    """Positions without memory: fitted exponents scatter about 0, and half of them lie below."""
    positions = np.random.default_rng(0).normal(size=(4000, 40))
    found = msd_exponent(positions, 6)
    assert (found.exponent < 0).mean() > 0.3
    spread = found.msd.std(0)
    np.testing.assert_allclose(np.median(found.msd_error, axis=0), spread, rtol=0.3)


def test_paths_have_the_msd_of_their_frames():
    """Tracks that begin at other times, with frames that are missing, in seconds."""
    rng = np.random.default_rng(0)
    x = tracks_of(1.2, n=20, length=40)
    x[rng.random(x.shape[:2]) < 0.2] = np.nan
    times, states = [], []
    for k, track in enumerate(x):
        (frames,) = np.nonzero(~np.isnan(track[:, 0]))
        times.append(5.0 * k + 0.02 * frames)
        states.append(track[frames])
    paths = di.Paths(times=times, states=states)
    for settings in ({"pooled": True}, {"max_lag": 5, "localisation_noise": True}):
        of_paths = msd_exponent(paths, **settings)
        # The last frames of all tracks may be missing.
        of_array = msd_exponent(x, dt=0.02, **settings)
        np.testing.assert_allclose(of_paths.msd, of_array.msd)
        np.testing.assert_allclose(of_paths.exponent, of_array.exponent)
        np.testing.assert_allclose(of_paths.lags, of_array.lags)
    # Every second frame alone: the time of a frame must be told.
    even = di.Paths(times=[t[::2] for t in [0.02 * np.arange(40)] * 5], states=list(x[:5, ::2]))
    assert msd_exponent(even, dt=0.02, max_lag=10).lags[-1] == pytest.approx(0.2)
    assert msd_exponent(even, max_lag=5).lags[-1] == pytest.approx(0.2)


def test_paths_that_have_no_msd_are_refused():
    with pytest.raises(TypeError, match="discrete states"):
        msd_exponent(di.Paths(times=[[0, 1]], states=[[0, 1]]))
    between = di.Paths(times=[[0.0, 1.0, 2.5, 4.0, 5.0, 6.0]], states=[np.arange(6.0)])
    with pytest.raises(ValueError, match="position at 2.5, between two frames of 1"):
        msd_exponent(between)
    with pytest.raises(ValueError, match="one position"):
        msd_exponent(di.Paths(times=[[0.0]], states=[[1.0]]))
