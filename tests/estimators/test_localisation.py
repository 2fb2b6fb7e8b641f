from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal

from dyninfer import FractionalNoise, FractionalSDE, Latent, Localisation, Paths, Variational, load
from dyninfer.fractional import FractionalBrownianMotion, blurred_covariance

FINE = 20


def blurred_tracks(hurst, exposure, *, n=40, length=40, error=0.3, seed=0):
    """Means of exact motion over the points of an exposure, ``FINE`` to a frame, with noise."""
    grid = np.arange(length * FINE + 1) / FINE
    motion = FractionalBrownianMotion(hurst)
    fine = motion.sample(grid, n, n_features=2, seed=seed, dtype=torch.float64).numpy()
    reach = int(exposure * FINE / 2)
    weights = np.ones(2 * reach + 1)
    if reach:
        weights[[0, -1]] = 0.5
    weights /= weights.sum()
    frames = []
    for frame in range(length):
        middle = frame * FINE + FINE // 2
        shutter = fine[:, middle - reach : middle + reach + 1]
        frames.append(np.einsum("nkd,k->nd", shutter, weights))
    positions = np.stack(frames, axis=1)
    rng = np.random.default_rng(seed)
    # Anywhere in a field of view: where a track begins says nothing about how it goes on.
    field = rng.uniform(0, 100, (n, 1, 2))
    return positions + field + error * rng.normal(size=positions.shape)


def fitted(states, exposure, times=None, drift="none", **settings):
    if times is None and not isinstance(states, Paths):
        times = [np.arange(float(len(s))) for s in states]
    noise = Localisation(exposure=exposure, **settings)
    paths = states
    if not isinstance(states, Paths):
        paths = Paths(times=times, states=list(states))
    return FractionalSDE(drift=drift, observation_noise=noise).fit(paths, progress=False)


@pytest.mark.parametrize(
    ("hurst", "exposure"), [(0.3, 0.0), (0.3, 0.5), (0.3, 1.0), (0.7, 0.5), (0.7, 1.0)]
)
def test_index_and_error_of_blurred_tracks_are_found(hurst, exposure):
    model = fitted(blurred_tracks(hurst, exposure), exposure)
    low, high = model.hurst_interval(0.99)
    assert low < hurst < high
    np.testing.assert_allclose(model.observation_noise_, 0.3, atol=0.15)


def test_blur_that_is_not_named_bends_the_index():
    states = blurred_tracks(0.5, 1.0)
    low, _ = fitted(states, 0.0).hurst_interval(0.99)
    assert low > 0.5


def test_blinking_tracks_and_every_second_frame_are_fitted_as_they_are():
    states = blurred_tracks(0.4, 1.0)
    blinks = np.random.default_rng(1).random((40, 40)) < 0.4
    blinks[:, 2] = False
    states[blinks] = np.nan
    # In these, no gap is as short as a frame.
    states[20:, 1::2] = np.nan
    model = fitted(states, 1.0, frame=1.0)
    low, high = model.hurst_interval(0.99)
    assert low < 0.4 < high
    rows = [~np.isnan(s[:, 0]) for s in states]
    times = [np.flatnonzero(row).astype(float) for row in rows]
    dropped = fitted([s[row] for s, row in zip(states, rows, strict=True)], 1.0, times, frame=1.0)
    assert dropped.hurst_ == pytest.approx(model.hurst_, abs=1e-5)


def test_drift_is_estimated_beside_the_index():
    states = blurred_tracks(0.4, 0.5) + 0.5 * np.arange(40)[:, None]
    model = fitted(states, 0.5, drift="constant")
    low, high = model.hurst_interval(0.99)
    assert low < 0.4 < high
    drift = model.process_.drift(torch.tensor(0.0), torch.zeros(1, 2))
    np.testing.assert_allclose(drift.numpy(), 0.5, atol=0.05)


def test_likelihood_is_that_of_the_normal_distribution(tmp_path):
    """In the units of the data, of paths with times and gaps of their own."""
    states = 5 + 2 * blurred_tracks(0.6, 0.5, n=4, length=12)
    states[1, 3:6] = np.nan
    states[2, 9:, 0] = np.nan
    times = [100 + 0.1 * np.arange(12)] * 4
    model = fitted(states, 0.5, times)
    prior, scaling = model.model_.prior, model.scaling_
    scale = scaling.scale.numpy()
    start = scaling.shift.numpy() + scale * prior.start_mean.numpy()
    for k, found in enumerate(model.log_likelihoods(Paths(times=times, states=list(states)))):
        expected = 0.0
        for j in range(2):
            row = ~np.isnan(states[k, :, j])
            motion = blurred_covariance(times[k], model.hurst_, 0.05).numpy()
            spread = (scale[j] * prior.scale[j].item()) ** 2 * motion
            spread += (scale[j] * prior.log_start[j].exp().item()) ** 2
            spread += model.observation_noise_[j] ** 2 * np.eye(12)
            law = multivariate_normal(np.full(row.sum(), start[j]), spread[np.ix_(row, row)])
            expected += law.logpdf(states[k, row, j])
        assert found == pytest.approx(expected, abs=1e-6)
    again = load(model.save(tmp_path / "model.safetensors"))
    paths = Paths(times=times, states=list(states))
    np.testing.assert_array_equal(again.log_likelihoods(paths), model.log_likelihoods(paths))


