"""The doors of Trajectories: AnnData, xarray, and files."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.data import keys
from dyninfer.data.columns import MissingKey, obs_column

if TYPE_CHECKING:
    from anndata import AnnData
    from xarray import Dataset

    from dyninfer.data.trajectories import Trajectories

SUFFIXES = (".h5ad", ".zarr", ".nc", ".h5")


def to_anndata(traj: Trajectories) -> AnnData:
    """One observation per path and time, the times of a path side by side."""
    import pandas as pd
    from anndata import AnnData

    n, T = traj.n_paths, traj.n_times
    path, time = np.repeat(np.arange(n), T), np.tile(np.arange(T), n)
    obs = pd.DataFrame({"path": path, "time": array(traj.times)[time]})
    obs["origin"] = pd.Categorical(
        traj.origin.astype(str)[array(traj.founders()).ravel()].astype(object)
    )
    obs["status"] = array(traj.status)[path]
    if traj.log_weights is not None:
        obs["log_weight"] = array(traj.log_weights).ravel()
        obs["weight"] = array(traj.weights).ravel()
    if traj.parents is not None:
        obs["parent"] = array(traj.parents).ravel()
    obs.index = pd.Index([f"{i}-{k}" for i, k in zip(path, time, strict=True)])
    # A copy: functions that change adata.X in place must not change the trajectories.
    X = np.array(array(traj.states).reshape(n * T, -1))
    adata = AnnData(X=X, obs=obs, var=pd.DataFrame(index=list(traj.features)))
    adata.uns[keys.TRAJECTORIES] = {"times": array(traj.times).copy(), **_plain_fields(traj)}
    return adata


def fields_from_anndata(adata: AnnData) -> dict[str, Any]:
    """Arguments of ``Trajectories`` from an AnnData that ``to_anndata`` made, its rows in any order."""
    uns = _own(adata.uns, "AnnData", "uns")
    column = {
        name: obs_column(adata, name).to_numpy() for name in ("path", "time", "origin", "status")
    }
    stored = np.array(uns["times"], dtype=np.float64)
    times = stored[np.isin(stored, column["time"])]
    order, n = _grid_order(column["path"], column["time"], times)
    X = adata.to_memory().X if adata.isbacked else adata.X
    states = torch.from_numpy(X[order].reshape(n, len(times), -1))

    def grid(name: str) -> Tensor | None:
        if name not in adata.obs:
            return None
        return torch.from_numpy(adata.obs[name].to_numpy()[order].reshape(n, len(times)))

    parents = grid("parent")
    if parents is not None and (len(times) < len(stored) or n <= int(parents.max())):
        raise ValueError(
            "the AnnData holds part of resampled trajectories, whose rows descend from rows that were left out; "
            "read it whole and slice the Trajectories instead"
        )
    fields = {
        "states": states if states.is_floating_point() else states[..., 0],
        "times": torch.from_numpy(times),
        "log_weights": grid("log_weight"),
        "origin": column["origin"][order][:: len(times)],
        "status": torch.from_numpy(column["status"][order][:: len(times)]),
        "parents": parents,
        "features": tuple(map(str, adata.var_names)),
    }
    return _restored(fields, uns)


def to_xarray(traj: Trajectories) -> Dataset:
    """Dataset with dimensions path, time and feature; names as strings of variable length."""
    import xarray as xr

    dims = ("path", "time", "feature")[: traj.states.ndim]
    variables: dict[str, Any] = {
        "states": (dims, array(traj.states).copy()),
        "status": ("path", array(traj.status).copy()),
    }
    for name in ("log_weights", "parents"):
        if getattr(traj, name) is not None:
            variables[name] = (("path", "time"), array(getattr(traj, name)).copy())
    coords = {
        "path": np.arange(traj.n_paths),
        "time": array(traj.times).copy(),
        "feature": np.array(traj.features, dtype=object),
        "origin": ("path", traj.origin.astype(str).astype(object)),
    }
    return xr.Dataset(variables, coords, attrs={keys.TRAJECTORIES: json.dumps(_plain_fields(traj))})


def fields_from_xarray(data: Dataset) -> dict[str, Any]:
    """Arguments of ``Trajectories`` from a Dataset that ``to_xarray`` made."""
    plain = json.loads(_own(data.attrs, "Dataset", "attrs"))

    def tensor(name: str) -> Tensor | None:
        return torch.from_numpy(np.array(data[name].values)) if name in data else None

    fields = {
        "states": tensor("states"),
        "times": tensor("time"),
        "log_weights": tensor("log_weights"),
        "origin": data["origin"].values,
        "status": tensor("status"),
        "parents": tensor("parents"),
        "features": tuple(map(str, np.atleast_1d(data["feature"].values))),
    }
    return _restored(fields, plain)


def save(traj: Trajectories, path: str | os.PathLike[str]) -> None:
    """Write beside ``path``, then move into place."""
    path = Path(path)
    suffix = _suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"folder {str(path.parent)!r} does not exist; make it first")
    foreign = path.exists() if suffix == ".zarr" else path.is_dir()
    if foreign and not (path / "zarr.json").exists():
        raise FileExistsError(f"{str(path)!r} is there and holds other things; give another name")
    with tempfile.TemporaryDirectory(prefix=f".{path.stem}-", dir=path.parent) as folder:
        written = Path(folder) / f"new{suffix}"
        if suffix == ".h5ad":
            to_anndata(traj).write_h5ad(written)
        elif suffix == ".zarr":
            to_xarray(traj).to_zarr(written, mode="w", consolidated=False)
        else:
            to_xarray(traj).to_netcdf(written, engine="h5netcdf")
        _move(written, path, Path(folder) / "old")


def load_fields(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Arguments of ``Trajectories`` from a file that ``save`` wrote."""
    path = Path(path)
    suffix = _suffix(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    try:
        if suffix == ".h5ad":
            import anndata

            return fields_from_anndata(anndata.read_h5ad(path))
        import xarray as xr

        how: Any = (
            {"engine": "zarr", "consolidated": False}
            if suffix == ".zarr"
            else {"engine": "h5netcdf"}
        )
        with xr.open_dataset(path, **how) as data:
            return fields_from_xarray(data.load())
    except MissingKey:
        raise
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{str(path)!r} cannot be read as trajectories in {suffix}: {error}"
        ) from error


