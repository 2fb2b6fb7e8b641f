"""Time series of many individuals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data import display
from dyninfer.data.arrays import as_list
from dyninfer.data.columns import MissingKey
from dyninfer.data.paths import checks, reading
from dyninfer.data.paths.covariates import as_covariates, cut_rows, rows_of
from dyninfer.data.paths.description import description
from dyninfer.data.paths.states import are_labels, encode, read_states
from dyninfer.data.time_reading import as_time, times_array
from dyninfer.data.times import Clock
from dyninfer.data.words import as_text, counted, listed, quoted
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import brief

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False, repr=False)
class Paths:
    """Time series of ``n`` individuals, each at its own irregular times, with gaps.

    States are continuous, ``(l_i, feature)`` floats with NaN for a missing value, or discrete,
    ``(l_i,)`` integers from 0 with -1 for a missing state.

    Parameters
    ----------
    times : sequence of n arrays ``(l_i,)``
        Times in any unit. A path that is out of order is sorted, together with its states.
    states : sequence of n arrays or DataFrames ``(l_i, feature)``, or arrays ``(l_i,)``
        Observations. One-dimensional floats are one feature; one-dimensional integers, text and
        categories are discrete states. Columns of DataFrames are matched by name. Float64 and whole
        numbers beyond 2²⁴ keep their precision; other continuous values become float32. Masked
        entries, None and NA are missing.
    names : sequence of n str, optional
        Unique names of the paths; by default their numbers.
    features : sequence of str, optional
        Unique names of the features; by default those of the columns of DataFrames, or ``x0, x1,
        ...``, and ``state`` for discrete paths.
    state_names : sequence of str, optional
        Names of the discrete states, in the order of their numbers; by default, for text, those
        that occur, sorted.
    conditions : sequence of n labels, optional
        One label per path (donor, dose, perturbation).
    covariates : DataFrame, optional
        Numbers or categories on which rates may depend, one column each. There is one row per path,
        or one per observation, path by path, whose values hold until the next observation.

    Raises
    ------
    TypeError, ValueError
        If the paths differ in kind or features, or a path is empty, has two observations at one
        time, has no observed value, or holds infinite values.

    Examples
    --------
    >>> from dyninfer import Paths
    >>> Paths(times=[[0, 1, 3], [0, 2]], states=[[0.1, 0.4, 0.2], [0.0, 0.5]])
    Paths: 2 paths x 1 feature, 5 observations
        times     0 to 3, 2 to 3 per path
        features  x0
    """

    times: tuple[ndarray, ...]
    states: tuple[ndarray, ...]
    names: ndarray = None  # type: ignore[assignment]
    features: tuple[str, ...] = ()
    state_names: tuple[str, ...] | None = None
    conditions: ndarray | None = None
    covariates: pd.DataFrame | None = None
    source: dict[str, Any] = field(default_factory=dict)  # the keys these paths were read by

    def __post_init__(self) -> None:
        self._set("times", as_list(self.times, "times", "one array per path"))
        self._set("states", as_list(self.states, "states", "one array per path"))
        n = len(self.times)
        n_states = len(self.states)
        if n != n_states:
            raise ValueError(
                f"times has {counted(n, 'path')} but states has {n_states}; give one array "
                "of each per path"
            )
        names = checks.as_names(self.names, n)
        times, states = self._read(names)
        lengths = [len(t) for t in times]
        owner = np.repeat(np.arange(n), lengths)
        # All paths in one array: checks cost the same for ten thousand short paths as for one long.
        flat_times = np.concatenate(times)
        flat_times = checks.check_times(flat_times, names[owner])
        flat_states = np.concatenate(states)
        flat_states = checks.as_states(flat_states, names, owner)
        order = np.lexsort([flat_times, owner])
        flat_times = flat_times[order]
        flat_states = flat_states[order]
        checks.refuse_repeats(flat_times, owner, names)
        # Sorted by path, rows stay within the lengths of the paths.
        cuts = np.cumsum(lengths)[:-1]
        sorted_times = np.split(flat_times, cuts)
        sorted_states = np.split(flat_states, cuts)
        self._set("times", tuple(sorted_times))
        self._set("states", tuple(sorted_states))
        self._set("names", names)
        features = checks.as_features(self.features, flat_states)
        state_names = checks.as_state_names(self.state_names, flat_states)
        conditions = checks.as_conditions(self.conditions, n)
        covariates = as_covariates(self.covariates, names, owner, order)
        self._set("features", features)
        self._set("state_names", state_names)
        self._set("conditions", conditions)
        self._set("covariates", covariates)

    def _read(self, names: ndarray) -> tuple[list[ndarray], list[ndarray]]:
        """Times and states of every path as arrays of one kind."""
        times = [times_array(t) for t in self.times]
        checks.check_kinds(times, names)
        if are_labels(self.states):
            states, state_names = encode(self.states, self.state_names)
            self._set("state_names", state_names)
        else:
            states, features = read_states(self.states, names, self.features)
            self._set("features", features)
        states = checks.same_kind(states, names)
        checks.check_lengths(times, states, names)
        return times, states

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData,
        *,
        time_key: str | None,
        path_key: str | None,
        use_rep: str | None = None,
        state_key: str | None = None,
        condition_key: str | None = None,
        covariate_keys: Sequence[str] | None = None,
    ) -> Paths:
        """Read paths from an AnnData with one row per path and time, in any order.

        The AnnData is not changed.

        Parameters
        ----------
        adata : AnnData
            May be backed: ``X`` is not read if ``state_key`` is given or ``use_rep`` is in
            ``obsm``.
        time_key : str
            Column of ``obs`` with the times: numbers, numeric strings or categories, or timedeltas
            (read as days).
        path_key : str
            Column of ``obs`` that names the path of each row.
        use_rep : str, optional
            Key of ``obsm``, a layer, or "X" with continuous states; by default ``obsm["X_pca"]`` if
            else ``X``.
        state_key : str, optional
            Column of ``obs`` with discrete states, categories or whole numbers; a missing entry is
            a gap. Categories without rows are states too, but AnnData drops them when it is subset.
        condition_key : str, optional
            Column of ``obs`` with a label that is the same in all rows of a path.
        covariate_keys : list of str, optional
            Columns of ``obs`` that rates may depend on.

        Raises
        ------
        KeyError
            If a key is missing; the message suggests the one that was meant.
        ValueError
            If times are text or missing, a row has no path, a path has several rows at one time, or
            a condition changes within a path.
        """
        fields = reading.fields_from_anndata(
            adata, time_key, path_key, use_rep, state_key, condition_key, covariate_keys
        )
        return cls(**fields)

    @classmethod
    def from_dataframe(
        cls,
        table: pd.DataFrame,
        *,
        time_key: str,
        path_key: str,
        state_key: str | None = None,
        feature_keys: Sequence[str] | None = None,
        condition_key: str | None = None,
        covariate_keys: Sequence[str] | None = None,
    ) -> Paths:
        """Read paths from a table with one row per path and time, in any order.

        Parameters
        ----------
        table : DataFrame
        feature_keys : list of str, optional
            Columns with continuous states, in place of ``state_key``.
        time_key, path_key, state_key, condition_key, covariate_keys
            Columns of the table; see :meth:`from_anndata`, also for errors.

        Examples
        --------
        >>> import pandas as pd
        >>> from dyninfer import Paths
        >>> visits = pd.DataFrame({"who": ["a", "a"], "year": [0, 2], "stage": ["mild", "severe"]})
        >>> Paths.from_dataframe(visits, time_key="year", path_key="who", state_key="stage")
        Paths: 1 path, 2 observations
            times   0 to 2, 2 to 2 per path
            states  mild, severe
        """
        with reading.in_words_of_a_table():
            adata, use_rep = reading.anndata_of_table(table, state_key, feature_keys)
            fields = reading.fields_from_anndata(
                adata, time_key, path_key, use_rep, state_key, condition_key, covariate_keys
            )
        return cls(**fields)

    @property
    def discrete(self) -> bool:
        """Whether the states are integers."""
        return self.states[0].ndim == 1

    @property
    def n_features(self) -> int:
        """Number of features; 1 for discrete paths."""
        if self.discrete:
            return 1
        return self.states[0].shape[1]

    @property
    def n_states(self) -> int | None:
        """Number of discrete states, or None for continuous paths."""
        if self.state_names is None:
            return None
        return len(self.state_names)

    @property
    def lengths(self) -> ndarray:
        """Number of observations of each path ``(n,)``."""
        lengths = [len(t) for t in self.times]
        return np.array(lengths)

    def at(self, time: float) -> ndarray:
        """States ``(m, feature)`` or ``(m,)`` of the paths that have an observation at ``time``.

        Raises
        ------
        ValueError
            If no path has one; the message names the nearest time.
        """
        times = np.concatenate(self.times)
        states = np.concatenate(self.states)
        # The clock of all paths: the gaps between them say what rounding may be.
        clock = Clock.of(times)
        if clock.nearest(time) is None:
            number = as_time(time)
            distance = np.abs(times - number)
            nearest = as_text(times[distance.argmin()])
            raise ValueError(
                f"no path has an observation at time {as_text(number)}; the nearest is at {nearest}"
            )
        return states[clock.rows(times, time)]

    def padded(self) -> tuple[Tensor, Tensor, Tensor]:
        """All paths as one batch, as long as the longest path ``L``.

        Returns
        -------
        times : Tensor, ``(path, L)`` float64
            After its end, a path repeats its last time.
        states : Tensor, ``(path, L, feature)`` float or ``(path, L)`` int64
            0 where nothing was observed.
        mask : Tensor of bool, of the shape of ``states``
            True where a value was observed: neither after the end nor missing.
        """
        lengths = self.lengths
        longest = lengths.max()
        # One row of the batch for each path.
        end = np.cumsum(lengths)[:, None]
        last_row = end - 1
        first_row = end - lengths[:, None]
        row = first_row + np.arange(longest)
        beyond = row > last_row
        row = np.minimum(row, last_row)
        times = np.concatenate(self.times)[row]
        states = np.concatenate(self.states)[row]
        mask = ~checks.is_missing(states)
        mask[beyond] = False
        # A number, and not NaN: what is masked still meets gradients.
        states[~mask] = 0
        return torch.from_numpy(times), torch.from_numpy(states), torch.from_numpy(mask)

    def split(self, fraction: float, seed: int = 0) -> tuple[Paths, Paths]:
        """Split the paths at random into ``(1 − fraction, fraction)``, none of them empty.

        Raises
        ------
        ValueError
            If there is only one path, or ``fraction`` is not between 0 and 1.
        """
        if not isinstance(fraction, float | int) or not 0 < fraction < 1:
            raise ValueError(f"fraction must be between 0 and 1, found {brief(fraction)}")
        if len(self) < 2:
            raise ValueError("one path cannot be split; give at least two paths")
        n = len(self)
        n_second = round(n * fraction)
        # Neither part is empty.
        n_second = min(max(n_second, 1), n - 1)
        rng = numpy_stream(seed, "paths", "split")
        order = rng.permutation(n)
        second = np.sort(order[:n_second])
        first = np.sort(order[n_second:])
        return self[first], self[second]

    def without(self, paths: Any) -> Paths:
        """Leave out paths by name or number; None leaves out none."""
        if paths is None:
            return self
        try:
            numbers = self._numbers(paths)
        except IndexError as error:
            # An index error is the answer to paths[...] only.
            raise ValueError(str(error)) from None
        every_number = np.arange(len(self))
        remaining = np.delete(every_number, numbers)
        if len(remaining) == 0:
            raise ValueError(f"leaving out {quoted(paths)} leaves no path")
        return self[remaining]

    def to_anndata(self) -> AnnData:
        """One row per observation, with ``obs["path"]`` and ``obs["time"]``.

        The states are ``X``, or ``obs["state"]``.
        """
        return reading.to_anndata(self)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, paths: Any) -> Paths:
        """Select paths by number, name, slice, mask, or a list of numbers or names."""
        rows = self._numbers(paths)
        if len(rows) == 0:
            raise IndexError(f"the selection leaves no path of {len(self)}")
        conditions = self.conditions
        if conditions is not None:
            conditions = conditions[rows]
        times = [self.times[i] for i in rows]
        states = [self.states[i] for i in rows]
        return replace(
            self,
            times=tuple(times),
            states=tuple(states),
            names=self.names[rows],
            conditions=conditions,
            covariates=cut_rows(self.covariates, rows_of(self.lengths, rows)),
        )

    def first_rows(self, n_rows: ndarray) -> Paths:
        """The first observations of every path; ``(n,)`` gives how many of each."""
        numbers = range(len(self))
        times = [self.times[i][: n_rows[i]] for i in numbers]
        states = [self.states[i][: n_rows[i]] for i in numbers]
        rows = rows_of(self.lengths, numbers, n_rows)
        return replace(
            self,
            times=tuple(times),
            states=tuple(states),
            covariates=cut_rows(self.covariates, rows),
        )

    def __repr__(self) -> str:
        return display.block(*description(self))

    def _repr_html_(self) -> str:
        return display.table(*description(self))

    def _numbers(self, paths: Any) -> ndarray:
        """Numbers of the paths that a slice, mask, or list of numbers or names selects."""
        selection = paths
        if not isinstance(paths, slice):
            selection = np.atleast_1d(checks.as_selection(paths))
            if selection.dtype.kind in "UO":
                selection = self._numbers_of_names(selection)
            elif len(selection) == 0:
                # An empty list is an array of floats, which select nothing.
                selection = selection.astype(int)
            elif selection.dtype.kind not in "biu":
                raise TypeError(checks.SELECTED_BY.format(brief(paths)))
        n = len(self)
        try:
            return np.arange(n)[selection]
        except IndexError as error:
            raise IndexError(f"cannot select paths of {n} by {brief(paths)}: {error}") from None

    def _numbers_of_names(self, names: ndarray) -> ndarray:
        position = {name: i for i, name in enumerate(self.names)}
        for name in names:
            # A set or a table in place of a name has no place in the index at all.
            if not isinstance(name, str):
                raise TypeError(checks.SELECTED_BY.format(brief(name)))
            if name not in position:
                every = listed(self.names)
                raise MissingKey(f"no path is named {quoted(str(name))}; there are {every}")
        numbers = [position[name] for name in names]
        return np.array(numbers)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