def test_posterior_of_the_motion_is_that_of_a_fine_grid():
    """Mean of exact motion on a grid, given its means over exposures."""
    states = blurred_tracks(0.3, 1.0, n=4, length=6)
    model = fitted(states, 1.0, error=0.3)
    paths = Paths(times=[np.arange(6.0)] * 4, states=list(states))
    asked = [2.0, 3.5, 8.0]
    draws = model.posterior(paths).draw(asked, n_samples=4000, seed=1).states
    found = draws.view(4, 4000, 3, 2).mean(1)[0, :, 0].numpy()
    prior, scale = model.model_.prior, model.scaling_.scale[0].item()
    n_fine = 200
    offsets = (np.arange(n_fine) + 0.5) / n_fine - 0.5
    # The motion starts half an exposure before the first time.
    grid = (np.arange(6.0)[:, None] + offsets).ravel()
    points = np.concatenate([grid, asked, [0.0]]) + 0.5
    exact = FractionalBrownianMotion(model.hurst_).covariance(points).numpy()
    from_start = exact - exact[-1] - exact[:, -1:] + exact[-1, -1]
    spread = (scale * prior.scale[0].item()) ** 2 * from_start
    spread += (scale * prior.log_start[0].exp().item()) ** 2
    means = np.kron(np.eye(6), np.full(n_fine, 1 / n_fine))
    n = 6 * n_fine
    observed = means @ spread[:n, :n] @ means.T + 0.3**2 * np.eye(6)
    cross = spread[n : n + 3, :n] @ means.T
    start = model.scaling_.shift[0].item() + scale * prior.start_mean[0].item()
    expected = start + cross @ np.linalg.solve(observed, states[0, :, 0] - start)
    np.testing.assert_allclose(found, expected, atol=0.06)


def seen_by(n=6, length=14, blinks=0.3):
    """Tracks that blink, drift, and have an error of their own for every position."""
    rng = np.random.default_rng(3)
    sigma = rng.uniform(0.1, 0.9, (n, length, 2))
    clean = blurred_tracks(0.4, 0.5, n=n, length=length, error=0.0)
    states = clean + sigma * rng.normal(size=sigma.shape) + 0.3 * np.arange(length)[:, None]
    is_dark = rng.random((n, length)) < blinks
    is_dark[:, :2] = False
    states[is_dark] = np.nan
    table = {"sx": sigma[..., 0].ravel(), "sy": sigma[..., 1].ravel()}
    times = [50 + 0.1 * np.arange(length)] * n
    return Paths(times=times, states=list(states), covariates=pd.DataFrame(table))


def dense_log_likelihood(model, paths, shift):
    """By hand: every covariance is an integral over two exposures, of 60 points each."""
    prior, scale = model.model_.prior, model.scaling_.scale.numpy()
    drift = model.process_.drift(torch.tensor(0.0), torch.zeros(1, 2))[0].numpy()
    start = model.scaling_.shift.numpy() + scale * prior.start_mean.numpy()
    sigma = paths.covariates.to_numpy().reshape(len(paths), -1, 2)
    n_points = 60
    offsets = 0.05 * ((np.arange(n_points) + 0.5) / n_points - 0.5)
    power = 2 * model.hurst_
    totals = []
    for k, states in enumerate(paths.states):
        total = 0.0
        for j in range(2):
            row = ~np.isnan(states[:, j])
            middles = paths.times[k][row] - 50 + shift
            shutter = middles[:, None] + offsets
            own = (np.abs(shutter) ** power).mean(1)
            lags = shutter[:, None, :, None] - shutter[None, :, None, :]
            # Within one exposure the power has a corner that points do not resolve.
            between = (np.abs(lags) ** power).mean((2, 3))
            np.fill_diagonal(between, 2 * 0.05**power / ((power + 1) * (power + 2)))
            motion = 0.5 * (own[:, None] + own - between)
            spread = (scale[j] * prior.scale[j].item()) ** 2 * motion
            spread += (scale[j] * prior.log_start[j].exp().item()) ** 2
            spread += np.diag(sigma[k, row, j] ** 2)
            mean = start[j] + drift[j] * middles
            total += multivariate_normal(mean, spread).logpdf(states[row, j])
        totals.append(total)
    return totals


@pytest.mark.parametrize(("stamp", "shift"), [("start", 0.025), ("middle", 0.0), ("end", -0.025)])
def test_errors_of_single_positions_and_drift_have_the_likelihood_written_out(stamp, shift):
    paths = seen_by()
    model = fitted(paths, 0.5, drift="constant", error=["sx", "sy"], stamp=stamp)
    expected = dense_log_likelihood(model, paths, shift)
    np.testing.assert_allclose(model.log_likelihoods(paths), expected, atol=2e-3)


