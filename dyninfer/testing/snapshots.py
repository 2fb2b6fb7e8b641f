"""The contract of methods that learn from snapshots."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from dyninfer.data import keys
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import same_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import brief, check_count
from dyninfer.testing.common import Battery, Example, Keys, check_finite, raises, weights
from dyninfer.testing.units import PLAIN, Units

# Their gaps differ, as those of data do.
_DAYS = [0.0, 1.0, 2.0, 5.0]


def example_data(seed: int = 0, n: int = 40, d: int = 3, n_times: int = 4) -> Any:
    """AnnData of a population that drifts and spreads, without ``X``.

    With ``obs["day"]``, whose gaps are unequal, and ``obsm["X_pca"]``.
    """
    import pandas as pd
    from anndata import AnnData

    n = check_count(n, "n")
    d = check_count(d, "d")
    if check_count(n_times, "n_times") > len(_DAYS):
        raise ValueError(f"n_times must be 1 to {len(_DAYS)}, found {brief(n_times)}")
    n_bytes = 8 * n * d
    check_memory(n_bytes, f"{n} cells of {d} features")
    rng = numpy_stream(seed, "example data")
    days = _DAYS[:n_times]
    # All different, so that rows of one time cannot be taken for those of another.
    extra = 3 * np.arange(n_times)
    sizes = n + extra
    samples = []
    for day, size in zip(days, sizes, strict=True):
        mean = 0.4 * day
        std = 1 + 0.1 * day
        sample = rng.normal(mean, std, (size, d))
        samples.append(sample.astype(np.float32))
    x = np.concatenate(samples)
    names = [f"cell{i}" for i in range(len(x))]
    every_day = np.repeat(days, sizes)
    obs = pd.DataFrame({"day": every_day}, index=names)
    return AnnData(obs=obs, obsm={"X_pca": x})


def _keys(model: SnapshotEstimator) -> Keys:
    return {"time_key": "day"}


def _snapshots_in(units: Units) -> Snapshots:
    """The example data, in double precision so that no unit rounds them."""
    plain = Snapshots.from_anndata(example_data(), time_key="day")
    samples: Any = [units.states(x.astype(np.float64)) for x in plain.samples]
    times = units.times(plain.times)
    return Snapshots(times=times, samples=samples, features=plain.features)


def _simulated_in(units: Units, model: SnapshotEstimator, **options: Any) -> ndarray:
    """Simulated paths ``(path, time, feature)`` of a fit in these units, in plain units again."""
    data = _snapshots_in(units)
    fitted = EXAMPLE.fit_clone(model, data)
    # Four chunks of three, the last of them smaller.
    start = data.samples[0][:10]
    moments = np.array([0.0, 0.5, 2.0, 5.0])
    times = units.times(moments)
    run = fitted.simulate(start, times, seed=1, **options)
    return units.plain_states(run.states.double().numpy())


EXAMPLE = Example(make=example_data, keys=_keys, hold_out=2.0, simulated_in=_simulated_in)
CHECKS = Battery(EXAMPLE)


@CHECKS.add
def check_history_and_features(model: SnapshotEstimator) -> None:
    """The loss is written down, and the features have the names of the data."""
    EXAMPLE.fit(model)
    check_finite(model.history_, "loss")
    names = list(model.feature_names_in_)
    assert names == ["PCA1", "PCA2", "PCA3"], f"feature names are {names}"


@CHECKS.add
def check_seeds_differ(model: SnapshotEstimator) -> None:
    """Another seed gives another fit: weights are drawn, and not fixed in the code."""
    third = EXAMPLE.fit_clone(model, seed=3)
    fourth = EXAMPLE.fit_clone(model, seed=4)
    is_same = torch.equal(_parameters(third), _parameters(fourth))
    assert not is_same, "two seeds give one fit"


def _parameters(model: SnapshotEstimator) -> torch.Tensor:
    """What training has moved: not the units, which depend on the data alone."""
    parameters = model.process_.parameters()
    return torch.cat([p.flatten() for p in parameters])


def _same_growth(one: SnapshotEstimator, other: SnapshotEstimator) -> bool:
    """Whether two fits agree in growth, whose mean masses may set without any training."""
    x = torch.zeros(1, one.n_features_in_)
    first = one.process_.growth(1.0, x)
    second = other.process_.growth(1.0, x)
    if first is None or second is None:
        return first is second
    return torch.equal(first, second)


@CHECKS.add
def check_order_of_times_changes_nothing(model: SnapshotEstimator) -> None:
    """What is learned is bit-identical in whatever order the times are given."""
    data = _snapshots_in(PLAIN)
    times = data.times[::-1]
    samples = data.samples[::-1]
    backward = Snapshots(times=times, samples=samples, features=data.features)
    first = EXAMPLE.fit_clone(model, data)
    second = EXAMPLE.fit_clone(model, backward)
    is_same = torch.equal(weights(first), weights(second))
    assert is_same, "the order of the times changes what is learned"


@CHECKS.add
def check_held_out_cells_are_never_seen(model: SnapshotEstimator) -> None:
    """Weights are bit-identical when the held-out cells are NaN."""
    data = example_data()
    spoiled = example_data()
    is_held_out = spoiled.obs["day"] == 2.0
    # One look at them would make everything NaN.
    states = spoiled.obsm["X_pca"]
    states[is_held_out.to_numpy()] = np.nan
    first = EXAMPLE.fit_clone(model, data, hold_out=2.0)
    second = EXAMPLE.fit_clone(model, spoiled, hold_out=2.0)
    is_same = torch.equal(weights(first), weights(second))
    assert is_same, "held-out cells change what is learned"


@CHECKS.add
def check_annotates_a_velocity(model: SnapshotEstimator) -> None:
    """``annotate`` writes one velocity for every cell, in the space of the states."""
    data = example_data()
    EXAMPLE.fit(model, data)
    model.annotate(data)
    velocity = data.obsm[keys.VELOCITY]
    states = data.obsm["X_pca"]
    assert velocity.shape == states.shape, "the velocity has another shape than the states"


@CHECKS.add
def check_simulates(model: SnapshotEstimator) -> None:
    """Trajectories of the asked shape, finite, in the user's times, the same for the same seed."""
    data = example_data()
    EXAMPLE.fit(model, data)
    # One of them lies between the snapshots, and the first is not that of the data.
    times = [1.0, 1.5, 2.0, 5.0]
    run = model.simulate(data, times, seed=1)
    is_start = data.obs["day"] == 1.0
    names = data.obs_names[is_start]
    assert isinstance(run, Trajectories), "simulate does not return Trajectories"
    expected = (len(names), 4, 3)
    shape = tuple(run.states.shape)
    assert shape == expected, f"states have shape {shape}"
    assert bool(run.states.isfinite().all()), "states are not finite"
    assert same_times(run.times, times), "times are not those that were asked for"
    assert list(run.origin) == list(names), "origin does not name the cells"
    again = model.simulate(data, times, seed=1)
    assert torch.equal(run.states, again.states), "one seed gives two simulations"
    starts = np.zeros((4, 3), np.float32)
    more = model.simulate(starts, [0.0, 1.0], n_paths=7)
    assert len(more.states) == 7, "n_paths is not obeyed"


