"""Snapshots: unpaired samples of a population at several times."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dyninfer.data import keys
from dyninfer.data.times import Clock, as_times

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False, repr=False)
class Snapshots:
    """Unpaired samples of a population at ``K`` times, in the user's units.

    Parameters
    ----------
    times : sequence of K numbers
        Times of the snapshots; unequal gaps stay unequal. Sorted on construction.
    samples : sequence of K arrays ``(n_k, feature)``
        The samples: float64 stays, everything else becomes float32. Values are checked for NaN when they are used
        (:meth:`check_finite`), so that a snapshot which is held out is never looked at.
    masses : sequence of K numbers, optional
        Total mass (for example, number of cells in the culture) at each time; positive, in any unit.
    weights : sequence of K arrays ``(n_k,)``, optional
        Weight of every sample within its time; non-negative. Uniform if absent.
    conditions : sequence of K arrays ``(n_k,)``, optional
        Label of every sample (donor, dose, perturbation).
    features : sequence of str, optional
        Names of the features.
    names : sequence of K arrays of str, optional
        Name of every sample (the ``obs_names`` of an AnnData).

    Examples
    --------
    >>> import numpy as np
    >>> from dyninfer import Snapshots
    >>> Snapshots(times=[0, 1, 4], samples=[np.zeros((5, 2)), np.ones((7, 2)), np.ones((6, 2))])
    Snapshots: 3 times, 18 samples x 2 features
        time 0: 5
        time 1: 7
        time 4: 6
    """

    times: np.ndarray
    samples: tuple[np.ndarray, ...]
    masses: np.ndarray | None = None
    weights: tuple[np.ndarray, ...] | None = None
    conditions: tuple[np.ndarray, ...] | None = None
    features: tuple[str, ...] = ()
    names: tuple[np.ndarray, ...] | None = None
    source: dict[str, str] = field(default_factory=dict)  # the keys these snapshots were read by

    def __post_init__(self) -> None:
        times, given = as_times(self.times), list(self.samples)
        if len(times) != len(given):
            raise ValueError(
                f"times has {len(times)} entries but samples has {len(given)}; give one sample per time"
            )
        if len(times) < 2:
            raise ValueError(f"snapshots need at least two times, found {times.tolist()}")
        if len(Clock.of(times)) < len(times):
            raise ValueError(
                f"times must differ, found {times.tolist()}; join the samples of equal times into one array"
            )
        samples = [_as_sample(s, t) for s, t in zip(given, times, strict=True)]
        widths = {s.shape[1] for s in samples}
        if len(widths) > 1:
            raise ValueError(
                f"samples differ in their number of features: {sorted(widths)}; give the same features at all times"
            )
        order = np.argsort(times)
        self._set("times", times[order])
        self._set("samples", tuple(samples[i] for i in order))
        self._set("masses", _as_masses(self.masses, len(times), order))
        self._set("weights", self._per_sample("weights", order))
        self._set("conditions", self._per_sample("conditions", order))
        self._set("names", self._per_sample("names", order))
        features = tuple(map(str, self.features)) or tuple(f"x{i}" for i in range(self.n_features))
        if len(features) != self.n_features:
            raise ValueError(
                f"features names {len(features)} features but the samples have {self.n_features}"
            )
        self._set("features", features)

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
        hold_out: float | Iterable[float] | None = None,
    ) -> Snapshots:
        """Read snapshots from an AnnData; nothing of it is changed.

        Parameters
        ----------
        adata : AnnData
            May be backed: where ``use_rep`` is in ``obsm``, ``X`` is not read.
        time_key : str
            Column of ``obs`` with the times: numbers, numeric strings or categories, or timedeltas (become days).
        use_rep : str, optional
            Key of ``obsm`` or "X"; by default ``obsm["X_pca"]`` if present, else ``X``.
        mass_key : str, optional
            Column of ``obs`` with the total mass at the time of each cell (one value per time).
        weight_key, condition_key : str, optional
            Columns of ``obs`` with a weight and a label for every cell.
        hold_out : float or list of floats, optional
            Times whose cells are left out before anything else is read.

        Raises
        ------
        KeyError
            If a key is missing; the message suggests the one that was meant.
        ValueError
            If times are text or missing, or fewer than two times remain.
        """
        column = as_times(keys.obs_column(adata, time_key, "time_key"), str(time_key))
        array, features, rep = keys.representation(adata, use_rep)
        clock = Clock.of(column)
        times = _without(clock.times, hold_out, str(time_key))
        if len(times) < 2:
            raise ValueError(
                f"need at least two times in adata.obs[{time_key!r}], found {times.tolist()}"
            )
        rows = [clock.rows(column, t) for t in times]
        samples = [keys.dense_rows(array, r, rep) for r in rows]
        if rep == "X":
            keys.warn_if_counts(samples[0], "adata.X")
        obs_names = np.asarray(adata.obs_names, dtype=object)
        return cls(
            times=times,
            samples=tuple(samples),
            masses=None if mass_key is None else _masses_of(adata, mass_key, rows, times),
            weights=None
            if weight_key is None
            else _column_by_time(adata, weight_key, "weight_key", rows, float),
            conditions=None
            if condition_key is None
            else _column_by_time(adata, condition_key, "condition_key", rows, str),
            features=features,
            names=tuple(obs_names[r] for r in rows),
            source={
                name: value
                for name, value in {
                    "time_key": time_key,
                    "use_rep": rep,
                    "mass_key": mass_key,
                    "weight_key": weight_key,
                    "condition_key": condition_key,
                }.items()
                if value is not None
            },
        )

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
        """Position of ``time`` among the times; a ValueError lists the times there are."""
        return _index(Clock(self.times), time)

    def at(self, time: float) -> np.ndarray:
        """Samples ``(n, feature)`` at one of the times."""
        return self.samples[self.index(time)]

    def weights_at(self, time: float) -> np.ndarray:
        """Weights ``(n,)`` at one of the times, summing to one."""
        k = self.index(time)
        if self.weights is None:
            return np.full(len(self.samples[k]), 1.0 / len(self.samples[k]))
        return self.weights[k] / self.weights[k].sum()

    def without(self, times: float | Iterable[float] | None) -> Snapshots:
        """Leave times out; what remains never depended on them."""
        kept = _without(self.times, times, "times")
        if len(kept) < 2:
            raise ValueError(f"hold_out leaves {kept.tolist()}; at least two times must remain")
        return self._take([(self.index(t), slice(None)) for t in kept])

    def split(self, fraction: float, seed: int = 0, least: int = 2) -> tuple[Snapshots, Snapshots]:
        """Split every snapshot at random into ``(1 − fraction, fraction)``; neither gets fewer than ``least`` samples if it can be."""
        rng = np.random.default_rng(seed)
        first, second = [], []
        for k, size in enumerate(self.sizes):
            counts = np.full(size, True) if self.weights is None else self.weights[k] > 0
            order, n = rng.permutation(np.flatnonzero(counts)), int(counts.sum())
            cut = min(max(round(n * fraction), least), n - least)
            if cut < 1:
                raise ValueError(
                    f"time {self.times[k]:g} has {n} samples{'' if counts.all() else ' of positive weight'}, too few to split; give more or set validation_fraction=0"
                )
            first.append((k, np.sort(np.concatenate([order[cut:], np.flatnonzero(~counts)]))))
            second.append((k, np.sort(order[:cut])))
        return self._take(first), self._take(second)

    def subsample(self, n: int, seed: int = 0) -> Snapshots:
        """At most ``n`` samples per time, drawn without replacement."""
        rng = np.random.default_rng(seed)
        return self._take(
            [(k, np.sort(rng.permutation(size)[:n])) for k, size in enumerate(self.sizes)]
        )

    def check_finite(self) -> Snapshots:
        """Return self, or raise a ValueError naming the first sample that is NaN or infinite."""
        for k, t in enumerate(self.times):
            where = f"{self.source.get('use_rep', 'samples')} at time {t:g}"
            keys.finite_or_raise(
                self.samples[k], where, None if self.names is None else self.names[k]
            )
        return self

    def digest(self) -> str:
        """Fingerprint of times, samples, masses, weights and conditions."""
        found = hashlib.sha256()
        labels = (
            None
            if self.conditions is None
            else [np.asarray(c).astype(str) for c in self.conditions]
        )
        for arrays in ([self.times], self.samples, [self.masses], self.weights, labels):
            for array in arrays or [None]:
                found.update(
                    repr(None if array is None else (array.shape, array.dtype.str)).encode()
                )
                found.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    def to_anndata(self) -> AnnData:
        """One cell per row, times in ``obs["time"]``; weights, masses and conditions beside them."""
        from anndata import AnnData

        sizes = self.sizes
        obs = pd.DataFrame({"time": np.repeat(self.times, sizes)})
        for name, column in (("weight", self.weights), ("condition", self.conditions)):
            if column is not None:
                obs[name] = np.concatenate(column)
        if self.masses is not None:
            obs["mass"] = np.repeat(self.masses, sizes)
        obs.index = (
            np.concatenate(self.names).astype(str)
            if self.names is not None
            else obs.index.astype(str)
        )
        return AnnData(
            X=np.concatenate(self.samples), obs=obs, var=pd.DataFrame(index=list(self.features))
        )

    def _take(self, picks: Sequence[tuple[int, Any]]) -> Snapshots:
        def pick(values: Sequence[np.ndarray] | None) -> tuple[np.ndarray, ...] | None:
            return None if values is None else tuple(values[k][rows] for k, rows in picks)

        index = [k for k, _ in picks]
        return replace(
            self,
            times=self.times[index],
            samples=tuple(self.samples[k][rows] for k, rows in picks),
            masses=None if self.masses is None else self.masses[index],
            weights=pick(self.weights),
            conditions=pick(self.conditions),
            names=pick(self.names),
        )

    def _per_sample(self, name: str, order: np.ndarray) -> tuple[np.ndarray, ...] | None:
        values = getattr(self, name)
        if values is None:
            return None
        if len(values) != len(order):
            raise ValueError(f"{name} has {len(values)} entries but there are {len(order)} times")
        kind = np.float64 if name == "weights" else None
        values = [
            _as_array(values[i], f"{name} at time {t:g}", kind)
            for i, t in zip(order, self.times, strict=True)
        ]
        for k, v in enumerate(values):
            if v.shape != (len(self.samples[k]),):
                raise ValueError(
                    f"{name} at time {self.times[k]:g} has shape {v.shape} but there are {len(self.samples[k])} samples"
                )
            if name == "weights" and (not np.isfinite(v).all() or (v < 0).any() or v.sum() <= 0):
                raise ValueError(
                    f"weights at time {self.times[k]:g} must be finite, non-negative and not all zero"
                )
        return tuple(values)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        lines = [
            f"Snapshots: {self.n_times} times, {sum(self.sizes)} samples x {self.n_features} features"
        ]
        for k, (t, n) in enumerate(zip(self.times, self.sizes, strict=True)):
            lines.append(
                f"    time {t:g}: {n}"
                + ("" if self.masses is None else f", mass {self.masses[k]:g}")
            )
        extras = [
            f.name
            for f in fields(self)
            if f.name in ("weights", "conditions") and getattr(self, f.name) is not None
        ]
        return "\n".join(lines + ([f"    with {' and '.join(extras)}"] if extras else []))


def cells_at(
    adata: AnnData, source: dict[str, str], time: float, spacing: float | None = None
) -> tuple[np.ndarray, tuple[str, ...], np.ndarray]:
    """States ``(n, feature)``, names of features, and names of the cells of one time; no other time need be there.

    ``source`` holds the keys, as in :attr:`Snapshots.source`; ``spacing`` is the shortest gap between the times of the
    data, which a single time does not show.
    """
    key = source["time_key"]
    column = as_times(keys.obs_column(adata, key, "time_key"), key)
    array, features, rep = keys.representation(adata, source.get("use_rep"))
    if len(column) == 0:
        raise ValueError("the AnnData has no cells to start from")
    clock = Clock.of(column, spacing=spacing)
    _index(clock, time)
    rows = clock.rows(column, time)
    return (
        keys.dense_rows(array, rows, rep),
        features,
        np.asarray(adata.obs_names, dtype=object)[rows],
    )


def _as_sample(sample: Any, time: float) -> np.ndarray:
    x = sample.detach().cpu().numpy() if hasattr(sample, "detach") else sample
    x = x.toarray() if hasattr(x, "toarray") else _as_array(x, f"the sample at time {time:g}")
    if x.ndim != 2 or x.shape[1] == 0:
        raise ValueError(
            f"the sample at time {time:g} has shape {x.shape}; it must be (samples, features)"
        )
    if len(x) == 0:
        raise ValueError(f"the sample at time {time:g} is empty; leave that time out")
    return keys.dense_rows(x, np.arange(len(x)), f"the sample at time {time:g}")


def _as_array(values: Any, name: str, kind: Any = None) -> np.ndarray:
    try:
        return np.asarray(values, dtype=kind)
    except (TypeError, ValueError):
        expected = "a rectangular array" if kind is None else "numbers"
        raise ValueError(f"{name} must be {expected}, found {str(values)[:60]}") from None


def _as_masses(masses: Any, n: int, order: np.ndarray) -> np.ndarray | None:
    if masses is None:
        return None
    masses = _as_array(masses, "masses", np.float64)
    if masses.shape != (n,):
        raise ValueError(
            f"masses has shape {masses.shape}; give one mass for each of the {n} times"
        )
    if not np.isfinite(masses).all() or (masses <= 0).any():
        raise ValueError(f"masses must be positive and finite, found {masses.tolist()}")
    return masses[order]


def _masses_of(adata: AnnData, key: str, rows: list[np.ndarray], times: np.ndarray) -> np.ndarray:
    column = _column_by_time(adata, key, "mass_key", rows, float)
    for values, t in zip(column, times, strict=True):
        if not np.allclose(values, values[0], equal_nan=True):
            raise ValueError(
                f"mass_key {key!r} has several values at time {t:g} ({values.min():g} to {values.max():g}); give one per time"
            )
    return np.array([values[0] for values in column])


def _column_by_time(
    adata: AnnData, key: str, role: str, rows: list[np.ndarray], kind: type
) -> tuple[np.ndarray, ...]:
    column = keys.obs_column(adata, key, role)
    parts = [column.iloc[r] for r in rows]  # only these: what is held out may hold anything
    if kind is str:
        return tuple(np.asarray(part.astype(str)) for part in parts)
    numbers = [pd.to_numeric(part.astype(object), errors="coerce") for part in parts]
    for part, number in zip(parts, numbers, strict=True):
        text = part[number.isna() & part.notna()]
        if len(text):
            raise ValueError(f"{role} {key!r} must hold numbers, found {text.iloc[0]!r}")
    return tuple(number.to_numpy(dtype=np.float64) for number in numbers)


def _index(clock: Clock, time: float) -> int:
    k = clock.nearest(time)
    if k is None:
        raise ValueError(f"no snapshot at time {time:g}; the times are {clock}")
    return k


def _without(times: np.ndarray, hold_out: float | Iterable[float] | None, key: str) -> np.ndarray:
    if hold_out is None:
        return times
    clock = Clock(times)
    left_out = [_index(clock, t) for t in as_times(hold_out, f"hold_out ({key})")]
    return np.delete(times, left_out)
