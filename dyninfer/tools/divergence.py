"""Where velocities part and meet, and how they turn: divergence and curl at every cell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray

from dyninfer.data import keys
from dyninfer.data.columns import check_anndata, check_writable, label_column, time_column
from dyninfer.data.embedding import local_slopes, pushed_forward
from dyninfer.data.representation import check_finite
from dyninfer.data.words import counted, quoted
from dyninfer.diffusions.scaled import device_of, scaling_of
from dyninfer.diffusions.slopes import curl, exact_trace
from dyninfer.tools.decoding import states_of
from dyninfer.tools.velocity import cell_velocity

if TYPE_CHECKING:
    from anndata import AnnData

# Cells differentiated at a time, so that networks of any width fit into memory.
ROWS = 2048


def divergence(
    model: Any,
    adata: AnnData,
    basis: str | None = None,
    *,
    n_neighbors: int | None = None,
) -> pd.DataFrame:
    r"""Divergence of the velocity at every cell and its time: sources and sinks of the flow.

    .. math:: \nabla \cdot v = \sum_i \partial v_i / \partial x_i

    Where it is negative, trajectories converge, as on the way into a fate; where it is positive,
    they diverge. It says nothing about growth, which is in ``obs["dyninfer_growth"]``.

    Parameters
    ----------
    model : fitted estimator
        A model with velocities.
    adata : AnnData
        Read by the keys of the fit, and written into.
    basis : str, optional
        Key of ``obsm`` with two columns, with or without ``X_``: divergence and curl of the arrows
        on this embedding, by regression on the nearest cells. A nonlinear embedding stretches some
        regions, and stretching looks like divergence. By default, the divergence in the space of
        the fitted states, by differentiation.
    n_neighbors : int, optional
        Cells per regression, as in :func:`velocity_embedding`.

    Returns
    -------
    DataFrame
        ``divergence`` of every cell, per unit of time, and in two dimensions ``curl``,
        :math:`\partial v_2/\partial x_1 - \partial v_1/\partial x_2`, twice the rate of rotation,
        positive when counterclockwise. Also written to ``obs["dyninfer_divergence"]`` and
        ``obs["dyninfer_curl"]``, with ``_<basis>`` appended if one was given.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the model has no velocity, or the basis is missing or not two-dimensional.

    Examples
    --------
    >>> import dyninfer as di
    >>> adata = di.datasets.mesc_retinoic_acid()[::20].copy()
    >>> model = di.ActionMatching(width=16)
    >>> model = model.fit(adata, time_key="time", max_steps=20, progress=False)
    >>> table = di.tl.divergence(model, adata)
    >>> "dyninfer_divergence" in adata.obs
    True
    """
    check_anndata(adata)
    check_writable(adata)
    if n_neighbors is not None and basis is None:
        raise ValueError("n_neighbors is used with a basis only; leave it out, or give basis")
    # Of jumps there is none, and beyond the data there is a warning.
    velocity = cell_velocity(model, adata)
    states = states_of(adata, model.source_["use_rep"])
    if basis is None:
        table = _of_states(model, adata, states)
        ending = ""
    else:
        positions, name = _positions(adata, basis)
        arrows = pushed_forward(states, positions, velocity, n_neighbors)
        table = _of_arrows(positions, arrows, n_neighbors)
        ending = f"_{name.removeprefix('X_')}"
    table = pd.DataFrame(table, index=adata.obs_names)
    names = {"divergence": keys.DIVERGENCE, "curl": keys.CURL}
    for column in table:
        adata.obs[f"{names[column]}{ending}"] = table[column]
    return table


def _of_states(model: Any, adata: AnnData, states: ndarray) -> dict[str, ndarray]:
    """Divergence of the drift, and with two features its curl, by differentiation."""
    times = time_column(adata, model.source_["time_key"])
    n_cells, n_features = states.shape
    fields = {"divergence": exact_trace}
    if n_features == 2:
        fields["curl"] = curl
    table = {name: np.empty(n_cells) for name in fields}
    for process, rows in _processes(model, adata):
        for first in range(0, len(rows), ROWS):
            own = rows[first : first + ROWS]
            v, x = _drift_at(process, times[own], states[own])
            for name, field in fields.items():
                table[name][own] = field(v, x).cpu().numpy()
    return table


def _processes(model: Any, adata: AnnData) -> Iterator[tuple[Any, ndarray]]:
    """Processes with the rows of their cells: one for each condition, where there are some."""
    key = model.source_.get("condition_key")
    if key is None:
        yield model.process_, np.arange(adata.n_obs)
        return
    labels = label_column(adata, key, "condition_key").astype(str)
    for label in dict.fromkeys(labels.tolist()):
        yield model.process_.given(label), np.flatnonzero(labels == label)


def _drift_at(process: Any, times: ndarray, states: ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Drift with its graph, and the states that it is of."""
    device = device_of(process)
    x = torch.as_tensor(states, device=device)
    t = torch.as_tensor(times, device=device)
    if scaling_of(process) is None:
        # Nothing else converts to the precision of its weights.
        x = x.float()
        t = t.float()
    x = x.requires_grad_(True)
    with torch.enable_grad():
        return process.drift(t, x), x


def _positions(adata: AnnData, basis: Any) -> tuple[ndarray, str]:
    """Places on a flat embedding ``(n, 2)``, and its key."""
    if not isinstance(basis, str):
        raise TypeError(f"basis must be a key of obsm, found {quoted(basis)}")
    if basis not in adata.obsm and f"X_{basis}" in adata.obsm:
        basis = f"X_{basis}"
    positions = states_of(adata, basis)
    if positions.shape[1] != 2:
        raise ValueError(
            f"basis {quoted(basis)} has {counted(positions.shape[1], 'column')}; curl needs two"
        )
    check_finite(positions, basis, np.asarray(adata.obs_names))
    return positions, basis


def _of_arrows(positions: ndarray, arrows: ndarray, n_neighbors: int | None) -> dict[str, ndarray]:
    """Divergence and curl of arrows on a plane, by regression on their places."""
    n_cells = len(positions)
    table = {"divergence": np.empty(n_cells), "curl": np.empty(n_cells)}
    for rows, slope in local_slopes(positions, arrows, n_neighbors):
        # slope[:, i, j] is how much component j (u, v) changes along coordinate i (x, y).
        u_along_x, v_along_x = slope[:, 0].T
        u_along_y, v_along_y = slope[:, 1].T
        table["divergence"][rows] = u_along_x + v_along_y
        table["curl"][rows] = v_along_x - u_along_y
    return table
