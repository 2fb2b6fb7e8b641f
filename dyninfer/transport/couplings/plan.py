"""What a coupling answers: pairs, as lists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NOTHING = -60.0  # log-weight that stands for no mass; finite, so that interpolating it stays finite


class Plan(NamedTuple):
    """Pairs of a coupling between two samples, as lists.

    The pairs, drawn by ``mass`` and weighted by ``exp(log_source)``, reproduce the first sample; weighted by
    ``exp(log_target)`` they reproduce the second. Both are zero where the coupling conserves mass.

    Mass that is destroyed in place is in a pair whose ``log_target`` is at most :data:`NOTHING`, and whose target is the sample
    nearest to the source, standing for none; mass that is created in place has such a ``log_source``.
    """

    source: np.ndarray  # (pairs,) row of the first sample
    target: np.ndarray  # (pairs,) row of the second sample
    mass: np.ndarray  # (pairs,) summing to one
    log_source: np.ndarray  # (pairs,)
    log_target: np.ndarray  # (pairs,)

    @property
    def destroyed(self) -> np.ndarray:
        """Whether the pair ``(pairs,)`` ends with no mass."""
        return self.log_target <= NOTHING / 2

    @property
    def created(self) -> np.ndarray:
        """Whether the pair ``(pairs,)`` begins with no mass."""
        return self.log_source <= NOTHING / 2


def balanced(source: np.ndarray, target: np.ndarray, mass: np.ndarray) -> Plan:
    """Plan that conserves mass."""
    zero = np.zeros(len(source))
    return Plan(source, target, mass / mass.sum(), zero, zero)


def weighted(source: np.ndarray, target: np.ndarray, start: np.ndarray, end: np.ndarray) -> Plan:
    """Plan of pairs that carry mass ``start`` of the first sample and ``end`` of the second; drawn by the mean of the two."""
    start, end = start / start.sum(), end / end.sum()
    mass = 0.5 * (start + end)
    with np.errstate(divide="ignore"):
        logs = [np.maximum(np.log(part / mass), NOTHING) for part in (start, end)]
    if max(np.abs(v).max() for v in logs) < 1e-9:
        return balanced(source, target, mass)
    return Plan(source, target, mass, *logs)
