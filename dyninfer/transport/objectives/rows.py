"""Pairs by row: the same cells at every time, as the flow of a fitted model leaves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.times import spelled
from dyninfer.data.trajectories import Trajectories
from dyninfer.transport.couplings import Coupling, Plan
from dyninfer.transport.couplings.plan import balanced, weighted


@dataclass(kw_only=True, repr=False, eq=False)
class SameRows(Coupling):
    """Rows of equal number are pairs: the samples are the same cells at every time.

    Parameters
    ----------
    grows : bool
        Whether the weights differ between times.
    """

    grows: bool = False

    @property
    def conserves_mass(self) -> bool:  # type: ignore[override]
        """Whether a growth rate is not to be learned."""
        return not self.grows

    def plan(self, x: ndarray, y: ndarray, a: ndarray, b: ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rows = np.arange(len(x))
        if self.grows:
            return weighted(rows, rows, a, b)
        return balanced(rows, rows, a)


def carried(observed: Snapshots, run: Trajectories, *, conditions: bool, grows: bool) -> Snapshots:
    """Snapshots of the paths of a run that began with all samples of its first time.

    Row i is path i at every time; paths that ended early are left out.
    """
    times = run.times.cpu().numpy()
    first = observed.index(times[0])
    alive = (run.status == 0).cpu().numpy()
    weights = observed.weights_at(times[0])[alive]
    weights = np.repeat(weights[:, None], len(times), 1)
    masses = None
    if run.log_weights is not None:
        # These hold the weights at the start already.
        weights = run.log_weights.exp().cpu().numpy()[alive]
    # Weights of cells alone are no masses: they stay as they were.
    if grows:
        masses = weights.mean(0)
    labels = None
    # A path keeps the condition that it starts under.
    if conditions and observed.conditions is not None:
        own_labels = observed.conditions[first][alive]
        labels = (own_labels,) * len(times)
    states = run.states.cpu().numpy()[alive]
    return Snapshots(
        times=times,
        samples=tuple(states.swapaxes(0, 1)),
        masses=masses,
        weights=tuple(weights.T),
        conditions=labels,
        features=observed.features,
    )


def check_standard_normal(data: Snapshots) -> None:
    """Raise a ValueError if the first snapshot is no standard normal sample."""
    first = data.samples[0].astype(np.float64)
    weights = data.weights_at(data.times[0])
    mean = weights @ first
    variance = weights @ (first - mean) ** 2
    std = np.sqrt(variance)
    largest_mean = np.abs(mean).max()
    least_std = std.min()
    largest_std = std.max()
    # Six standard errors of a mean of so many equal cells: with many features, the largest strays.
    effective_size = 1 / np.square(weights).sum()
    slack = 6 / np.sqrt(effective_size)
    if largest_mean > slack or np.abs(std - 1).max() > slack:
        first_time = spelled(data.times)[0]
        raise ValueError(
            f"a one-sided interpolant starts from a standard normal sample, but at time "
            f"{first_time} the means reach {largest_mean:.3g} and the standard deviations "
            f"lie in [{least_std:.3g}, {largest_std:.3g}]"
        )
