import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import multivariate_normal

import dyninfer as di
from dyninfer.fractional import FractionalBrownianMotion, blurred_covariance
from dyninfer.fractional.noise.segment_fit import log_likelihood
from dyninfer.fractional.noise.segmentation import (
    Camera,
    Motion,
    Track,
    best_division,
    best_likelihoods,
)


def moves(alpha, coefficient, n, seed):
    """Displacements of exact motion over ``n`` frames, in the plane."""
    motion = FractionalBrownianMotion(alpha / 2)
    x = motion.sample(range(n + 1), 1, n_features=2, seed=seed, dtype=torch.float64)[0]
    return np.sqrt(2 * coefficient) * np.diff(x.numpy(), axis=0)


def track(*parts, error=0.1, seed=0):
    """A track of parts ``(alpha, K, frames)``, with an error."""
    steps = [moves(*part, seed=100 * seed + k) for k, part in enumerate(parts)]
    x = np.concatenate([np.zeros((1, 2)), np.concatenate(steps).cumsum(0)])
    return x + error * np.random.default_rng(seed).normal(size=x.shape)


def paths_of(*tracks, dt=1.0, **names):
    return di.Paths(times=[dt * np.arange(len(x)) for x in tracks], states=list(tracks), **names)


def test_change_exponent_and_coefficient_are_found_in_the_units_of_the_data():
    """K is that of a frame of 1; in frames of 0.1 and units of 3 it is 9 K / 0.1^α."""
    parts = (1.0, 1.0, 60), (0.4, 0.1, 120)
    tracks = [track(*parts, seed=seed) for seed in range(3)]
    table = di.tl.segment_tracks(paths_of(*tracks), error=0.1)
    assert table.groupby("path").size().tolist() == [2, 2, 2]
    first = table[table["segment"] == 0]
    second = table[table["segment"] == 1]
    np.testing.assert_allclose(first["end"], 60, atol=5)
    np.testing.assert_array_equal(first["end"].to_numpy(), second["start"].to_numpy())
    for rows, (alpha, coefficient, _) in zip((first, second), parts, strict=True):
        assert abs(rows["alpha"].mean() - alpha) < 0.2
        assert abs(np.log(rows["K"]).mean() - np.log(coefficient)) < 0.4
        assert (rows["alpha_low"] < alpha).sum() >= 2
        assert (rows["alpha_high"] > alpha).sum() >= 2
    other = [3 * x for x in tracks]
    scaled = di.tl.segment_tracks(paths_of(*other, dt=0.1), error=0.3)
    np.testing.assert_allclose(scaled["end"], 0.1 * table["end"])
    np.testing.assert_allclose(scaled["alpha"], table["alpha"], atol=2e-3)
    expected = table["K"] * 9 / 0.1 ** table["alpha"]
    np.testing.assert_allclose(scaled["K"], expected, rtol=2e-2)


def test_tracks_without_a_change_are_hardly_ever_divided():
    tracks = [track((alpha, 0.5, 80), seed=seed) for seed in range(10) for alpha in (0.5, 1.4)]
    table = di.tl.segment_tracks(paths_of(*tracks), error=0.1)
    assert len(table) <= 21
    longest = table.sort_values("n_frames").drop_duplicates("path", keep="last")
    is_slow = longest["path"].astype(int) % 2 == 0
    assert abs(longest["alpha"][is_slow].median() - 0.5) < 0.15
    assert abs(longest["alpha"][~is_slow].median() - 1.4) < 0.15


def test_intervals_hold_the_truth_as_often_as_they_say():
    tracks = [track((0.8, 0.5, 60), seed=seed) for seed in range(40)]
    table = di.tl.segment_tracks(paths_of(*tracks), error=0.1, penalty=1e6, level=0.8)
    assert len(table) == 40
    for name, truth in (("alpha", 0.8), ("K", 0.5)):
        is_inside = table[f"{name}_low"].lt(truth) & table[f"{name}_high"].gt(truth)
        # 32 of 40 are expected, and 24 or 40 lie three deviations off.
        assert 24 < is_inside.sum() < 40


