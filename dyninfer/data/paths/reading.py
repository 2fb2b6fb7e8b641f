"""`Paths` from an AnnData with one row per path and time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dyninfer.data.arrays import dense_rows
from dyninfer.data.columns import label_column, obs_column, time_column
from dyninfer.data.representation import representation, warn_if_counts

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def fields_from_anndata(
    adata: AnnData,
    time_key: str | None,
    path_key: str | None,
    use_rep: str | None,
    state_key: str | None,
    condition_key: str | None,
) -> dict[str, Any]:
    """Fields of the `Paths` in an AnnData; arguments as in `Paths.from_anndata`."""
    if use_rep is not None and state_key is not None:
        raise ValueError(f"give use_rep={use_rep!r} or state_key={state_key!r}, not both")
    if adata.n_obs == 0:
        raise ValueError("the AnnData has no rows; paths need at least one")
    times = time_column(adata, time_key)
    owner, names = _owners(obs_column(adata, path_key, "path_key"), str(path_key))
    order = np.lexsort([times, owner])
    _refuse_repeats(times[order], owner[order], names, time_key, path_key)
    cuts = np.flatnonzero(np.diff(owner[order])) + 1
    if state_key is not None:
        values, state_names = _codes(obs_column(adata, state_key, "state_key"), state_key)
        features: tuple[str, ...] = (state_key,)
    else:
        array, features, use_rep = representation(adata, use_rep)
        values, state_names = dense_rows(array, np.arange(adata.n_obs), use_rep), None
        if use_rep == "X":
            warn_if_counts(values, "adata.X")
    given = {
        "time_key": time_key,
        "path_key": path_key,
        "use_rep": use_rep,
        "state_key": state_key,
        "condition_key": condition_key,
    }
    return {
        "times": tuple(np.split(times[order], cuts)),
        "states": tuple(np.split(values[order], cuts)),
        "names": names,
        "features": features,
        "state_names": state_names,
        "conditions": None
        if condition_key is None
        else _conditions(adata, condition_key, owner, names),
        "source": {key: value for key, value in given.items() if value is not None},
    }


def _owners(column: pd.Series, path_key: str) -> tuple[np.ndarray, np.ndarray]:
    """Number of the path of every row, in order of appearance, and the paths' names."""
    import pandas as pd

    owner, values = pd.factorize(column)
    if (owner < 0).any():
        raise ValueError(
            f"path_key {path_key!r} is missing in {(owner < 0).sum()} rows (first: {column.index[owner < 0][0]!r}); "
            f"drop them: adata[adata.obs['{path_key}'].notna()]"
        )
    return owner, np.array([str(v) for v in values], dtype=object)


def _refuse_repeats(
    times: np.ndarray,
    owner: np.ndarray,
    names: np.ndarray,
    time_key: str | None,
    path_key: str | None,
) -> None:
    again = np.flatnonzero((np.diff(times) == 0) & (np.diff(owner) == 0))
    if len(again) == 0:
        return
    i = again[0]
    count = ((owner == owner[i]) & (times == times[i])).sum()
    raise ValueError(
        f"path {names[owner[i]]!r} has {count} rows at {time_key} {times[i]:g}; a path is one individual with one row "
        f"per time. If {path_key!r} names groups of cells, such as clones, keep one cell of each group and time, "
        f"adata[~adata.obs.duplicated(['{path_key}', '{time_key}'])], or average them first"
    )


def _codes(column: pd.Series, state_key: str) -> tuple[np.ndarray, tuple[str, ...]]:
    import pandas as pd

    if column.dtype.kind == "f" and not (column.dropna() % 1 == 0).all():
        raise ValueError(
            f"state_key {state_key!r} holds continuous numbers (such as {column.dropna().iloc[0]:g}); "
            "give categories or whole numbers, or use_rep for continuous states"
        )
    column = column if isinstance(column.dtype, pd.CategoricalDtype) else column.astype("category")
    names = [f"{c:g}" if isinstance(c, float) else str(c) for c in column.cat.categories]
    return column.cat.codes.to_numpy(dtype=np.int64), tuple(names)


def _conditions(adata: AnnData, key: str, owner: np.ndarray, names: np.ndarray) -> np.ndarray:
    labels = label_column(adata, key, "condition_key")
    _, first = np.unique(owner, return_index=True)
    changed = labels != labels[first][owner]
    if changed.any():
        i = owner[changed][0]
        found = ", ".join(map(repr, np.unique(labels[owner == i])[:4].tolist()))
        raise ValueError(
            f"condition_key {key!r} changes within path {names[i]!r} ({found}); give one label per path"
        )
    return labels[first]
