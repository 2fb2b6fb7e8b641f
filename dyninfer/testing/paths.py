"""The contract of methods that learn from paths."""

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
from dyninfer.data.paths import Paths
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import same_times
from dyninfer.data.trajectories import Trajectories
from dyninfer.estimators import PathEstimator
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


def example_paths(seed: int = 0, n: int = 12, length: int = 15, d: int = 2) -> Any:
    """AnnData of tracked cells, rows shuffled.

    With ``obs["day"]`` (irregular), ``obs["track"]``, ``obs["state"]`` and ``obsm["X_pca"]``.
    """
    import pandas as pd
    from anndata import AnnData

    rng = numpy_stream(seed, "example paths")
    days = np.sort(rng.uniform(0, 5, (n, length)), axis=1)
    days[:, 0] = 0.0  # simulations start there
    gaps = np.diff(days, axis=1, prepend=0.0)
    # Brownian motion, so that the gaps matter.
    steps = 0.5 * np.sqrt(gaps)[..., None] * rng.normal(size=(n, length, d))
    x = steps.cumsum(axis=1).reshape(-1, d).astype(np.float32)
    number = np.digitize(x[:, 0], [-0.2, 0.2])
    tracks = [f"track{i}" for i in range(n)]
    columns = {
        "day": days.ravel(),
        "track": np.repeat(tracks, length),
        "state": pd.Categorical.from_codes(number, ["low", "middle", "high"]),
    }
    names = [f"row{i}" for i in range(len(x))]
    obs = pd.DataFrame(columns, index=names)
    # Rows of an AnnData come in any order.
    rows = rng.permutation(len(x))
    return AnnData(obs=obs.iloc[rows], obsm={"X_pca": x[rows]})


def _keys(model: PathEstimator) -> dict[str, str]:
    keys = {"time_key": "day", "path_key": "track"}
    if model.discrete:
        keys["state_key"] = "state"
    else:
        keys["use_rep"] = "X_pca"
    return keys


def _fit(model: PathEstimator, data: Any = None, **options: Any) -> Any:
    if data is None:
        data = example_paths()
    keywords: dict[str, Any] = {"max_steps": STEPS, "progress": False}
    if not isinstance(data, Paths):
        keywords |= _keys(model)
    return model.fit(data, **(keywords | options))


def _fit_clone(model: PathEstimator, data: Any = None, **options: Any) -> Any:
    """Fit a fresh estimator of the same settings."""
    return _fit(clone(model), data, **options)


def _weights(model: PathEstimator) -> torch.Tensor:
    tensors = model.process_.state_dict().values()
    return torch.cat([tensor.double().reshape(-1) for tensor in tensors])


@CHECKS.add
def check_fit_returns_self_and_learns(model: PathEstimator) -> None:
    """``fit`` returns the estimator with what was learned."""
    before = dict(model.get_params())
    assert _fit(model) is model, "fit does not return the estimator"
    assert model.get_params() == before, "fit changed a parameter"
    assert len(model.history_) >= 1, "history_ is empty"
    assert bool(_weights(model).isfinite().all()), "what was learned is not finite"


@CHECKS.add
def check_seed_fixes_everything(model: PathEstimator) -> None:
    """The same seed gives the same to the last bit; global state is left alone."""
    state = torch.get_rng_state()
    first = _weights(_fit_clone(model, seed=3))
    second = _weights(_fit_clone(model, seed=3))
    assert torch.equal(first, second), "two fits with one seed differ"
    assert torch.equal(state, torch.get_rng_state()), "fit moved torch's global random state"


@CHECKS.add
def check_held_out_paths_are_never_seen(model: PathEstimator) -> None:
    """What is learned is bit-identical when the held-out path is another one."""
    data = example_paths()
    other = example_paths()
    rows = (other.obs["track"] == "track3").to_numpy()
    other.obsm["X_pca"][rows] += 7.0
    other.obs.loc[rows, "state"] = "high"
    first = _weights(_fit_clone(model, data, hold_out="track3"))
    second = _weights(_fit_clone(model, other, hold_out="track3"))
    assert torch.equal(first, second), "a held-out path changes what is learned"