@pytest.mark.parametrize("missing", [False, True])
def test_likelihood_of_every_segment_is_that_of_the_normal_distribution(missing):
    rng = np.random.default_rng(0)
    frames = np.arange(9.0)
    if missing:
        frames = np.array([0.0, 1, 2, 4, 5, 9, 10, 11, 12])
    x = rng.normal(size=(9, 2))
    camera = Camera(error=0.2, exposure=0.5)
    motion = Motion(0.3, 1.5)
    (table,) = best_likelihoods([Track(frames, x, 0.0)], [motion], camera)
    covariance = camera.covariance(frames, *motion)
    steps = np.diff(x, axis=0)
    starts = Track(frames, x, 0.0).starts
    for k, start in enumerate(starts):
        for m in range(8 - start):
            part = slice(start, start + m + 1)
            law = multivariate_normal(np.zeros(m + 1), covariance[part, part])
            expected = law.logpdf(steps[part, 0]) + law.logpdf(steps[part, 1])
            assert table[m, k] == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert np.isneginf(table[-1, 1:]).all()


def test_errors_of_single_positions_have_the_likelihood_written_out():
    rng = np.random.default_rng(0)
    frames = np.array([0.0, 1, 2, 3, 5, 6, 7, 8, 9])
    errors = rng.uniform(0.1, 2.0, 9)
    x = rng.normal(size=(9, 2))
    motion = Motion(0.3, 1.5)
    of_errors = Track(frames, x, 0.0, errors)
    (table,) = best_likelihoods([of_errors], [motion], Camera(error=1.0, exposure=0.5))
    positions = 1.5 * blurred_covariance(frames, 0.3, 0.5).numpy() + np.diag(errors**2)
    to_steps = np.diff(np.eye(9), axis=0)
    covariance = to_steps @ positions @ to_steps.T
    law = multivariate_normal(np.zeros(8), covariance)
    expected = law.logpdf(np.diff(x, axis=0).T).sum()
    assert table[-1, 0] == pytest.approx(expected, rel=1e-5)
    part = of_errors.between(4, 8)
    law = multivariate_normal(np.zeros(4), covariance[4:, 4:])
    expected = law.logpdf(np.diff(x[4:], axis=0).T).sum()
    assert log_likelihood(part, motion, Camera(1.0, 0.5)) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", [np.float32, np.array, torch.tensor])
def test_an_error_counts_in_every_form_of_a_number(kind):
    tracks = paths_of(track((1.0, 0.5, 60), error=0.5))
    plain = di.tl.segment_tracks(tracks, error=0.5)
    pd.testing.assert_frame_equal(di.tl.segment_tracks(tracks, error=kind(0.5)), plain)


def test_dim_frames_are_no_change_of_motion():
    """Errors that grow tenfold half-way look like a change, unless each position tells its own."""
    rng = np.random.default_rng(5)
    sigma = np.repeat([0.1, 1.5], 40)
    tracks = [track((1.0, 0.1, 79), error=0.0, seed=seed) for seed in range(2)]
    seen = [x + sigma[:, None] * rng.normal(size=x.shape) for x in tracks]
    table = pd.DataFrame({"sigma": np.tile(sigma, 2)})
    known = di.tl.segment_tracks(paths_of(*seen, covariates=table), error="sigma")
    blind = di.tl.segment_tracks(paths_of(*seen), error=0.1)
    assert known.groupby("path").size().tolist() == [1, 1]
    assert blind.groupby("path").size().min() > 1
    assert ((known["alpha_low"] < 1.0) & (known["alpha_high"] > 1.0)).all()