def array(x: Tensor) -> np.ndarray:
    """Tensor as an array; half precision, which files do not hold, widens without loss to float32."""
    x = x.detach().cpu()
    return (x.float() if x.dtype in (torch.float16, torch.bfloat16) else x).numpy()


def _plain_fields(traj: Trajectories) -> dict[str, str]:
    return {"dtype": str(traj.states.dtype).removeprefix("torch."), "attrs": json.dumps(traj.attrs)}


def _restored(fields: dict[str, Any], plain: dict[str, str]) -> dict[str, Any]:
    """Fields with the precision of the states and the attributes they were stored with."""
    return fields | {
        "states": fields["states"].to(getattr(torch, plain["dtype"])),
        "attrs": json.loads(plain["attrs"]),
    }


def _own(holder: Any, kind: str, where: str) -> Any:
    if keys.TRAJECTORIES not in holder:
        raise MissingKey(
            f"this {kind} holds no trajectories: {where}[{keys.TRAJECTORIES!r}] is missing; "
            f"it must come from Trajectories.to_{kind.lower().replace('dataset', 'xarray')}() or save()"
        )
    return holder[keys.TRAJECTORIES]


def _grid_order(path: np.ndarray, time: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, int]:
    """Order of the rows by path, then by the order of ``times``; and the number of paths."""
    paths = np.unique(path)
    by_value = np.argsort(times)
    position = by_value[np.searchsorted(times, time, sorter=by_value).clip(max=len(times) - 1)]
    order = np.lexsort([position, path])
    complete = len(path) == len(paths) * len(times)
    if (
        not complete
        or (path[order] != np.repeat(paths, len(times))).any()
        or (time[order] != np.tile(times, len(paths))).any()
    ):
        raise ValueError(
            f"the AnnData has {len(path)} rows for {len(paths)} paths and {len(times)} times; every path needs one "
            "row at every time: select whole paths or whole times"
        )
    return order, len(paths)


def _suffix(path: Path) -> str:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"cannot tell the format of {path.name!r}: end it in {', '.join(SUFFIXES)}"
        )
    return path.suffix


def _move(written: Path, path: Path, aside: Path) -> None:
    if not path.is_dir():  # also where it does not exist
        os.replace(written, path)
        return
    os.replace(path, aside)  # a folder cannot be replaced in one step
    try:
        os.replace(written, path)
    except OSError:
        os.replace(aside, path)
        raise
