"""The contract of methods that learn from snapshots."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from dyninfer.data import keys
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import same_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.random import numpy_stream
from dyninfer.testing.common import (
    Battery,
    check_failed_refit,
    check_file,
    check_provenance,
    check_resumed,
    raises,
)

CHECKS = Battery()
STEPS = 6  # of training: enough to move every weight, and done in a blink


def example_data(seed: int = 0, n: int = 40, d: int = 3, n_times: int = 4) -> Any:
    """AnnData of a population that drifts and spreads, without ``X``.

    With ``obs["day"]``, whose gaps are unequal, and ``obsm["X_pca"]``.
    """
    import pandas as pd
    from anndata import AnnData

    rng = numpy_stream(seed, "example data")
    days = np.array([0.0, 1.0, 2.0, 5.0])[:n_times]
    sizes = n + 3 * np.arange(n_times)
    samples = []
    for day, size in zip(days, sizes, strict=True):
        mean, std = 0.4 * day, 1 + 0.1 * day
        samples.append(rng.normal(mean, std, (size, d)))
    x = np.concatenate(samples).astype(np.float32)
    names = [f"cell{i}" for i in range(len(x))]
    obs = pd.DataFrame({"day": np.repeat(days, sizes)}, index=names)
    return AnnData(obs=obs, obsm={"X_pca": x})


def _fit(model: SnapshotEstimator, data: Any = None, **options: Any) -> SnapshotEstimator:
    if data is None:
        data = example_data()
    keywords: dict[str, Any] = {"max_steps": STEPS, "progress": False}
    if not isinstance(data, Snapshots):
        keywords["time_key"] = "day"
    return model.fit(data, **(keywords | options))


def _fit_clone(model: SnapshotEstimator, data: Any = None, **options: Any) -> SnapshotEstimator:
    """Fit a fresh estimator of the same settings."""
    return _fit(clone(model), data, **options)


def _weights(model: SnapshotEstimator) -> torch.Tensor:
    return torch.cat([p.reshape(-1) for p in model.process_.parameters()])


@CHECKS.add
def check_fit_returns_self_and_learns(model: SnapshotEstimator) -> None:
    """``fit`` returns the estimator with what was learned."""
    before = dict(model.get_params())
    assert _fit(model) is model, "fit does not return the estimator"
    assert model.get_params() == before, "fit changed a parameter"
    assert len(model.history_) >= 1, "history_ is empty"
    assert np.isfinite(model.history_["loss"]).all(), "the loss is not finite"
    assert model.status_ in ("finished", "stopped early"), f"status_ is {model.status_!r}"
    assert list(model.feature_names_in_) == ["PCA1", "PCA2", "PCA3"], (
        f"feature names are {model.feature_names_in_}"
    )


@CHECKS.add
def check_seed_fixes_everything(model: SnapshotEstimator) -> None:
    """The same seed gives the same weights to the last bit; global state is left alone."""
    state = torch.get_rng_state()
    first = _weights(_fit_clone(model, seed=3))
    second = _weights(_fit_clone(model, seed=3))
    third = _weights(_fit_clone(model, seed=4))
    assert torch.equal(first, second), "two fits with one seed differ"
    assert not torch.equal(first, third), "two seeds give one fit"
    assert torch.equal(state, torch.get_rng_state()), "fit moved torch's global random state"


@CHECKS.add
def check_held_out_cells_are_never_seen(model: SnapshotEstimator) -> None:
    """Weights are bit-identical when the held-out cells are NaN."""
    data = example_data()
    spoiled = example_data()
    rows = (spoiled.obs["day"] == 2.0).to_numpy()
    spoiled.obsm["X_pca"][rows] = np.nan
    first = _weights(_fit_clone(model, data, hold_out=2.0))
    second = _weights(_fit_clone(model, spoiled, hold_out=2.0))
    assert torch.equal(first, second), "held-out cells change what is learned"


@CHECKS.add
def check_data_are_left_alone(model: SnapshotEstimator) -> None:
    """``fit`` changes nothing in the AnnData; what ``annotate`` adds can be written."""
    data = example_data()
    untouched = example_data()
    _fit(model, data)
    assert list(data.obs) == list(untouched.obs) and not data.uns, "fit wrote into the AnnData"
    assert np.array_equal(data.obsm["X_pca"], untouched.obsm["X_pca"]), (
        "fit changed the representation"
    )
    model.annotate(data)
    assert data.obsm[keys.VELOCITY].shape == data.obsm["X_pca"].shape, (
        "the velocity has another shape than the states"
    )
    json.loads(data.uns[keys.UNS]["model"])
    with tempfile.TemporaryDirectory() as folder:
        data.write_h5ad(Path(folder) / "annotated.h5ad")


@CHECKS.add
def check_simulates(model: SnapshotEstimator) -> None:
    """Trajectories of the asked shape, finite, in the user's times, the same for the same seed."""
    data = example_data()
    _fit(model, data)
    # One of them lies between the snapshots, and the first is not that of the data.
    times = [1.0, 1.5, 2.0, 5.0]
    run = model.simulate(data, times, seed=1)
    names = data.obs_names[data.obs["day"] == 1.0]
    expected = (len(names), 4, 3)
    assert isinstance(run, Trajectories), "simulate does not return Trajectories"
    assert tuple(run.states.shape) == expected, f"states have shape {tuple(run.states.shape)}"
    assert bool(torch.isfinite(run.states).all()), "states are not finite"
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
    process = _fit(model).process_
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    at_one = process.drift(1.0, x)
    assert at_one.shape == x.shape, f"drift has shape {tuple(at_one.shape)}"
    by_row = process.drift(torch.ones(9), x)
    assert torch.allclose(at_one, by_row), "scalar and per-row times differ"
    first_rows = process.drift(1.0, x[:4])
    assert torch.allclose(at_one[:4], first_rows, atol=1e-5), (
        "rows are not independent of each other"
    )
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(process.drift(1.0, y).sum(), y)
    assert bool(torch.isfinite(gradient).all()), "the drift is not differentiable"
    # Solvers with tight tolerances ask for double precision.
    double = process.to(torch.float64).drift(1.0, x.double())
    assert double.dtype == torch.float64 and torch.allclose(double.float(), at_one, atol=1e-4), (
        "float64 gives another drift"
    )