def test_where_a_particle_was_depends_on_when_its_time_was_taken():
    """A fast drift through a full exposure: half of it lies between the stamps."""
    states = blurred_tracks(0.5, 1.0, n=12, length=10, error=0.01) + 8.0 * np.arange(10)[:, None]
    asked = [4.0, 6.0]
    means = {}
    for stamp in ("start", "middle", "end"):
        model = fitted(states, 1.0, drift="constant", stamp=stamp)
        paths = Paths(times=[np.arange(10.0)] * 12, states=list(states))
        draws = model.posterior(paths).draw(asked, n_samples=200).states
        means[stamp] = draws.mean((0, 1)).numpy()
    np.testing.assert_allclose(means["middle"] - means["start"], 4.0, atol=0.2)
    np.testing.assert_allclose(means["end"] - means["middle"], 4.0, atol=0.2)


def test_a_common_error_is_the_same_as_a_column_of_it(tmp_path):
    paths = seen_by(blinks=0.0)
    common = fitted(replace(paths, covariates=None), 0.5, error=0.4)
    rows = pd.DataFrame({"sigma": np.full(paths.lengths.sum(), 0.4)})
    single = fitted(replace(paths, covariates=rows), 0.5, error="sigma")
    assert single.hurst_ == pytest.approx(common.hurst_, abs=1e-6)
    np.testing.assert_allclose(single.observation_noise_, 0.4)
    again = load(single.save(tmp_path / "model.safetensors"))
    expected = common.log_likelihoods(replace(paths, covariates=None))
    found = again.log_likelihoods(replace(paths, covariates=rows))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_known_errors_find_an_index_that_one_error_for_all_bends():
    rng = np.random.default_rng(0)
    sigma = np.where(rng.random((40, 30)) < 0.15, 3.0, 0.1)
    states = blurred_tracks(0.3, 0.5, n=40, length=30, error=0.0)
    states += sigma[..., None] * rng.normal(size=states.shape)
    times = [np.arange(30.0)] * 40
    table = pd.DataFrame({"sigma": sigma.ravel()})
    paths = Paths(times=times, states=list(states), covariates=table)
    model = fitted(paths, 0.5, error="sigma")
    low, high = model.hurst_interval(0.99)
    assert low < 0.3 < high
    blind = fitted(replace(paths, covariates=None), 0.5)
    wide_low, wide_high = blind.hurst_interval(0.99)
    assert high - low < 0.6 * (wide_high - wide_low)


def test_errors_that_are_none_are_named():
    paths = seen_by(blinks=0.0)
    with pytest.raises(ValueError, match=r"error='sz' names a column .* they have 'sx', 'sy'"):
        fitted(paths, 0.5, error="sz")
    with pytest.raises(ValueError, match="they have none; read the paths with covariate_keys"):
        fitted(replace(paths, covariates=None), 0.5, error="sx")
    with pytest.raises(ValueError, match="error names 3 columns for 2 features"):
        fitted(paths, 0.5, error=["sx", "sy", "sx"])
    wrong = paths.covariates.copy()
    wrong.loc[15, "sx"] = 0.0
    with pytest.raises(ValueError, match="error must be positive, found 0 in path '1'"):
        fitted(replace(paths, covariates=wrong), 0.5, error="sx")
    with pytest.raises(ValueError, match="the paths have covariates"):
        fitted(paths, 0.5, error=0.2)
    with pytest.raises(ValueError, match="stamp must be 'start', 'middle' or 'end'"):
        fitted(paths, 0.5, error="sx", stamp="left")
    with pytest.raises(ValueError, match="stamp says when in an exposure .* and exposure is 0"):
        fitted(paths, 0.0, error="sx", stamp="start")
    with pytest.raises(ValueError, match="error names no column"):
        fitted(paths, 0.5, error=[])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"drift": "linear"}, "drift is 'linear'"),
        ({"drift": "network"}, "drift is a network"),
        ({"state": Latent(dim=1)}, "state is latent"),
        ({"noise": FractionalNoise(kind="II")}, "noise.kind is 'II'"),
        ({"inference": Variational()}, "inference is Variational"),
        ({"observation_noise": Localisation(exposure=1.5)}, "share of a frame"),
        ({"observation_noise": Localisation(error=0.0)}, "error must be positive"),
        ({"observation_noise": Localisation(exposure=1.0, frame=3.0)}, "two positions"),
    ],
)
def test_what_has_no_closed_form_is_refused(settings, words):
    settings = {"drift": "none", "observation_noise": Localisation()} | settings
    paths = Paths(times=[np.arange(5.0)] * 3, states=list(blurred_tracks(0.5, 0.0, n=3, length=5)))
    with pytest.raises(ValueError, match=words):
        FractionalSDE(**settings).fit(paths, progress=False)
