"""The data sets of the leave-one-time-out benchmark, in the coordinates of the published protocol.

Five PCs are z-scored. Anything else is centred and divided by one number, the largest standard deviation of a feature, and
distances are given in the units of the file again. Both use all cells of the file, the held-out ones too, as every paper of this
line does; nothing else sees them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

import dyninfer as di


class Source(NamedTuple):
    """Where a data set keeps its cells and times."""

    time_key: str
    use_rep: str
    features: tuple[int, ...]  # the first is the default
    per_time_unit: float = 1.0  # stored times are divided by this for the model: hours become days
    grows: bool = False  # numbers of cells are masses, as in the published use of the data


SOURCES = {
    "cite_hspc": Source("day", "X_pca", (5, 50, 100)),
    "embryoid_body": Source("time", "X_pca", (5, 50)),
    "emt_a549": Source("time", "X_latent", (10,), per_time_unit=24.0, grows=True),
    "mesc_retinoic_acid": Source("time", "X_pca", (5, 10), per_time_unit=24.0),
    "weinreb_hematopoiesis": Source("day", "X_spring", (2,), grows=True),
}


# Cells at each of the times 0, 1, 2 and 3 of a simulated set.
SIMULATED_CELLS = 500


def gaussian_drift(seed: int = 0) -> di.Snapshots:
    """Nobody is born or dies: a normal population moves by its standard deviation in every time."""
    rng = np.random.default_rng(seed)
    samples = [rng.normal(size=(SIMULATED_CELLS, 5)) + [time, 0, 0, 0, 0] for time in range(4)]
    return di.Snapshots(times=np.arange(4.0), samples=samples)


def branching(seed: int = 0) -> di.Snapshots:
    """Cells of a valley that splits, and of which the upper branch grows faster."""
    cells = di.simulators.BranchingPopulation(dimension=5).snapshots(range(4), 500, seed=seed)
    return cells.subsample(SIMULATED_CELLS, seed=seed)


def branching_drift(seed: int = 0) -> di.Snapshots:
    """The same valley, where nobody is born or dies."""
    still = {"birth_upper": 0.0, "birth_lower": 0.0, "death_upper": 0.0, "death_lower": 0.0}
    simulator = di.simulators.BranchingPopulation(dimension=5, **still)
    return simulator.snapshots(range(4), SIMULATED_CELLS, seed=seed)


SIMULATED = {
    "gaussian_drift": gaussian_drift,
    "branching": branching,
    "branching_drift": branching_drift,
}


@dataclass(frozen=True, eq=False)
class Problem:
    """Snapshots to leave times out of; ``data`` is scaled and keeps the stored times."""

    data: di.Snapshots
    unit: float  # distances times this are reported
    masses: np.ndarray | None = None
    per_time_unit: float = 1.0

    @property
    def inner_times(self) -> tuple[float, ...]:
        """Times that may be held out: all but the first and the last."""
        return tuple(float(t) for t in self.data.times[1:-1])

    def shown(self, by_index: bool, with_masses: bool) -> di.Snapshots:
        """Snapshots as a model gets them, in model time; what is hidden is still in them."""
        return di.Snapshots(
            times=self.model_times(by_index),
            samples=self.data.samples,
            masses=self.masses if with_masses else None,
        )

    def model_times(self, by_index: bool) -> np.ndarray:
        """Times ``(K,)`` for the model: 0, 1, 2, … as the papers have it, or the real ones."""
        return (
            np.arange(float(self.data.n_times))
            if by_index
            else self.data.times / self.per_time_unit
        )

    def around(self, hidden: tuple[float, ...], time: float) -> tuple[int, int, int]:
        """Positions of the nearest kept time before ``time``, of ``time`` itself, and of the nearest kept time after it."""
        out, k = {self.data.index(t) for t in hidden}, self.data.index(time)
        before = max(i for i in range(k) if i not in out)
        after = min(i for i in range(k + 1, self.data.n_times) if i not in out)
        return before, k, after

    def mass_ratio(self, begin: int, end: int) -> float | None:
        """Observed mass at one time over that at another; None where nothing grows."""
        return None if self.masses is None else float(self.masses[end] / self.masses[begin])

    def w1(self, points: np.ndarray, k: int, weights: np.ndarray | None = None) -> float:
        """Exact W1 between weighted points and all cells of time ``k``, in the units that are reported."""
        return self.unit * di.metrics.wasserstein(
            points, self.data.samples[k], p=1, x_weights=weights
        )


@lru_cache(maxsize=1)
def load(name: str, n_features: int | None = None, cells: int | None = None) -> Problem:
    """Read or simulate a data set; ``cells`` keeps so many per time, for trying things out."""
    if name in SIMULATED:
        data = replace(SIMULATED[name](), masses=None)
        return Problem(data if cells is None else data.subsample(cells), unit=1.0)
    source = SOURCES[name]
    # The hundredth component is in a file of its own.
    sizes = {"n_components": 100} if name == "cite_hspc" and n_features == 100 else {}
    adata = getattr(di.datasets, name)(**sizes)
    x = np.asarray(adata.obsm[source.use_rep])[:, : n_features or source.features[0]].astype(
        np.float64
    )
    times = np.asarray(adata.obs[source.time_key], dtype=float)
    scaled, unit = standardised(x, z_score=x.shape[1] == 5 and source.use_rep == "X_pca")
    data = di.Snapshots(
        times=np.unique(times), samples=[scaled[times == t] for t in np.unique(times)]
    )
    masses = np.asarray(data.sizes, dtype=float) if source.grows else None
    return Problem(
        data if cells is None else data.subsample(cells),
        unit,
        masses,
        per_time_unit=source.per_time_unit,
    )


def standardised(x: np.ndarray, z_score: bool) -> tuple[np.ndarray, float]:
    """Centre ``x (n, d)`` and divide by the standard deviations, or by the largest; return it and the unit of distances."""
    deviation = x.std(0)
    if z_score:
        return (x - x.mean(0)) / deviation, 1.0
    return (x - x.mean(0)) / deviation.max(), float(deviation.max())


def hidden_times(
    inner_times: tuple[float, ...], inner: bool
) -> dict[tuple[float, ...], list[tuple[float, float]]]:
    """Which times a fit does not see, and what it is scored for: pairs ``(held, scored)``.

    Outside, every inner time is held out and scored. Inside (``inner``), hyper-parameters for a held-out time are judged by another
    time that is left out as well: with two times out, either judges for the other, and one fit serves both.
    """
    if not inner:
        return {(t,): [(t, t)] for t in inner_times}
    return {(a, b): [(a, b), (b, a)] for a, b in combinations(inner_times, 2)}
