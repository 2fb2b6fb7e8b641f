"""The contract of methods that learn a field from velocities."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from dyninfer.data import keys
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators import FieldEstimator
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import check_count
from dyninfer.testing.common import Battery, Example, Keys, check_finite, raises, weights
from dyninfer.testing.units import Units


def example_velocities(seed: int = 0, n: int = 120) -> Any:
    """AnnData of cells on a bent sheet with noisy velocities.

    With ``obsm["X_pca"]`` of three features, and ``obsm["velocity_pca"]``.
    """
    import pandas as pd
    from anndata import AnnData

    n = check_count(n, "n")
    n_bytes = 8 * n * 6
    check_memory(n_bytes, f"{n} cells of 3 features")
    rng = numpy_stream(seed, "example velocities")
    u, v = rng.uniform(-1, 1, (2, n))
    x = np.stack([u, v, 0.5 * u**2], axis=1)
    velocity = np.stack([-v, u, -u * v], axis=1)
    velocity += 0.1 * rng.normal(size=velocity.shape)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n)])
    return AnnData(obs=obs, obsm={"X_pca": x, "velocity_pca": velocity})


def _keys(model: FieldEstimator) -> Keys:
    return {"velocity_key": "velocity_pca", "use_rep": "X_pca"}


def _simulated_in(units: Units, model: FieldEstimator, **options: Any) -> ndarray:
    """Simulated paths ``(path, time, feature)`` of a fit in these units, in plain units again."""
    data = example_velocities()
    data.obsm["X_pca"] = units.states(data.obsm["X_pca"])
    data.obsm["velocity_pca"] = data.obsm["velocity_pca"] * units.scale / units.duration
    fitted = EXAMPLE.fit_clone(model, data)
    moments = np.array([0.0, 0.2, 0.5])
    times = units.times(moments)
    run = fitted.simulate(data.obsm["X_pca"][:10], times, seed=1, **options)
    return units.plain_states(run.states.double().numpy())


EXAMPLE = Example(make=example_velocities, keys=_keys, hold_out="cell3", simulated_in=_simulated_in)
CHECKS = Battery(EXAMPLE)


@CHECKS.add
def check_held_out_cells_are_never_seen(model: FieldEstimator) -> None:
    """What is learned is bit-identical when the held-out cells are NaN."""
    data = example_velocities()
    spoiled = example_velocities()
    # One look at them would make everything NaN.
    spoiled.obsm["X_pca"][3] = np.nan
    spoiled.obsm["velocity_pca"][3] = np.nan
    first = EXAMPLE.fit_clone(model, data, hold_out="cell3")
    second = EXAMPLE.fit_clone(model, spoiled, hold_out="cell3")
    is_same = torch.equal(weights(first), weights(second))
    assert is_same, "held-out cells change what is learned"


@CHECKS.add
def check_simulates(model: FieldEstimator) -> None:
    """Trajectories from every cell, with their names."""
    data = example_velocities()
    EXAMPLE.fit(model, data)
    times = [0.0, 0.1]
    run = model.simulate(data, times)
    assert isinstance(run, Trajectories), "simulate does not return Trajectories"
    expected = (data.n_obs, 2, 3)
    shape = tuple(run.states.shape)
    assert shape == expected, f"states have shape {shape}"
    assert list(run.origin) == list(data.obs_names), "origin does not name the cells"


@CHECKS.add
def check_evaluates(model: FieldEstimator) -> None:
    """One row for the held-out cells and one for the others, with finite scores."""
    data = example_velocities()
    held_out = ["cell3", "cell50"]
    EXAMPLE.fit(model, data, hold_out=held_out)
    table = model.evaluate(data)
    assert list(table["held_out"]) == [True, False], "held-out cells have no row of their own"
    assert list(table["cells"]) == [2, data.n_obs - 2], "cells are not counted"
    check_finite(table, "alignment", "relative_error", "coverage")


@CHECKS.add
def check_annotates(model: FieldEstimator) -> None:
    """Velocity of every cell and its standard deviation."""
    data = example_velocities()
    EXAMPLE.fit(model, data)
    model.annotate(data)
    for key in (keys.VELOCITY, keys.VELOCITY_SD):
        values = data.obsm[key]
        assert values.shape == (data.n_obs, 3), f"{key} has shape {values.shape}"
        assert np.isfinite(values).all(), f"{key} is not finite"


@CHECKS.add
def check_bad_input_is_refused_in_words(model: FieldEstimator) -> None:
    """Each mistake gives one sentence that names the key or the value."""
    data = example_velocities()
    with raises(KeyError, "'velocity_pca'"):
        clone(model).fit(data, velocity_key="velocity_pac")
    with raises(KeyError, "velocity_key is needed"):
        clone(model).fit(data)
    with raises(KeyError, "no cell is named"):
        EXAMPLE.fit_clone(model, data, hold_out="nobody")
    with raises(TypeError, "AnnData"):
        clone(model).fit("data.h5ad")
    narrow = example_velocities()
    narrow.obsm["velocity_pca"] = narrow.obsm["velocity_pca"][:, :2]
    with raises(ValueError, "same representation"):
        EXAMPLE.fit_clone(model, narrow)
    still = example_velocities()
    still.obsm["velocity_pca"][:] = 0
    with raises(ValueError, "zero"):
        EXAMPLE.fit_clone(model, still)
    spoiled = example_velocities()
    spoiled.obsm["velocity_pca"][5, 0] = np.nan
    with raises(ValueError, "cell5"):
        EXAMPLE.fit_clone(model, spoiled)
    with raises(NotFittedError, "fit"):
        clone(model).simulate(data, [0.0, 1.0])
