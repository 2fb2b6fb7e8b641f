"""Pairs by row: the same cells at every time, as the flow of a fitted model leaves them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyninfer.data.snapshots import Snapshots
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

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rows = np.arange(len(x))
        return weighted(rows, rows, a, b) if self.grows else balanced(rows, rows, a)


def carried(observed: Snapshots, run: Trajectories, *, conditions: bool) -> Snapshots:
    """Snapshots of the paths of a run that began with all samples of its first time; row i is path i at every time."""
    times = run.times.cpu().numpy()
    first, alive = observed.index(times[0]), (run.status == 0).cpu().numpy()
    mass = np.repeat(observed.weights_at(times[0])[alive, None], len(times), 1)
    if run.log_weights is not None:
        mass = mass * run.log_weights.exp().cpu().numpy()[alive]
    labels = (
        observed.conditions[first][alive]
        if conditions and observed.conditions is not None
        else None
    )
    return Snapshots(
        times=times,
        samples=tuple(run.states.cpu().numpy()[alive].swapaxes(0, 1)),
        weights=tuple(mass.T),
        conditions=None if labels is None else (labels,) * len(times),
        features=observed.features,
    )
