"""What was regressed as a table, in the units of the data; and states that increments begin at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.diffusions.regression.least_squares import Equation, Regression
from dyninfer.diffusions.regression.libraries import Functions
from dyninfer.diffusions.regression.process import LibraryDiffusion
from dyninfer.learning.scaling import Scaling


def whole_states(paths: Paths) -> ndarray:
    """States ``(n, d)`` with nothing missing, in double precision.

    Raises
    ------
    TypeError, ValueError
        If states are labels, or no path has two whole observations.
    """
    if paths.discrete:
        raise TypeError(
            "increments are differences of numbers, and these paths have discrete states; use "
            "MarkovJumpInference"
        )
    rows = []
    longest = 0
    for states in paths.states:
        is_missing = np.isnan(states).any(1)
        whole = states[~is_missing]
        longest = max(longest, len(whole))
        rows.append(whole)
    if longest < 2:
        raise ValueError(
            "no path has two observations of all features, so there are no increments; give paths "
            "that were observed more often"
        )
    every_row = np.concatenate(rows)
    return every_row.astype(np.float64)


def usual_gap(paths: Paths) -> float:
    """Median time between observations, in time units: a few long breaks do not count."""
    gaps = [np.diff(times) for times in paths.times]
    return float(np.median(np.concatenate(gaps)))


def coefficient_table(
    process: LibraryDiffusion, equation: Equation, scaling: Scaling, features: Sequence[str]
) -> pd.DataFrame:
    """Coefficients of drift and squared noise with standard errors, in the user's units."""
    one = torch.ones(len(features), dtype=torch.float64)
    moving = process.moving
    speeds = scaling.user_velocities(one).numpy()[moving]
    amplitudes = scaling.user_amplitudes(one).numpy()[moving]
    squares = amplitudes**2
    owners = features[moving]
    drift = _rows(process.drift_functions, equation.drift, speeds, owners, features)
    noise = _rows(process.noise_functions, equation.noise, squares, owners, features)
    drift.insert(0, "part", "drift")
    noise.insert(0, "part", "squared noise")
    return pd.concat([drift, noise], ignore_index=True)


def _rows(
    functions: Functions,
    regression: Regression,
    units: ndarray,
    owners: Sequence[str],
    features: Sequence[str],
) -> pd.DataFrame:
    names = functions.names(features)
    expansion = functions.in_user_units()
    tables = []
    for number, feature in enumerate(owners):
        unit = units[number]
        coefficient = expansion @ regression.weights[:, number]
        scaled = regression.covariance[number]
        covariance = expansion @ scaled @ expansion.T
        variance = np.diag(covariance)
        # Rounding leaves a hair below zero where a variance is zero.
        variance = np.maximum(variance, 0.0)
        columns = {
            "feature": feature,
            "function": names,
            "coefficient": unit * coefficient,
            "standard_error": unit * np.sqrt(variance),
        }
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)
