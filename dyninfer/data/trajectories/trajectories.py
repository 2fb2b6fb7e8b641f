"""Simulated paths with names, weights and provenance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data import display, storage, trajectory_file
from dyninfer.data.trajectories import ancestry, population, precision
from dyninfer.data.trajectories.checks import (
    Index,
    check_features,
    check_origin,
    check_parents,
    check_shape,
    check_states,
    check_times,
    indices,
    plain,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from xarray import Dataset

    from dyninfer.data.snapshots import Snapshots


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Trajectories:
    """Simulated paths: tensors with names, weights and provenance.

    Tensors are kept as given, on their device and with their gradients, until ``to_anndata``,
    ``to_xarray``, ``to_snapshots`` or ``save`` copies them. Paths whose ``status`` is not 0 keep
    their states but carry no weight: ``weights``, ``ess``, ``mass``, ``mean``, ``std``,
    ``occupation``, ``resample`` and ``to_snapshots`` leave them out.

    Parameters
    ----------
    states : Tensor, ``(path, time, feature)`` float or ``(path, time)`` integer
        States in the units of the data; integers are the states of a jump process.
    times : Tensor or array, ``(time,)``
        Times in the unit of the data, in the requested order: ascending, or descending for a
        backward run.
    log_weights : Tensor, ``(path, time)``, optional
        Logarithm of the mass of each path, in float64. None if mass is conserved.
    origin : sequence of str or int, ``(path,)``, optional
        Name, or row, of the observation from which each path started (after resampling: each row at
        the first time); by default the number of the path, as text.
    status : Tensor, ``(path,)``, optional
        0 for a finished path, 1 for one that diverged; by default all 0.
    parents : Tensor, ``(path, time)`` int64, optional
        Row at the previous stored time from which each row descends, if rows were resampled during
        the run; ``parents[:, 0]`` is ``arange(path)``. None if every row is one path.
    features : sequence of str, optional
        Names of the features; by default ``x0, x1, ...``, and ``state`` for integer states.
    attrs : dict, optional
        Provenance in plain values (numbers, strings, booleans, None, lists and dicts of them).

    Raises
    ------
    TypeError, ValueError
        If a field has the wrong type or shape, times are not strictly monotone, or names are not
        unique.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.data.trajectories import Trajectories
    >>> walk = Trajectories(states=torch.zeros(5, 3, 2), times=[0.0, 1.0, 2.0])
    >>> walk.at(0.5).shape
    torch.Size([5, 2])
    """

    states: Tensor
    times: Tensor
    log_weights: Tensor | None = None
    origin: ndarray = None  # type: ignore[assignment]
    status: Tensor = None  # type: ignore[assignment]
    parents: Tensor | None = None
    features: tuple[str, ...] = None  # type: ignore[assignment]
    attrs: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = check_states(self.states)
        n_times = self.states.shape[1]
        times = check_times(self.times, n_times)
        _set(self, "times", times)
        if self.log_weights is not None:
            check_shape("log_weights", self.log_weights, (n, n_times), "(path, time)")
            # Masses of e²⁰ and their differences need more digits than states do.
            _set(self, "log_weights", self.log_weights.to(torch.float64))
        _set(self, "origin", check_origin(self.origin, n))
        status = self.status
        if status is None:
            device = self.states.device
            status = torch.zeros(n, dtype=torch.int8, device=device)
        check_shape("status", status, (n,), "(path,)")
        _set(self, "status", status.to(torch.int8))
        if self.parents is not None:
            check_parents(self.parents, n, n_times)
        _set(self, "features", check_features(self.features, self.states))
        _set(self, "attrs", plain(self.attrs))

    @property
    def n_paths(self) -> int:
        """Number of paths."""
        return self.states.shape[0]

    @property
    def n_times(self) -> int:
        """Number of stored times."""
        return self.states.shape[1]

    @property
    def n_features(self) -> int:
        """Number of features; 1 for integer states."""
        if self.discrete:
            return 1
        return self.states.shape[2]

    @property
    def discrete(self) -> bool:
        """Whether the states are integers, those of a jump process."""
        return self.states.ndim == 2

    @property
    def weights(self) -> Tensor:
        """Weights ``(path, time)`` float64, of sum 1 at each time; NaN where all mass is gone."""
        return torch.softmax(population.log_weights(self), dim=0)

    @property
    def ess(self) -> Tensor:
        """Effective sample size ``(time,)``, ``1 / Σ w²`` of the normalised weights."""
        return 1 / self.weights.square().sum(dim=0)

    @property
    def log_mass(self) -> Tensor:
        """Logarithm of :attr:`mass` at each time ``(time,)``, whatever its size."""
        return population.log_mass(self)

    @property
    def mass(self) -> Tensor:
        """Mean of ``exp(log_weights)`` at each time ``(time,)``; ones if mass is conserved.

        Raises
        ------
        ValueError
            If it overflows float64; :attr:`log_mass` still works.
        """
        return population.mass(self)

    def at(self, t: float) -> Tensor:
        """Population at time ``t``.

        At a stored time these are the stored states. In between, continuous states are interpolated
        linearly along each path, so moments between sparse times are those of straight lines;
        integer states keep their value from the earlier time. Resampled rows are joined to their
        parents.

        Parameters
        ----------
        t : float
            Time in the unit of the data, within the range of ``times``.

        Returns
        -------
        Tensor, ``(path, feature)`` float or ``(path,)`` integer
            All paths, including diverged ones; ``weights_at(t)`` gives those zero weight.

        Raises
        ------
        ValueError
            If ``t`` is outside the simulated range.
        """
        return population.states_at(self, t)

    def weights_at(self, t: float) -> Tensor:
        """Weights ``(path,)`` of the population ``at(t)``, float64 and summing to 1.

        Between stored times log-weights are interpolated linearly along each path; rows that were
        resampled there start from the mean weight.

        Raises
        ------
        ValueError
            If ``t`` is outside the simulated range.
        """
        return torch.softmax(population.log_weights_at(self, t), dim=0)

    def mean(self) -> Tensor:
        """Weighted mean of the population at each time ``(time, feature)``.

        Raises
        ------
        TypeError
            If the states are integers: ``occupation`` is their summary.
        """
        return population.average(self, lambda k, x: x)

    def std(self) -> Tensor:
        """Weighted standard deviation at each time ``(time, feature)``, ``√Σ w (x − mean)²``.

        Raises
        ------
        TypeError
            If the states are integers: ``occupation`` is their summary.
        """
        # About the mean: the difference of squares would lose its digits far from zero.
        means = self.mean().double()
        return population.average(self, lambda k, x: (x - means[k]).square()).sqrt()

    def occupation(self, n_states: int | None = None) -> Tensor:
        """Weighted fraction of paths in each integer state ``(time, state)``, float64.

        Parameters
        ----------
        n_states : int, optional
            Number of states; by default one more than the largest seen.

        Raises
        ------
        TypeError
            If the states are continuous.
        """
        return population.occupation(self, n_states)

    def __len__(self) -> int:
        return self.n_paths

    def __getitem__(self, index: Index | tuple[Index, Index]) -> Trajectories:
        """Select paths, or paths and times, by number, slice, mask or array of numbers.

        Both dimensions are kept. After resampling, choosing paths chooses the ancestral lines that
        end there (see ``lineages``).
        """
        paths: Any = index
        times: Any = slice(None)
        if isinstance(index, tuple) and len(index) == 2:
            paths, times = index
        if self.parents is not None:
            return self._descent(paths, times)
        rows = indices(paths, self.n_paths, "path")
        columns = indices(times, self.n_times, "time")
        log_weights = self.log_weights
        if log_weights is not None:
            log_weights = log_weights[rows][:, columns]
        return replace(
            self,
            states=self.states[rows][:, columns],
            times=self.times[columns],
            log_weights=log_weights,
            origin=self.origin[rows],
            status=self.status[rows],
        )

    def resample(
        self, n_paths: int | None = None, time: float | None = None, seed: int = 0
    ) -> Trajectories:
        """Draw whole paths in proportion to their weights at one time (systematic resampling).

        The drawn paths have equal weights at ``time``; at other times their log-weights are
        relative to it, so that weighted averages, and the mass, still estimate the same population
        at every time.

        Parameters
        ----------
        n_paths : int, optional
            Number of paths to draw; by default as many as there are.
        time : float, optional
            Time in the unit of the data; by default the last stored time.
        seed : int
            Seed of the draw; the result does not depend on the device.

        Raises
        ------
        ValueError
            If no mass is left at ``time``, or if rows were already resampled and ``time`` is not
            the last.
        """
        if n_paths is None:
            n_paths = self.n_paths
        if time is None:
            time = float(self.times[-1])
        return ancestry.resampled(self, n_paths, time, seed)

    def lineages(self) -> Trajectories:
        """Follow ``parents`` back, so that every row is one coherent ancestral line.

        Each line carries, at all times, the weight of its end: the lines are the history of the
        final population. At earlier times they show the ancestors of the survivors, not the
        population of that time. Without resampling the trajectories themselves are returned.
        """
        if self.parents is None:
            return self
        return ancestry.lines(self, population.numbers(self))

    def founders(self) -> Tensor:
        """Row at the first time from which each row descends ``(path, time)``, int64."""
        if self.parents is None:
            return population.numbers(self)[:, None].expand(-1, self.n_times)
        return ancestry.founders(self.parents)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Trajectories:
        """Move to a device, or change the precision of continuous states.

        Log-weights and times stay float64. A path whose states overflow in a lower precision is NaN
        from there on, with status 1 and a warning.
        """
        return precision.moved(self, device, dtype)

    def to_anndata(self) -> AnnData:
        """Copy into an AnnData with one observation per path and time.

        ``X`` holds the states and ``var_names`` the features; ``obs`` has ``path``, ``time``,
        ``origin``, ``status``, and, where present, ``log_weight``, ``weight`` and ``parent``;
        ``uns["dyninfer_trajectories"]`` holds what else ``from_anndata`` needs, with the attributes
        as one JSON string.
        """
        return storage.to_anndata(self)

    @classmethod
    def from_anndata(cls, adata: AnnData) -> Trajectories:
        """Read what ``to_anndata`` made, or a subset of its paths, times or features.

        Raises
        ------
        KeyError
            If the AnnData holds no trajectories.
        ValueError
            If the paths no longer share their times.
        """
        return cls(**storage.fields_from_anndata(adata))

    def to_xarray(self) -> Dataset:
        """Copy into a Dataset with dimensions ``path``, ``time`` and ``feature``."""
        return storage.to_xarray(self)

    @classmethod
    def from_xarray(cls, data: Dataset) -> Trajectories:
        """Read what ``to_xarray`` made.

        Raises
        ------
        KeyError
            If the Dataset holds no trajectories.
        """
        return cls(**storage.fields_from_xarray(data))

    def to_snapshots(self) -> Snapshots:
        """The population at each stored time, ascending, without the identity of paths.

        Diverged paths are left out. If mass changes, the snapshots carry ``weights`` and
        ``masses``.

        Raises
        ------
        TypeError
            If the states are integers.
        """
        return storage.to_snapshots(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write to ``.h5ad`` (AnnData), ``.zarr``, ``.nc`` or ``.h5`` (xarray), all fields exactly.

        The file is replaced only once it is complete, so a failed save leaves the old file.

        Raises
        ------
        ValueError
            If the suffix is not a known format.
        FileNotFoundError
            If the folder does not exist.
        OSError
            If the file cannot be written.
        """
        trajectory_file.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Trajectories:
        """Read what ``save`` wrote, onto the CPU.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged, or ``save`` did not write it.
        """
        return trajectory_file.load(path, cls)

    def __repr__(self) -> str:
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)

    def _descent(self, paths: Index, times: Index) -> Trajectories:
        """Selection after resampling: whole lines where paths are chosen, rows where times are."""
        if isinstance(paths, slice) and paths == slice(None):
            selection = indices(times, self.n_times, "time")
            columns = np.arange(self.n_times)[selection]
            return ancestry.at_times(self, columns)
        rows = indices(paths, self.n_paths, "path")
        ends = population.numbers(self)[rows]
        lines = ancestry.lines(self, ends)
        return lines[:, times]


def _set(frozen: Trajectories, name: str, value: Any) -> None:
    object.__setattr__(frozen, name, value)
