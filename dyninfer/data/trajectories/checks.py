"""What `Trajectories` asks of its fields, and of the numbers that select from it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.arrays import as_array, as_list, as_tensor, default_features
from dyninfer.data.words import counted, quoted, texts
from dyninfer.learning.settings import brief, is_whole

Index = int | slice | Sequence[int] | ndarray | Tensor


def check_states(states: Tensor) -> int:
    """Number of paths of states ``(path, time, feature)`` float or ``(path, time)`` integer."""
    if not isinstance(states, Tensor):
        raise TypeError(
            f"states must be a torch tensor, got {type(states).__name__}: "
            "use torch.as_tensor(states)"
        )
    kind = str(states.dtype).removeprefix("torch.")
    shape = tuple(states.shape)
    if states.dtype == torch.bool or states.is_complex():
        raise TypeError(f"states must be float or integer, got {kind}")
    if states.is_floating_point() and states.ndim != 3:
        raise ValueError(f"float states must be (path, time, feature), got shape {shape}")
    if not states.is_floating_point() and states.ndim != 2:
        raise ValueError(f"integer states must be (path, time), got shape {shape}")
    if 0 in shape:
        raise ValueError(
            f"states need at least one path, one time and one feature, got shape {shape}"
        )
    return shape[0]


def check_times(times: Any, n_times: int) -> Tensor:
    """Float64 times ``(time,)``, finite and strictly monotone."""
    if not isinstance(times, Tensor):
        # By NumPy: torch would read a list of numbers as float32.
        times = as_tensor(times, "times")
    times = times.to(torch.float64)
    check_shape("times", times, (n_times,), "(time,)")
    if not bool(times.isfinite().all()):
        raise ValueError("times must be finite, found NaN or inf")
    steps = times.detach().diff()
    is_ascending = (steps > 0).all()
    is_descending = (steps < 0).all()
    if not bool(is_ascending | is_descending):
        raise ValueError(
            f"times must be strictly ascending or strictly descending, got {times.tolist()[:6]}"
        )
    return times


def check_origin(origin: Any, n_paths: int) -> ndarray:
    """Names ``(path,)`` as text, or numbers of rows as they are; by default the paths' numbers."""
    if origin is None:
        return np.arange(n_paths).astype(str)
    if hasattr(origin, "detach"):
        origin = as_array(origin, "origin")
    elif not isinstance(origin, ndarray):
        origin = _as_column(as_list(origin, "origin", "one name per path"))
    check_shape("origin", origin, (n_paths,), "(path,)")
    if origin.dtype.kind in "Uiu":
        return origin
    # Of objects one by one: what NumPy makes of a mixed list may be cut short.
    return origin.astype(object).astype(str)


def _as_column(entries: list[Any]) -> ndarray:
    """Whole numbers as such, and anything else as it is."""
    if all(is_whole(entry) for entry in entries):
        return np.array(entries)
    # Filled one by one: NumPy would take entries that are lists for rows of a table.
    column = np.empty(len(entries), dtype=object)
    for row, entry in enumerate(entries):
        column[row] = entry
    return column


def check_shape(name: str, array: Any, expected: Sequence[int], words: str) -> None:
    """Refuse an array whose shape does not go with the states."""
    if not hasattr(array, "shape"):
        raise TypeError(f"{name} must be an array or a tensor {words}, found {brief(array)}")
    # Tensors have sizes of a kind of their own, which print differently.
    shape = tuple(array.shape)
    expected = tuple(expected)
    if shape != expected:
        raise ValueError(f"{name} must be {words} = {expected} to match states, got shape {shape}")


def check_parents(parents: Tensor, n_paths: int, n_times: int) -> None:
    """Refuse parents that are not int64 rows ``(path, time)``, own rows at the first time."""
    check_shape("parents", parents, (n_paths, n_times), "(path, time)")
    if parents.dtype != torch.int64:
        dtype = str(parents.dtype)
        raise TypeError(f"parents must be int64, got {dtype.removeprefix('torch.')}")
    # Torch would take a negative row from the end without a word.
    lowest = int(parents.min())
    highest = int(parents.max())
    if lowest < 0 or highest >= n_paths:
        raise ValueError(f"parents must be row numbers from 0 to {n_paths - 1}")
    own_rows = torch.arange(n_paths, device=parents.device)
    if not torch.equal(parents[:, 0], own_rows):
        raise ValueError(
            "parents[:, 0] must be 0, 1, 2, ...: rows at the first time have no earlier row"
        )


def check_features(features: Sequence[str] | str | None, states: Tensor) -> tuple[str, ...]:
    """One unique name for each feature; by default ``x0, x1, ...``, or ``state``."""
    is_discrete = states.ndim == 2
    if features is None and is_discrete:
        return ("state",)
    n_features = 1
    if not is_discrete:
        n_features = states.shape[2]
    if features is None:
        return default_features(n_features)
    # A single name would be taken apart into its letters.
    if isinstance(features, str):
        features = (features,)
    names = as_list(features, "features", "one name per feature")
    features = texts(names)
    n_names = len(features)
    if n_names != n_features:
        raise ValueError(
            f"features has {counted(n_names, 'name')} for {counted(n_features, 'feature')} "
            "of states"
        )
    if len(set(features)) < n_names:
        repeats = (name for name in features if features.count(name) > 1)
        repeated = next(repeats)
        raise ValueError(f"feature names must be unique, found {quoted(repeated)} more than once")
    return features


def plain(attrs: dict[str, Any]) -> dict[str, Any]:
    """Attributes as they read back from JSON, so that saving changes nothing."""

    def convert(value: Any) -> Any:
        if isinstance(value, ndarray | np.generic | Tensor):
            return value.tolist()
        raise TypeError(f"attrs must hold plain values, found {brief(value)}")

    text = json.dumps(attrs, default=convert)
    return json.loads(text)


def indices(index: Index, size: int, what: str) -> slice | ndarray:
    """Index as a forward slice (a view) or an array of numbers."""
    if isinstance(index, slice) and (index.step is None or index.step > 0):
        selection: slice | ndarray = index
        n_chosen = len(range(size)[index])
    else:
        selection = _numbers(index, size, what)
        n_chosen = len(selection)
    if n_chosen == 0:
        raise IndexError(f"the selection leaves no {what} of {size}")
    return selection


def _numbers(index: Index, size: int, what: str) -> ndarray:
    if isinstance(index, Tensor):
        index = index.cpu().numpy()
    try:
        # A copy: torch refuses the negative strides of a reversed view.
        selected = np.arange(size)[index]
        return np.atleast_1d(selected).copy()
    except (IndexError, TypeError) as error:
        raise IndexError(f"cannot select {what}s of {size} by {quoted(index)}: {error}") from None