@CHECKS.add
def check_evaluates(model: SnapshotEstimator) -> None:
    """One row per time after the first, each number with its floor, the held-out time marked."""
    data = example_data()
    _fit(model, data, hold_out=2.0)
    table = model.evaluate(data, metrics=("w1", "energy"))
    assert list(table["time"]) == [1.0, 2.0, 5.0], f"times are {list(table['time'])}"
    assert list(table["held_out"]) == [False, True, False], "the held-out time is not marked"
    for column in ("w1", "w1_floor", "w1_still", "energy", "mass"):
        assert np.isfinite(table[column]).all(), f"{column} is not finite"


@CHECKS.add
def check_keys_are_used_or_refused(model: SnapshotEstimator) -> None:
    """A key in ``uses`` changes what is learned; another one is refused by its name."""
    data = example_data()
    first = data.obs["day"].to_numpy() == 0.0
    odd = np.arange(data.n_obs) % 2 == 1
    data.obs["weight"] = np.where(odd, 1.0, 0.1)
    # Not in proportion to the sizes of the samples, which a method might take for masses.
    data.obs["mass"] = 1.0 + data.obs["day"]
    data.obs["condition"] = np.where(odd, "a", "b")
    plain = _weights(_fit_clone(model, data))
    for key in ("weight_key", "mass_key", "condition_key"):
        column = {key: key.removesuffix("_key")}
        conserved = key == "mass_key" and model.conserves_mass
        if key not in model.uses or conserved:
            with raises(ValueError, key):
                _fit_clone(model, data, **column)
            continue
        other = _weights(_fit_clone(model, data, **column))
        assert not torch.equal(plain, other), f"{key} is in uses, and changes nothing"
    if "weight_key" in model.uses:
        weighted = _fit(model, data, weight_key="weight")
        run = weighted.simulate(data, [0.0, 1.0])
        share = data.obs["weight"].to_numpy()[first]
        expected = torch.as_tensor(share / share.sum())
        assert torch.allclose(run.weights[:, 0], expected), "cells do not start with their weights"


@CHECKS.add
def check_provenance_is_kept(model: SnapshotEstimator) -> None:
    """What was learned about the data is there, and comes back from a file."""
    check_provenance(_fit(model, hold_out=2.0), [2.0])


@CHECKS.add
def check_resumes(model: SnapshotEstimator) -> None:
    """A fit is taken up from its checkpoint."""
    check_resumed(model, _fit, _weights)


@CHECKS.add
def check_failed_fit_leaves_the_old_model(model: SnapshotEstimator) -> None:
    """A fit that fails leaves what was learned before."""
    check_failed_refit(model, _fit, _weights)


@CHECKS.add
def check_saves_and_loads(model: SnapshotEstimator) -> None:
    """A loaded model simulates the same to the last bit; a failed save leaves the old file."""
    data = example_data()
    _fit(model, data)

    def states(one: SnapshotEstimator) -> torch.Tensor:
        return one.simulate(data, [0.0, 1.0], seed=2).states

    check_file(model, lambda again: torch.equal(states(model), states(again)))


@CHECKS.add
def check_bad_input_is_refused_in_words(model: SnapshotEstimator) -> None:
    """Each mistake gives one sentence that names the key or the value."""
    data = example_data()
    with raises(KeyError, "'day'"):
        clone(model).fit(data, time_key="dya")
    with raises(KeyError, "time_key"):
        clone(model).fit(data)
    with raises(KeyError, "X_umap"):
        _fit_clone(model, data, use_rep="X_umap")
    text = example_data()
    labels = "day " + text.obs["day"].astype(str)
    text.obs["day"] = labels.astype("category")
    with raises(ValueError, "str.extract"):
        _fit_clone(model, text)
    one = example_data()[:40]
    with raises(ValueError, "at least two times"):
        _fit_clone(model, one)
    spoiled = example_data()
    spoiled.obsm["X_pca"][5, 1] = np.nan
    with raises(ValueError, "cell5"):
        _fit_clone(model, spoiled)
    with raises(ValueError, "no snapshot at time"):
        _fit_clone(model, data, hold_out=99)
    with raises(TypeError, "AnnData"):
        clone(model).fit("data.h5ad")
    with raises(NotFittedError, "fit"):
        clone(model).simulate(data, [0.0, 1.0])
    _fit(model, data)
    with raises(ValueError, "3 features"):
        model.simulate(np.zeros((4, 2)), [0.0, 1.0])
    with raises(ValueError, "no snapshot at time"):
        model.simulate(data, [0.5, 1.0])
    with raises(ValueError, "times"):
        model.simulate(data, [1.0, 0.0])