def test_a_column_of_errors_that_is_missing_is_named_as_one():
    obs = pd.DataFrame({"track": "a", "t": np.arange(40.0), "sigma": 1.0})
    cells = ad.AnnData(track((1.0, 1.0, 39)), obs=obs.set_index(obs.index.astype(str)))
    with pytest.raises(KeyError, match="error 'sd' is not in adata.obs"):
        di.tl.segment_tracks(cells, path_key="track", time_key="t", use_rep="X", error="sd")


def test_division_is_the_best_of_all():
    """Beside every division of ten displacements into segments of three or more."""
    rng = np.random.default_rng(1)
    starts = np.arange(10)
    table = rng.normal(scale=3, size=(10, 10))

    def divisions(begin):
        yield [begin]
        for end in range(begin + 3, 8):
            for rest in divisions(end):
                yield [begin, *rest]

    def score(begins):
        ends = [*begins[1:], 10]
        return sum(table[e - b - 1, b] - 1.0 for b, e in zip(begins, ends, strict=True))

    best = max(divisions(0), key=score)
    assert best_division(table, starts, 1.0, 3) == best


def test_a_track_that_rests_or_is_short_does_not_end_the_batch():
    still = np.full((30, 2), 7.0)
    integers = 2**40 + np.arange(3)[:, None] * np.ones(2)
    moving = track((1.0, 1.0, 40))
    paths = paths_of(still, integers, moving, names=["still", "short", "moving"])
    with pytest.warns(UserWarning, match=r"track 'still' never moves .* \(2 of 3 such\)"):
        table = di.tl.segment_tracks(paths)
    assert table["alpha"].isna().tolist() == [True, True, False]
    assert table["n_frames"].tolist() == [30, 3, 41]


def test_a_particle_that_stops_has_no_exponent_while_it_rests():
    stops = np.concatenate([moves(1.0, 1.0, 50, 3), np.zeros((50, 2))]).cumsum(0)
    stops = stops + 0.1 * np.random.default_rng(0).normal(size=stops.shape)
    table = di.tl.segment_tracks(paths_of(stops), error=0.1)
    assert len(table) == 2
    assert table["K"][1] == 0
    assert np.isnan(table["alpha"][1])
    assert abs(table["end"][0] - 50) < 3


def test_a_straight_line_has_the_largest_exponent_and_no_interval():
    line = np.arange(40.0)[:, None] * np.array([0.3, 0.4])
    table = di.tl.segment_tracks(paths_of(line))
    assert len(table) == 1
    assert table["alpha"][0] == pytest.approx(1.98, abs=0.01)
    assert table["K"][0] > 0
    assert np.isnan(table["alpha_low"][0])


def test_blinking_and_anndata_are_read():
    import anndata

    x = track((1.2, 1.0, 60), (0.4, 0.1, 60), seed=2)
    is_missing = np.random.default_rng(2).random(len(x)) < 0.2
    gaps = np.where(is_missing[:, None], np.nan, x)
    table = di.tl.segment_tracks(paths_of(gaps), error=0.1)
    assert len(table) == 2
    assert abs(table["end"][0] - 60) < 10
    rows = np.flatnonzero(~is_missing)
    obs = pd.DataFrame({"frame": rows, "particle": "a"}, index=[str(k) for k in rows])
    adata = anndata.AnnData(x[rows], obs=obs)
    keys = {"time_key": "frame", "path_key": "particle", "use_rep": "X"}
    again = di.tl.segment_tracks(adata, error=0.1, **keys)
    np.testing.assert_array_equal(again["end"], table["end"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"error": -1.0}, "error must be"),
        ({"error": "sigma"}, "error='sigma' names a column"),
        ({"exposure": 2.0}, "exposure is a part"),
        ({"penalty": 0.0}, "penalty must be"),
        ({"min_frames": 3}, "min_frames must be at least 4"),
        ({"frame": 0.7}, "between two frames"),
        ({"frame": -1.0}, "frame must be"),
    ],
)
def test_what_cannot_be_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        di.tl.segment_tracks(paths_of(track((1.0, 1.0, 20))), **settings)