@CHECKS.add
def check_data_are_left_alone(model: PathEstimator) -> None:
    """``fit`` changes nothing in the AnnData, and the order of its rows does not matter."""
    data = example_paths()
    untouched = example_paths()
    first = _weights(_fit(model, data))
    assert data.obs.equals(untouched.obs) and not data.uns, "fit wrote into the AnnData"
    assert np.array_equal(data.obsm["X_pca"], untouched.obsm["X_pca"]), (
        "fit changed the representation"
    )
    model.annotate(data)
    json.loads(data.uns[keys.UNS]["model"])
    with tempfile.TemporaryDirectory() as folder:
        data.write_h5ad(Path(folder) / "annotated.h5ad")
    paths = Paths.from_anndata(data, **_keys(model))
    in_order = _weights(_fit_clone(model, paths))
    assert torch.equal(first, in_order), "the same paths from an AnnData and as Paths give two fits"


@CHECKS.add
def check_simulates(model: PathEstimator) -> None:
    """Trajectories of the asked shape in the user's times, the same for the same seed."""
    data = example_paths()
    _fit(model, data)
    times = [0.0, 0.5, 2.0, 5.0]
    run = model.simulate(data, times, n_paths=9, seed=1)
    assert isinstance(run, Trajectories), "simulate does not return Trajectories"
    expected = (9, 4) if model.discrete else (9, 4, 2)
    assert tuple(run.states.shape) == expected, f"states have shape {tuple(run.states.shape)}"
    assert same_times(run.times, times), "times are not those that were asked for"
    again = model.simulate(data, times, n_paths=9, seed=1)
    assert torch.equal(run.states, again.states), "one seed gives two simulations"


@CHECKS.add
def check_evaluates(model: PathEstimator) -> None:
    """One row per path with finite scores, the held-out path marked; or one per interval."""
    data = example_paths()
    _fit(model, data, hold_out="track3")
    table = model.evaluate(data)
    assert set(table["path"]) == {f"track{i}" for i in range(12)}, "there is not one row per path"
    assert list(table.loc[table["held_out"], "path"]) == ["track3"], (
        "the held-out path is not marked"
    )
    if "log_likelihood" in table:
        assert np.isfinite(table["log_likelihood"]).all(), "a log-likelihood is not finite"
    score = "brier" if model.discrete else "crps"
    for column in (score, f"{score}_still"):
        assert np.isfinite(table[column]).all(), f"{column} is not finite"
    times = model.evaluate(data, by="time", n_intervals=3)
    distance = "hellinger" if model.discrete else "w1"
    assert len(times) == 3, f"there are {len(times)} rows for 3 intervals of time"
    for column in (distance, f"{distance}_floor"):
        assert np.isfinite(times[column]).all(), f"{column} is not finite"


@CHECKS.add
def check_provenance_is_kept(model: PathEstimator) -> None:
    """What was learned about the data is there, and comes back from a file."""
    check_provenance(_fit(model, hold_out="track3"), ["track3"])


@CHECKS.add
def check_resumes(model: PathEstimator) -> None:
    """A fit is taken up from its checkpoint."""
    check_resumed(model, _fit, _weights)


@CHECKS.add
def check_failed_fit_leaves_the_old_model(model: PathEstimator) -> None:
    """A fit that fails leaves what was learned before."""
    check_failed_refit(model, _fit, _weights)


@CHECKS.add
def check_saves_and_loads(model: PathEstimator) -> None:
    """A loaded model simulates the same to the last bit; a failed save leaves the old file."""
    data = example_paths()
    _fit(model, data)

    def run(one: PathEstimator) -> torch.Tensor:
        return one.simulate(data, [0.0, 1.0], n_paths=5, seed=2).states

    check_file(model, lambda again: torch.equal(run(model), run(again)))


@CHECKS.add
def check_bad_input_is_refused_in_words(model: PathEstimator) -> None:
    """Each mistake gives one sentence that names the key or the value."""
    data = example_paths()
    named = _keys(model)
    with raises(KeyError, "'day'"):
        clone(model).fit(data, **(named | {"time_key": "dya"}))
    unpaired = dict(named)
    del unpaired["path_key"]
    with raises(ValueError, "path_key"):
        clone(model).fit(data, **unpaired)
    cells = Snapshots(times=np.arange(2.0), samples=(np.zeros((3, 2)), np.ones((3, 2))))
    with raises(TypeError, "snapshots"):
        clone(model).fit(cells)
    with raises(KeyError, "no path is named"):
        _fit_clone(model, data, hold_out="nobody")
    with raises(TypeError, "AnnData"):
        clone(model).fit("data.h5ad")
    with raises(NotFittedError, "fit"):
        clone(model).simulate(data, [0.0, 1.0], n_paths=2)
