"""The doors of Trajectories: AnnData and xarray, which files hold."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data import keys
from dyninfer.data.arrays import as_array
from dyninfer.data.columns import MissingKey, obs_column
from dyninfer.data.words import counted, texts
from dyninfer.learning.tensor_file import parse_json

if TYPE_CHECKING:
    from anndata import AnnData
    from xarray import DataArray, Dataset

    from dyninfer.data.snapshots import Snapshots
    from dyninfer.data.trajectories import Trajectories


def to_anndata(traj: Trajectories) -> AnnData:
    """One observation per path and time, the times of a path side by side."""
    from anndata import AnnData

    # Copies: functions that change an AnnData in place must not change the trajectories.
    states = array(traj.states).copy()
    times = array(traj.times).copy()
    features = list(traj.features)
    n_rows = traj.n_paths * traj.n_times
    adata = AnnData(
        X=states.reshape(n_rows, -1),
        obs=_observations(traj, times),
        var=pd.DataFrame(index=features),
    )
    fields = _plain_fields(traj)
    adata.uns[keys.TRAJECTORIES] = {"times": times, **fields}
    return adata


def _observations(traj: Trajectories, times: ndarray) -> pd.DataFrame:
    """One row per path and time, the times of a path side by side."""
    paths = np.arange(traj.n_paths)
    columns = np.arange(traj.n_times)
    path = np.repeat(paths, traj.n_times)
    column = np.tile(columns, traj.n_paths)
    founder = array(traj.founders()).ravel()
    status = array(traj.status)
    origin = traj.origin.astype(str).astype(object)
    obs = pd.DataFrame({"path": path, "time": times[column]})
    own_origin = origin[founder]
    obs["origin"] = pd.Categorical(own_origin)
    obs["status"] = status[path]
    if traj.log_weights is not None:
        obs["log_weight"] = array(traj.log_weights).ravel()
        obs["weight"] = array(traj.weights).ravel()
    if traj.parents is not None:
        obs["parent"] = array(traj.parents).ravel()
    cells = zip(path, column, strict=True)
    row_names = [f"{i}-{k}" for i, k in cells]
    obs.index = pd.Index(row_names)
    return obs


def fields_from_anndata(adata: AnnData) -> dict[str, Any]:
    """Arguments of ``Trajectories`` from an AnnData of ``to_anndata``, its rows in any order."""
    uns = _own(adata.uns, "AnnData", "uns")
    columns = {}
    for name in ("path", "time", "origin", "status"):
        columns[name] = obs_column(adata, name).to_numpy()
    _check_time_kind(columns["time"])
    stored = np.array(uns["times"], dtype=np.float64)
    # In the stored order: a backward run descends. Whole times may have been left out.
    is_present = np.isin(stored, columns["time"])
    times = stored[is_present]
    order, n_paths = _grid_order(columns["path"], columns["time"], times)
    shape = (n_paths, len(times))
    # The first row of each path stands for it.
    first_rows = order[:: len(times)]
    if adata.isbacked:
        # Rows of a file are read in ascending order only.
        adata = adata.to_memory()
    ordered = adata.X[order]
    values = as_array(ordered, "adata.X").reshape(*shape, -1)
    if values.dtype.kind != "f":
        values = values[..., 0]
    status = columns["status"][first_rows]
    fields = {
        "states": torch.from_numpy(values),
        "times": torch.from_numpy(times),
        "origin": columns["origin"][first_rows],
        "status": torch.from_numpy(status),
        "features": texts(adata.var_names),
    }
    for name, column in (("log_weights", "log_weight"), ("parents", "parent")):
        if column in adata.obs:
            values = adata.obs[column].to_numpy()
            grid = values[order].reshape(shape)
            fields[name] = torch.from_numpy(grid)
    n_left_out = len(stored) - len(times)
    _check_parents(fields.get("parents"), n_paths, n_left_out)
    return _restored(fields, uns)


def to_xarray(traj: Trajectories) -> Dataset:
    """Dataset with dimensions path, time and feature; names as strings of variable length."""
    # Integer states have no features.
    dims = ("path", "time", "feature")[: traj.states.ndim]
    # Copies, so that what xarray changes in place stays here as it is.
    states = array(traj.states).copy()
    return beside_states(traj).assign(states=(dims, states))


def beside_states(traj: Trajectories) -> Dataset:
    """Dataset of all but the states, which may be too large to be copied."""
    import xarray as xr

    status = array(traj.status).copy()
    variables: dict[str, Any] = {"status": ("path", status)}
    for name in ("log_weights", "parents"):
        values = getattr(traj, name)
        if values is not None:
            table = array(values).copy()
            variables[name] = (("path", "time"), table)
    # Objects become strings of any length in a file; fixed widths would be cut at the next append.
    features = np.array(traj.features, dtype=object)
    origin = traj.origin.astype(str).astype(object)
    coords = {
        "path": np.arange(traj.n_paths),
        "time": array(traj.times).copy(),
        "feature": features,
        "origin": ("path", origin),
    }
    plain = json.dumps(_plain_fields(traj))
    return xr.Dataset(variables, coords, attrs={keys.TRAJECTORIES: plain})


def fields_from_xarray(data: Dataset) -> dict[str, Any]:
    """Arguments of ``Trajectories`` from a Dataset that ``to_xarray`` made."""
    text = _own(data.attrs, "Dataset", "attrs")
    plain = parse_json(text)
    features = np.atleast_1d(data["feature"].values)
    fields: dict[str, Any] = {
        "origin": data["origin"].values,
        "features": texts(features),
    }
    fields["times"] = _copied(data["time"])
    for name in ("states", "log_weights", "status", "parents"):
        if name in data:
            fields[name] = _copied(data[name])
    return _restored(fields, plain)


def _copied(variable: DataArray) -> Tensor:
    # What xarray holds may be read-only.
    values = np.array(variable.values)
    return torch.from_numpy(values)


def to_snapshots(traj: Trajectories) -> Snapshots:
    """The population at each stored time, without diverged paths; weighted where mass changes."""
    from dyninfer.data.snapshots import Snapshots

    if traj.discrete:
        raise TypeError("snapshots hold continuous states; these are integers")
    is_alive = array(traj.status == 0)
    states = array(traj.states)[is_alive]
    founders = array(traj.founders())[is_alive]
    origin = traj.origin.astype(str)
    names = origin[founders]
    fields: dict[str, Any] = {}
    if traj.log_weights is not None:
        weights = array(traj.weights)[is_alive]
        fields["weights"] = tuple(weights.T)
        fields["masses"] = array(traj.mass)
    # By time and then path.
    samples = states.swapaxes(0, 1)
    return Snapshots(
        times=array(traj.times),
        samples=tuple(samples),
        features=traj.features,
        names=tuple(names.T),
        **fields,
    )


def array(x: Tensor) -> ndarray:
    """Tensor as an array; half precision, which files do not hold, widens to float32."""
    x = x.detach().cpu()
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    return x.numpy()


def _plain_fields(traj: Trajectories) -> dict[str, str]:
    """What columns and variables do not hold, as text."""
    # Origins are text in a file, whatever they were; so are half-precision states float32.
    is_text = traj.origin.dtype.kind == "U"
    dtype = str(traj.states.dtype)
    return {
        "dtype": dtype.removeprefix("torch."),
        "origin": "text" if is_text else "rows",
        "attrs": json.dumps(traj.attrs),
    }


def _restored(fields: dict[str, Any], plain: dict[str, str]) -> dict[str, Any]:
    """Fields with the precision and the attributes that they were stored with."""
    origin = np.asarray(fields["origin"])
    # Files of before have names only, and do not say so.
    if plain.get("origin") == "rows":
        origin = origin.astype(np.int64)
    name = str(plain["dtype"])
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"there is no dtype {name!r:.40}")
    states = fields["states"].to(dtype)
    attrs = parse_json(plain["attrs"])
    return fields | {"states": states, "origin": origin, "attrs": attrs}


def _check_time_kind(time: ndarray) -> None:
    """Refuse times that a round trip through text has changed."""
    if time.dtype.kind not in "fiu":
        raise TypeError(
            f"adata.obs['time'] holds {time.dtype} values; make the times numbers: "
            "adata.obs['time'] = adata.obs['time'].astype(float)"
        )


def _check_parents(parents: Tensor | None, n_paths: int, n_left_out: int) -> None:
    if parents is None:
        return
    if n_left_out or n_paths <= int(parents.max()):
        raise ValueError(
            "the AnnData holds part of resampled trajectories, whose rows descend from rows that "
            "were left out; read it whole and slice the Trajectories instead"
        )


def _own(holder: Any, kind: str, where: str) -> Any:
    if keys.TRAJECTORIES not in holder:
        door = "to_anndata" if kind == "AnnData" else "to_xarray"
        raise MissingKey(
            f"this {kind} holds no trajectories: {where}[{keys.TRAJECTORIES!r}] is missing; "
            f"it must come from Trajectories.{door}() or save(), and concat leaves it out"
        )
    return holder[keys.TRAJECTORIES]


def _grid_order(path: ndarray, time: ndarray, times: ndarray) -> tuple[ndarray, int]:
    """Order of the rows by path, then by the order of ``times``; and the number of paths."""
    paths = np.unique(path)
    n_paths = len(paths)
    n_times = len(times)
    ascending = np.argsort(times)
    rank = np.searchsorted(times, time, sorter=ascending)
    rank = np.minimum(rank, n_times - 1)
    column = ascending[rank]
    order = np.lexsort([column, path])
    grid_path = np.repeat(paths, n_times)
    grid_time = np.tile(times, n_paths)
    has_paths = np.array_equal(path[order], grid_path)
    has_times = np.array_equal(time[order], grid_time)
    if not (has_paths and has_times):
        raise ValueError(
            f"the AnnData has {counted(len(path), 'row')} for {counted(n_paths, 'path')} "
            f"and {counted(n_times, 'time')}; every path "
            "needs one row at every time: select whole paths or whole times, and do not "
            "concatenate trajectories"
        )
    return order, n_paths
