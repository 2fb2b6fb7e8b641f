"""The contract of methods that learn from paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from dyninfer.data.paths import Paths
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import same_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators import PathEstimator
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import check_count
from dyninfer.testing.common import Battery, Example, Keys, check_finite, raises, weights
from dyninfer.testing.units import Units


def example_paths(seed: int = 0, n: int = 12, length: int = 15, d: int = 2) -> Any:
    """AnnData of tracked cells with shuffled rows.

    With ``obs["day"]`` (irregular), ``obs["track"]``, ``obs["state"]`` and ``obsm["X_pca"]``.
    """
    import pandas as pd
    from anndata import AnnData

    n = check_count(n, "n")
    length = check_count(length, "length")
    d = check_count(d, "d")
    n_bytes = 8 * n * length * d
    check_memory(n_bytes, f"{n} paths of {length} times and {d} features")
    rng = numpy_stream(seed, "example paths")
    days = rng.uniform(0, 5, (n, length))
    days.sort(axis=1)
    days[:, 0] = 0.0  # simulations start there
    gaps = np.diff(days, axis=1, prepend=0.0)
    # Brownian motion, so that the gaps matter.
    scale = 0.5 * np.sqrt(gaps)
    normals = rng.normal(size=(n, length, d))
    steps = scale[..., None] * normals
    positions = steps.cumsum(axis=1)
    x = positions.reshape(-1, d).astype(np.float32)
    # About a third of all observations are in each state.
    first = x[:, 0]
    number = np.digitize(first, [-0.2, 0.2])
    state = pd.Categorical.from_codes(number, ["low", "middle", "high"])
    tracks = [f"track{i}" for i in range(n)]
    track = np.repeat(tracks, length)
    columns = {"day": days.ravel(), "track": track, "state": state}
    names = [f"row{i}" for i in range(len(x))]
    obs = pd.DataFrame(columns, index=names)
    # Rows of an AnnData come in any order.
    rows = rng.permutation(len(x))
    obs = obs.iloc[rows]
    x = x[rows]
    return AnnData(obs=obs, obsm={"X_pca": x})


def _keys(model: PathEstimator) -> Keys:
    keys = {"time_key": "day", "path_key": "track"}
    if model.discrete:
        keys["state_key"] = "state"
    else:
        keys["use_rep"] = "X_pca"
    return keys


def _paths_in(units: Units, model: PathEstimator) -> Paths:
    """The example paths, in double precision so that no unit rounds them."""
    plain = Paths.from_anndata(example_paths(), **_keys(model))
    times: Any = [units.times(t) for t in plain.times]
    if model.discrete:
        return replace(plain, times=times)
    states: Any = [units.states(x.astype(np.float64)) for x in plain.states]
    return replace(plain, times=times, states=states)


def _simulated_in(units: Units, model: PathEstimator, **options: Any) -> ndarray:
    """Simulated paths ``(path, time, ...)`` of a fit in these units, in plain units again."""
    paths = _paths_in(units, model)
    fitted = EXAMPLE.fit_clone(model, paths)
    moments = np.array([0.0, 0.5, 2.0, 5.0])
    times = units.times(moments)
    run = fitted.simulate(paths, times, n_paths=9, seed=1, **options)
    states = run.states.double().numpy()
    return states if model.discrete else units.plain_states(states)


EXAMPLE = Example(make=example_paths, keys=_keys, hold_out="track3", simulated_in=_simulated_in)
CHECKS = Battery(EXAMPLE)


@CHECKS.add
def check_held_out_paths_are_never_seen(model: PathEstimator) -> None:
    """What is learned is bit-identical when the held-out path is another one."""
    data = example_paths()
    other = example_paths()
    is_held_out = other.obs["track"] == "track3"
    rows = is_held_out.to_numpy()
    # So far away that a single look at it would move every unit.
    other.obsm["X_pca"][rows] += 7.0
    other.obs.loc[rows, "state"] = "high"
    first = EXAMPLE.fit_clone(model, data, hold_out="track3")
    second = EXAMPLE.fit_clone(model, other, hold_out="track3")
    is_same = torch.equal(weights(first), weights(second))
    assert is_same, "a held-out path changes what is learned"


@CHECKS.add
def check_rows_come_in_any_order(model: PathEstimator) -> None:
    """The shuffled rows of an AnnData, and the paths themselves, give one fit."""
    data = example_paths()
    paths = Paths.from_anndata(data, **_keys(model))
    first = EXAMPLE.fit_clone(model, data)
    in_order = EXAMPLE.fit_clone(model, paths)
    is_same = torch.equal(weights(first), weights(in_order))
    assert is_same, "the same paths from an AnnData and as Paths give two fits"


@CHECKS.add
def check_simulates(model: PathEstimator) -> None:
    """Trajectories of the asked shape in the user's times, the same for the same seed."""
    data = example_paths()
    EXAMPLE.fit(model, data)
    times = [0.0, 0.5, 2.0, 5.0]
    run = model.simulate(data, times, n_paths=9, seed=1)
    assert isinstance(run, Trajectories), "simulate does not return Trajectories"
    # A state is one number, and a position is two.
    expected: tuple[int, ...] = (9, 4, 2)
    if model.discrete:
        expected = (9, 4)
    shape = tuple(run.states.shape)
    assert shape == expected, f"states have shape {shape}"
    assert same_times(run.times, times), "times are not those that were asked for"
    again = model.simulate(data, times, n_paths=9, seed=1)
    assert torch.equal(run.states, again.states), "one seed gives two simulations"