@CHECKS.add
def check_process_fields(model: SnapshotEstimator) -> None:
    """Drift takes scalar and per-row times, in chunks and dtypes, and is differentiable."""
    process = EXAMPLE.fit(model).process_
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, 3, generator=generator)
    at_one = process.drift(1.0, x)
    shape = tuple(at_one.shape)
    assert shape == (9, 3), f"drift has shape {shape}"
    one_by_row = torch.ones(9)
    by_row = process.drift(one_by_row, x)
    assert torch.allclose(at_one, by_row), "scalar and per-row times differ"
    few = process.drift(1.0, x[:4])
    # Products of matrices round differently in other sizes.
    is_same = torch.allclose(at_one[:4], few, atol=1e-5)
    assert is_same, "rows are not independent of each other"
    y = x.clone().requires_grad_()
    total = process.drift(1.0, y).sum()
    (gradient,) = torch.autograd.grad(total, y)
    assert bool(gradient.isfinite().all()), "the drift is not differentiable"
    # Solvers with tight tolerances ask for double precision.
    process.to(torch.float64)
    double = process.drift(1.0, x.double())
    assert double.dtype == torch.float64, "a process of doubles has a drift of another precision"
    is_same = torch.allclose(double.float(), at_one, atol=1e-4)
    assert is_same, "float64 gives another drift"


@CHECKS.add
def check_evaluates(model: SnapshotEstimator) -> None:
    """One row per time after the first, each number with its floor, the held-out time marked."""
    data = example_data()
    EXAMPLE.fit(model, data, hold_out=2.0)
    table = model.evaluate(data, metrics=("w1", "energy"))
    times = list(table["time"])
    assert times == [1.0, 2.0, 5.0], f"times are {times}"
    is_marked = list(table["held_out"])
    assert is_marked == [False, True, False], "the held-out time is not marked"
    check_finite(table, "w1", "w1_floor", "w1_still", "energy", "mass")
    for gap in ("straightness_gap", "monge_gap"):
        # NaN with noise or growth; float32 rounds the end points.
        tolerance = -1e-5 * table["action"]
        is_negative = table[gap] < tolerance
        assert not is_negative.any(), f"{gap} is negative"


