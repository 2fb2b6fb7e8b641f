"""Snapshots: unpaired samples of a population at several times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from dyninfer.data import display
from dyninfer.data.arrays import as_list
from dyninfer.data.representation import check_finite
from dyninfer.data.snapshots import checks, reading
from dyninfer.data.snapshots.description import description
from dyninfer.data.times import Clock
from dyninfer.data.words import as_text, counted
from dyninfer.learning.random import numpy_stream
from dyninfer.learning.settings import brief, check_count
from dyninfer.learning.slabs import slabs

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False, repr=False)
class Snapshots:
    """Unpaired samples of a population at ``K`` times, in any units.

    Parameters
    ----------
    times : sequence of K numbers
        Times of the snapshots; unequal gaps stay unequal. Sorted on construction.
    samples : sequence of K arrays or DataFrames ``(n_k, feature)``
        The samples: float64 and whole numbers beyond 2²⁴ keep their precision; the rest becomes
        float32. Columns of DataFrames are matched by name. Masked entries, None and NA become NaN.
        Values are checked for NaN only when used (:meth:`check_finite`), so a held-out snapshot is
        never inspected.
    masses : sequence of K numbers, optional
        Total mass (for example, number of cells in the culture) at each time; positive, in any
        unit.
    weights : sequence of K arrays ``(n_k,)``, optional
        Weight of every sample within its time; non-negative. Uniform if absent. With masses, the
        share of weight of a condition is its share of the mass.
    conditions : sequence of K arrays ``(n_k,)``, optional
        Label of every sample (donor, dose, perturbation). Numbers are amounts, such as doses;
        categories and text are names. No label may be missing.
    growth : sequence of K arrays ``(n_k,)``, optional
        Expected log-growth of every sample per unit of time, birth minus death: a prior for
        couplings that tell growth from motion.
    features : sequence of str, optional
        Unique names of the features; by default those of the columns of DataFrames, or ``x0, x1,
        ...``.
    names : sequence of K arrays of str, optional
        Name of every sample (the ``obs_names`` of an AnnData).

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer import Snapshots
    >>> Snapshots(times=[0, 1, 4], samples=[np.zeros((5, 2)), np.ones((7, 2)), np.ones((6, 2))])
    Snapshots: 3 times, 18 samples x 2 features
        time 0  5
        time 1  7
        time 4  6
    """

    times: ndarray
    samples: tuple[ndarray, ...]
    masses: ndarray | None = None
    weights: tuple[ndarray, ...] | None = None
    conditions: tuple[ndarray, ...] | None = None
    growth: tuple[ndarray, ...] | None = None
    features: tuple[str, ...] = ()
    names: tuple[ndarray, ...] | None = None
    source: dict[str, str] = field(default_factory=dict)  # the keys these snapshots were read by

    def __post_init__(self) -> None:
        arrays = as_list(self.samples, "samples", "one array per time")
        n_times = len(arrays)
        times = checks.check_times(self.times, n_times)
        samples, features = checks.as_samples(arrays, times, self.features)
        columns = {
            "samples": samples,
            "weights": checks.as_weights(self.weights, samples, times),
            "conditions": checks.as_conditions(self.conditions, samples, times),
            "growth": checks.as_growth(self.growth, samples, times),
            "names": checks.as_names(self.names, samples, times),
        }
        masses = checks.as_masses(self.masses, times)
        order = np.argsort(times)
        for name, values in columns.items():
            if values is not None:
                values = tuple(values[i] for i in order)
            self._set(name, values)
        self._set("times", times[order])
        self._set("features", features)
        if masses is not None:
            self._set("masses", masses[order])

    @classmethod
    def from_anndata(
        cls,
        adata: AnnData,
        *,
        time_key: str | None,
        use_rep: str | None = None,
        mass_key: str | None = None,
        weight_key: str | None = None,
        condition_key: str | None = None,
        growth_key: str | None = None,
        hold_out: float | Iterable[float] | None = None,
    ) -> Snapshots:
        """Read snapshots from an AnnData, which is not changed.

        Parameters
        ----------
        adata : AnnData
            May be backed: if ``use_rep`` is in ``obsm``, ``X`` is not read. If a file holds more
            than 1 GB of floats (a backed ``X``, or a dask or zarr array), a plain copy is made in
            the temporary folder. Its rows are read when needed.
        time_key : str
            Column of ``obs`` with the times: numbers, numeric strings or categories, or timedeltas
            (read as days).
        use_rep : str, optional
            Key of ``obsm``, a layer, or "X"; by default ``obsm["X_pca"]`` if present, else ``X``.
        mass_key : str, optional
            Column of ``obs`` with the total mass at the time of each cell (one value per time).
        weight_key, condition_key : str, optional
            Columns of ``obs`` with a weight and a label for every cell. Numbers are amounts, such
            as doses; categories are names, whatever they look like.
        growth_key : str, optional
            Column of ``obs`` with the expected log-growth of every cell per unit of time, such as
            from :func:`dyninfer.tools.score_growth`.
        hold_out : float or list of floats, optional
            Times whose cells are left out before anything else is read.

        Raises
        ------
        KeyError
            If a key is missing; the message suggests the one that was meant.
        ValueError
            If times are text or missing, a label is missing, or fewer than two times remain.
        """
        columns = {
            "mass_key": mass_key,
            "weight_key": weight_key,
            "condition_key": condition_key,
            "growth_key": growth_key,
        }
        fields = reading.fields_from_anndata(adata, time_key, use_rep, columns, hold_out)
        return cls(**fields)

    @property
    def n_times(self) -> int:
        """Number of snapshots."""
        return len(self.times)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.samples[0].shape[1]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of samples at each time."""
        return tuple(len(s) for s in self.samples)

    def index(self, time: float) -> int:
        """Position of ``time`` among the times; a ValueError lists the available times."""
        return reading.position(Clock(self.times), time)

    def at(self, time: float) -> ndarray:
        """Samples ``(n, feature)`` at one of the times."""
        # Those of a large file are read only now.
        return np.asarray(self.samples[self.index(time)])

    def weights_at(self, time: float) -> ndarray:
        """Weights ``(n,)`` at one of the times, summing to one."""
        k = self.index(time)
        if self.weights is None:
            n = self.sizes[k]
            return np.full(n, 1 / n)
        weights = self.weights[k]
        return weights / weights.sum()

    def without(self, times: float | Iterable[float] | None) -> Snapshots:
        """Leave out times; the remaining snapshots do not depend on them."""
        remaining = reading.times_without(self.times, times, "hold_out")
        if len(remaining) < 2:
            raise ValueError(
                f"hold_out leaves {remaining.tolist()}; at least two times must remain"
            )
        picks = [(self.index(t), None) for t in remaining]
        return self._take(picks)

    def split(self, fraction: float, seed: int = 0, least: int = 2) -> tuple[Snapshots, Snapshots]:
        """Split every snapshot at random into ``(1 − fraction, fraction)``.

        Each part gets at least ``least`` samples of positive weight, if there are enough.
        """
        check_count(least, "least")
        if not isinstance(fraction, float | int) or not 0 <= fraction <= 1:
            raise ValueError(f"fraction must lie between 0 and 1, found {brief(fraction)}")
        rng = numpy_stream(seed, "snapshots", "split")
        first = []
        second = []
        for k in range(self.n_times):
            rest, part = self._split_rows(k, fraction, least, rng)
            first.append((k, rest))
            second.append((k, part))
        return self._take(first), self._take(second)

    def _split_rows(
        self, k: int, fraction: float, least: int, rng: np.random.Generator
    ) -> tuple[ndarray, ndarray]:
        """Rows of one time in two parts; those without weight go to the first."""
        counts = np.full(self.sizes[k], True)
        if self.weights is not None:
            counts = self.weights[k] > 0
        rows = np.flatnonzero(counts)
        # Validation on samples without weight would measure nothing.
        weightless = np.flatnonzero(~counts)
        n = len(rows)
        n_part = round(n * fraction)
        # Both parts are distributions: two samples, at least, have a spread.
        n_part = min(max(n_part, least), n - least)
        if n_part < 1:
            of_weight = " of positive weight" if len(weightless) else ""
            raise ValueError(
                f"time {as_text(self.times[k])} has {counted(n, 'sample')}{of_weight}, too "
                "few to split; "
                "give more or set validation_fraction=0"
            )
        order = rng.permutation(rows)
        part = order[:n_part]
        rest = np.append(order[n_part:], weightless)
        return np.sort(rest), np.sort(part)

    def subsample(self, n: int, seed: int = 0) -> Snapshots:
        """At most ``n`` samples per time, drawn without replacement."""
        check_count(n, "n")
        rng = numpy_stream(seed, "snapshots", "subsample")
        picks = []
        for k, size in enumerate(self.sizes):
            rows = rng.permutation(size)[:n]
            picks.append((k, np.sort(rows)))
        return self._take(picks)

    def check_finite(self) -> Snapshots:
        """Return self, or raise a ValueError naming the first sample that is NaN or infinite."""
        rep = self.source.get("use_rep", "samples")
        names = self.names or [None] * self.n_times
        for k, t in enumerate(self.times):
            where = f"{rep} at time {as_text(t)}"
            check_finite(self.samples[k], where, names[k])
        return self

    def digest(self) -> str:
        """Fingerprint of times, samples, masses, weights, conditions and growth."""
        fingerprint = hashlib.sha256()
        conditions = None
        if self.conditions is not None:
            conditions = [labels.astype(str) for labels in self.conditions]
        masses = None if self.masses is None else [self.masses]
        fields = [[self.times], self.samples, masses, self.weights, conditions]
        # Only where there is one: data without keep the fingerprint that files hold.
        if self.growth is not None:
            fields.append(self.growth)
        # What is absent counts too: no weights are not weights of the shape of the next field.
        for arrays in fields:
            if arrays is None:
                fingerprint.update(b"None")
                continue
            for array in arrays:
                layout = (array.shape, array.dtype.str)
                kind = repr(layout)
                fingerprint.update(kind.encode())
                for slab in slabs(len(array)):
                    fingerprint.update(array[slab].tobytes())
        return fingerprint.hexdigest()

    def to_anndata(self) -> AnnData:
        """One cell per row; ``obs`` holds the times and any weights, masses and conditions."""
        return reading.to_anndata(self)

    def _take(self, picks: Sequence[tuple[int, Any]]) -> Snapshots:
        """Some rows of some times: pairs of the number of a time and what selects its rows.

        None selects all: those of a large file are not read.
        """
        columns: dict[str, Any] = {}
        for name in ("samples", "weights", "conditions", "growth", "names"):
            values = getattr(self, name)
            if values is None:
                continue
            selected = []
            for k, rows in picks:
                own = values[k]
                if rows is not None:
                    own = own[rows]
                selected.append(own)
            columns[name] = tuple(selected)
        numbers = [k for k, _ in picks]
        if self.masses is not None:
            columns["masses"] = self.masses[numbers]
        times = self.times[numbers]
        return replace(self, times=times, **columns)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        return display.block(*description(self))

    def _repr_html_(self) -> str:
        return display.table(*description(self))