@CHECKS.add
def check_evaluates_by_path(model: PathEstimator) -> None:
    """One row per path with finite scores, the held-out path marked."""
    data = example_paths()
    EXAMPLE.fit(model, data, hold_out="track3")
    table = model.evaluate(data)
    names = set(data.obs["track"])
    assert set(table["path"]) == names, "there is not one row per path"
    held_out = table.loc[table["held_out"], "path"]
    assert list(held_out) == ["track3"], "the held-out path is not marked"
    # Not every method knows it.
    if "log_likelihood" in table:
        check_finite(table, "log_likelihood")
    score = "brier" if model.discrete else "crps"
    check_finite(table, score, f"{score}_still")


@CHECKS.add
def check_evaluates_by_time(model: PathEstimator) -> None:
    """One row per interval of time with finite distances."""
    data = example_paths()
    EXAMPLE.fit(model, data)
    table = model.evaluate(data, by="time", n_intervals=3)
    n_rows = len(table)
    assert n_rows == 3, f"there are {n_rows} rows for 3 intervals of time"
    distance = "hellinger" if model.discrete else "w1"
    check_finite(table, distance, f"{distance}_floor")


@CHECKS.add
def check_bad_input_is_refused_in_words(model: PathEstimator) -> None:
    """Each mistake gives one sentence that names the key or the value."""
    data = example_paths()
    columns = _keys(model)
    misspelt = columns | {"time_key": "dya"}
    with raises(KeyError, "'day'"):
        clone(model).fit(data, **misspelt)
    del columns["path_key"]
    with raises(ValueError, "path_key"):
        clone(model).fit(data, **columns)
    sample = np.zeros((3, 2))
    times = np.arange(2.0)
    samples = (sample, sample + 1)
    cells = Snapshots(times=times, samples=samples)
    with raises(TypeError, "snapshots"):
        clone(model).fit(cells)
    with raises(KeyError, "no path is named"):
        EXAMPLE.fit_clone(model, data, hold_out="nobody")
    # The name of a file is not its content.
    with raises(TypeError, "AnnData"):
        clone(model).fit("data.h5ad")
    with raises(NotFittedError, "fit"):
        clone(model).simulate(data, [0.0, 1.0], n_paths=2)