@CHECKS.add
def check_keys_are_used_or_refused(model: SnapshotEstimator) -> None:
    """A key in ``uses`` changes what is learned; another one is refused by its name."""
    data = _with_columns(example_data())
    plain = EXAMPLE.fit_clone(model, data)
    for key in ("weight_key", "mass_key", "condition_key"):
        column = {key: key.removesuffix("_key")}
        is_conserved = key == "mass_key" and model.conserves_mass
        if key not in model.uses or is_conserved:
            with raises(ValueError, key):
                EXAMPLE.fit_clone(model, data, **column)
            continue
        other = EXAMPLE.fit_clone(model, data, **column)
        is_same = torch.equal(_parameters(plain), _parameters(other))
        if key == "mass_key":
            is_same = is_same and _same_growth(plain, other)
        assert not is_same, f"{key} is in uses, and changes nothing"
    if not model.uses_growth:
        data.obs["growth"] = 0.1
        with raises(ValueError, "growth_key"):
            EXAMPLE.fit_clone(model, data, growth_key="growth")


@CHECKS.add
def check_cells_start_with_their_weights(model: SnapshotEstimator) -> None:
    """Simulated cells count as much as those of the data that they start from."""
    if "weight_key" not in model.uses:
        return
    data = _with_columns(example_data())
    EXAMPLE.fit(model, data, weight_key="weight")
    run = model.simulate(data, [0.0, 1.0])
    is_first = data.obs["day"] == 0.0
    share = data.obs["weight"][is_first].to_numpy()
    expected = torch.as_tensor(share / share.sum())
    at_start = run.weights[:, 0]
    is_same = torch.allclose(at_start, expected)
    assert is_same, "cells do not start with their weights"


def _with_columns(data: Any) -> Any:
    """The data with a weight, a mass and a condition for every cell."""
    obs = data.obs
    number = np.arange(len(obs))
    is_odd = number % 2 == 1
    obs["weight"] = np.where(is_odd, 1.0, 0.1)
    # Not in proportion to the sizes of the samples, which a method might take for masses.
    obs["mass"] = 1.0 + obs["day"]
    obs["condition"] = np.where(is_odd, "a", "b")
    return data


@CHECKS.add
def check_bad_data_are_refused_in_words(model: SnapshotEstimator) -> None:
    """Each mistake of a fit gives one sentence that names the key or the value."""
    data = example_data()
    with raises(KeyError, "'day'"):
        clone(model).fit(data, time_key="dya")
    with raises(KeyError, "time_key"):
        clone(model).fit(data)
    with raises(KeyError, "X_umap"):
        EXAMPLE.fit_clone(model, data, use_rep="X_umap")
    # A number could be cut out of the text, but not unasked: it may be a name.
    text = example_data()
    numbers = text.obs["day"].astype(str)
    labels = "day " + numbers
    text.obs["day"] = labels.astype("category")
    with raises(ValueError, "read_times"):
        EXAMPLE.fit_clone(model, text)
    one = data[:40]
    with raises(ValueError, "at least two times"):
        EXAMPLE.fit_clone(model, one)
    spoiled = example_data()
    states = spoiled.obsm["X_pca"]
    states[5, 1] = np.nan
    with raises(ValueError, "cell5"):
        EXAMPLE.fit_clone(model, spoiled)
    with raises(ValueError, "no snapshot at time"):
        EXAMPLE.fit_clone(model, data, hold_out=99)
    # The name of a file is not its content.
    with raises(TypeError, "AnnData"):
        clone(model).fit("data.h5ad")


@CHECKS.add
def check_bad_runs_are_refused_in_words(model: SnapshotEstimator) -> None:
    """Each mistake of a simulation gives one sentence that names the value."""
    data = example_data()
    with raises(NotFittedError, "fit"):
        clone(model).simulate(data, [0.0, 1.0])
    EXAMPLE.fit(model, data)
    flat = np.zeros((4, 2))
    with raises(ValueError, "3 features"):
        model.simulate(flat, [0.0, 1.0])
    with raises(ValueError, "no snapshot at time"):
        model.simulate(data, [0.5, 1.0])
    with raises(ValueError, "times"):
        model.simulate(data, [1.0, 0.0])
