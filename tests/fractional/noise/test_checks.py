"""Arguments that cannot be are named in one sentence of ours, at every door of the noise."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer
from dyninfer.fractional import (
    FractionalBrownianMotion,
    HurstFunction,
    MarkovApproximation,
    approximate_covariance,
    fit_multifractional,
    gamma_p,
    hurst_dfa,
    hurst_mle,
    hurst_rs,
    hurst_variogram,
    hurst_whittle,
    msd_exponent,
    multifractional_covariance,
    sample_multifractional,
)

PACKAGE = str(Path(dyninfer.__file__).parent)
PATHS = np.random.default_rng(0).normal(size=(3, 70)).cumsum(1)
NOISE = MarkovApproximation(3)
HALF = torch.tensor([0.5, 0.5])
BAD = {
    "text": "a",
    "long text": "x" * 5000,
    "a huge number": 10**400,
    "a complex number": 1j,
    "a table of names": {"a": 1},
    "an array of text": np.array("a"),
    "a tensor without numbers": torch.empty(2, device="meta"),
    "a sparse tensor": torch.zeros(2, 2).to_sparse(),
    "a missing value": pd.NA,
    "a table of cells": anndata.AnnData(np.zeros((2, 2))),
    "no number": torch.tensor(torch.nan),
    "truth values": PATHS > 0,
}
DOORS = {
    "hurst": FractionalBrownianMotion,
    "kind": lambda bad: FractionalBrownianMotion(0.5, bad),
    "times of a covariance": FractionalBrownianMotion(0.5).covariance,
    "times of a sample": lambda bad: FractionalBrownianMotion(0.5).sample(bad, 2),
    "n_paths": lambda bad: FractionalBrownianMotion(0.5).sample([0, 1], bad),
    "n_nodes": MarkovApproximation,
    "horizon": lambda bad: MarkovApproximation(3, horizon=bad),
    "dt": lambda bad: MarkovApproximation(3, dt=bad),
    "hurst_range": lambda bad: MarkovApproximation(3, hurst_range=bad),
    "zero_node": lambda bad: MarkovApproximation(3, zero_node=bad),
    "nodes": lambda bad: MarkovApproximation(3, nodes=bad),
    "hurst of weights": lambda bad: MarkovApproximation(3).weights(bad),
    "times of an approximation": lambda bad: MarkovApproximation(3).covariance(bad, 0.5),
    "lags of a report": lambda bad: MarkovApproximation(3).report(0.5, bad),
    "paths, likelihood": hurst_mle,
    "paths, periodogram": hurst_whittle,
    "paths, variogram": hurst_variogram,
    "paths, range": hurst_rs,
    "paths, fluctuations": hurst_dfa,
    "normalize": lambda bad: FractionalBrownianMotion(0.5, normalize=bad),
    "weights": lambda bad: MarkovApproximation(3, weights=bad),
    "times of an approximation of H(t)": lambda bad: approximate_covariance(NOISE, bad, HALF),
    "times of paths": lambda bad: hurst_mle(PATHS, bad),
    "pooled": lambda bad: hurst_mle(PATHS, pooled=bad),
    "order": lambda bad: hurst_variogram(PATHS, order=bad),
    "degree": lambda bad: hurst_dfa(PATHS, degree=bad),
    "tracks": msd_exponent,
    "max_lag": lambda bad: msd_exponent(PATHS, bad),
    "dt of tracks": lambda bad: msd_exponent(PATHS, dt=bad),
    "localisation_noise": lambda bad: msd_exponent(PATHS, localisation_noise=bad),
    "start": lambda bad: HurstFunction(bad, 1.0),
    "n_coefficients": lambda bad: HurstFunction(0.0, 1.0, bad),
    "times of H(t)": lambda bad: multifractional_covariance(bad, lambda t: 0.5),
    "H(t)": lambda bad: multifractional_covariance([0, 1, 2], lambda t: bad),
    "n_paths of H(t)": lambda bad: sample_multifractional([0, 1], lambda t: 0.5, bad),
    "paths of H(t)": lambda bad: fit_multifractional(bad, [1, 2, 3, 4]),
    "max_steps": lambda bad: fit_multifractional(PATHS[:, :4], [1, 2, 3, 4], max_steps=bad),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_what_cannot_be_is_refused_in_a_sentence(door, bad):
    with pytest.raises((ValueError, TypeError)) as refusal:
        door(bad)
    assert len(str(refusal.value)) <= 300
    # Raised by a check of ours, not by the library that ran into it.
    assert refusal.traceback[-1].path.is_relative_to(PACKAGE)


def test_tensors_of_every_kind_are_read_as_numbers():
    """Bfloat16 is no dtype of NumPy, and a graph must not stand in the way."""
    for values in (torch.tensor(PATHS), torch.tensor(PATHS).requires_grad_(True)):
        np.testing.assert_array_equal(hurst_variogram(values).hurst, hurst_variogram(PATHS).hurst)
    coarse = torch.tensor(PATHS).bfloat16()
    rounded = coarse.float().numpy()
    np.testing.assert_array_equal(hurst_variogram(coarse).hurst, hurst_variogram(rounded).hurst)


def test_missing_times_are_refused_and_not_taken_for_increasing():
    times = np.arange(70.0)
    times[3] = np.nan
    with pytest.raises(ValueError, match="times must be 70 increasing numbers"):
        hurst_mle(PATHS, times)


def test_an_index_outside_its_range_makes_no_function_of_nan():
    with pytest.raises(ValueError, match="hurst must lie between 0 and 1, found 1.5"):
        HurstFunction(0.0, 1.0, hurst=1.5)


def test_plain_numbers_keep_their_digits():
    assert (
        gamma_p(0.3, 0.1).item() == gamma_p(*torch.tensor([0.3, 0.1], dtype=torch.float64)).item()
    )


ESTIMATES = {
    "mle": lambda x: hurst_mle(x).hurst,
    "whittle": lambda x: hurst_whittle(x).hurst,
    "variogram": lambda x: hurst_variogram(x).hurst,
    "rs": lambda x: hurst_rs(x).hurst,
    "dfa": lambda x: hurst_dfa(x).hurst,
    "msd": lambda x: msd_exponent(x).exponent,
    "msd with noise": lambda x: msd_exponent(x, localisation_noise=True).exponent,
}


INDICES = {name: estimate for name, estimate in ESTIMATES.items() if "msd" not in name}


@pytest.mark.parametrize("unit", [1e-130, 1e-12, -1.0, 1e12, 1e140])
@pytest.mark.parametrize("name", ESTIMATES)
def test_an_index_is_the_same_in_every_unit(name, unit):
    expected = ESTIMATES[name](PATHS)
    np.testing.assert_allclose(ESTIMATES[name](unit * PATHS), expected, rtol=1e-6)


@pytest.mark.parametrize("name", INDICES)
def test_an_index_needs_no_squares_in_the_unit_of_the_paths(name):
    expected = INDICES[name](PATHS)
    # Each path in its own unit, up to the ends of double precision.
    units = np.array([[2.0**-1000], [1.0], [2.0**1000]])
    np.testing.assert_allclose(INDICES[name](units * PATHS), expected, rtol=1e-12)


@pytest.mark.parametrize("estimate", [hurst_mle, hurst_whittle])
def test_one_index_of_all_paths_needs_no_squares_in_their_unit(estimate):
    expected = estimate(PATHS, pooled=True).hurst
    huge = estimate(2.0**1000 * PATHS, pooled=True).hurst
    np.testing.assert_allclose(huge, expected, rtol=1e-12)


@pytest.mark.parametrize("unit", [1e-160, 1e160])
@pytest.mark.parametrize("name", ["msd", "msd with noise"])
def test_squared_displacements_that_no_double_holds_are_refused(name, unit):
    with pytest.raises(ValueError, match="are of size .*; give them in another unit"):
        ESTIMATES[name](unit * PATHS)


@pytest.mark.parametrize("has_noise", [False, True])
@pytest.mark.parametrize("dt", [1e-120, 1e-9, 1e120])
def test_an_exponent_is_the_same_in_every_unit_of_time(dt, has_noise):
    per_frame = msd_exponent(PATHS, localisation_noise=has_noise)
    per_time = msd_exponent(PATHS, localisation_noise=has_noise, dt=dt)
    np.testing.assert_array_equal(per_time.exponent, per_frame.exponent)
    coefficient = per_time.coefficient * dt**per_time.exponent
    np.testing.assert_allclose(coefficient, per_frame.coefficient, rtol=1e-9)


def test_a_time_step_of_one_number_in_a_tensor_is_a_number():
    whole = msd_exponent(PATHS, dt=0.5)
    single = msd_exponent(PATHS, dt=torch.tensor(0.5))
    np.testing.assert_array_equal(single.lags, whole.lags)
    np.testing.assert_array_equal(single.coefficient, whole.coefficient)


def test_a_coefficient_that_no_double_holds_is_refused():
    with pytest.raises(ValueError, match="with dt=1e-308.*give dt in another unit"):
        msd_exponent(np.arange(70.0)[None], dt=1e-308)


def test_a_track_that_stands_still_is_named():
    with pytest.warns(UserWarning, match=r"track 1 .* stands still.*NaN \(1 of 2 such\)"):
        exponent = msd_exponent([PATHS[0], np.zeros(70)]).exponent
    assert np.isfinite(exponent).tolist() == [True, False]
