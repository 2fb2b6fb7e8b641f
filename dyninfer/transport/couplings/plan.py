"""What a coupling answers: pairs, as lists."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy import ndarray

# Log-weight that stands for no mass; finite, so that interpolating it stays finite.
NOTHING = -60.0


class Plan(NamedTuple):
    """Pairs of a coupling between two samples, as lists.

    The pairs, drawn by ``mass`` and weighted by ``exp(log_source)``, reproduce the first sample;
    weighted by ``exp(log_target)`` they reproduce the second. Both are zero where the coupling
    conserves mass.

    Mass that is destroyed in place is in a pair whose ``log_target`` is at most :data:`NOTHING`,
    and whose target is the sample nearest to the source, standing for none; mass that is created in
    place has such a ``log_source``.
    """

    source: ndarray  # (pairs,) row of the first sample
    target: ndarray  # (pairs,) row of the second sample
    mass: ndarray  # (pairs,) summing to one
    log_source: ndarray  # (pairs,)
    log_target: ndarray  # (pairs,)

    @property
    def destroyed(self) -> ndarray:
        """Whether the pair ``(pairs,)`` ends with no mass."""
        return self.log_target <= NOTHING / 2

    @property
    def created(self) -> ndarray:
        """Whether the pair ``(pairs,)`` begins with no mass."""
        return self.log_source <= NOTHING / 2


def balanced(source: ndarray, target: ndarray, mass: ndarray) -> Plan:
    """Return a plan that conserves mass."""
    zero = np.zeros(len(source))
    share = mass / mass.sum()
    return Plan(source, target, share, zero, zero)


def weighted(source: ndarray, target: ndarray, start: ndarray, end: ndarray) -> Plan:
    """Return a plan of pairs that carry mass ``start`` at one end and ``end`` at the other.

    Pairs are drawn by the mean of the two.
    """
    start = start / start.sum()
    end = end / end.sum()
    mass = 0.5 * (start + end)
    with np.errstate(divide="ignore"):
        log_source = np.log(start / mass)
        log_target = np.log(end / mass)
    log_source = np.maximum(log_source, NOTHING)
    log_target = np.maximum(log_target, NOTHING)
    # Weights that differ by their rounding alone are none.
    sizes = np.abs([log_source, log_target])
    if sizes.max() < 1e-9:
        return balanced(source, target, mass)
    return Plan(source, target, mass, log_source, log_target)
