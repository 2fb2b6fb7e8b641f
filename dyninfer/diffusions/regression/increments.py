"""Increments of paths between neighbouring observations, in scaled units."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
import torch
from numpy import ndarray

from dyninfer.data.paths import Paths
from dyninfer.data.times import NEAR
from dyninfer.diffusions.regression.libraries import Functions
from dyninfer.learning.scaling import Scaling


class Increments(NamedTuple):
    """All increments, one path after another.

    Attributes
    ----------
    start : array ``(n, d)``
        States from which the increments go.
    step : array ``(n, d)``
    gap : array ``(n,)``
        Time that each takes.
    path : array ``(n,)``
        Number of the path.
    """

    start: ndarray
    step: ndarray
    gap: ndarray
    path: ndarray

    @classmethod
    def of(cls, paths: Paths, scaling: Scaling) -> Self:
        """Read increments between neighbouring observations with nothing missing."""
        starts = []
        steps = []
        gaps = []
        lengths = []
        pairs = zip(paths.times, paths.states, strict=True)
        for times, states in pairs:
            is_missing = np.isnan(states)
            is_whole = ~is_missing.any(1)
            x = states[is_whole]
            z = scaling.states(x.astype(np.float64))
            starts.append(z[:-1])
            step = np.diff(z, axis=0)
            steps.append(step)
            lengths.append(len(step))
            # Differences first: times since 1970 lose digits when they are scaled.
            gap = np.diff(times[is_whole])
            gaps.append(gap / scaling.duration)
        numbers = np.arange(len(lengths))
        return cls(
            start=np.concatenate(starts),
            step=np.concatenate(steps),
            gap=np.concatenate(gaps),
            path=np.repeat(numbers, lengths),
        )

    def drawn(self, numbers: ndarray) -> Increments:
        """Increments of the paths with these numbers; a number that comes twice counts twice."""
        # Increments of one path follow one another, and paths are in order.
        begins = np.searchsorted(self.path, numbers)
        ends = np.searchsorted(self.path, numbers + 1)
        pairs = zip(begins, ends, strict=True)
        rows = np.concatenate([np.arange(begin, end) for begin, end in pairs])
        # Numbered anew: a path that comes twice in a row is two paths.
        order = np.arange(len(numbers))
        return Increments(
            start=self.start[rows],
            step=self.step[rows],
            gap=self.gap[rows],
            path=np.repeat(order, ends - begins),
        )

    @property
    def follows(self) -> ndarray:
        """Rows ``(k,)`` whose predecessor belongs to the same path."""
        change = np.diff(self.path)
        return np.flatnonzero(change == 0) + 1

    def memory(self, residual: ndarray) -> float:
        """Correlation of residuals ``(n, d)`` with the next ones: the largest of the features'."""
        later = self.follows
        if len(later) == 0:
            return 0.0
        products = (residual[later] * residual[later - 1]).mean(0)
        squares = np.square(residual).mean(0)
        # A feature without noise has no residual to remember.
        correlation = products / np.where(squares > 0, squares, 1.0)
        return float(correlation[np.abs(correlation).argmax()])

    def common_gap(self, reason: str) -> float:
        """The gap that all share; a ValueError says why there must be one."""
        shortest = self.gap.min()
        longest = self.gap.max()
        if longest - shortest > NEAR * longest:
            ratio = longest / shortest
            raise ValueError(
                f"{reason} needs equal gaps between observations, and here the longest is "
                f"{ratio:.4g} times the shortest; keep every path on one grid, or leave it out"
            )
        return float(self.gap.mean())


def columns_at(functions: Functions, z: ndarray) -> ndarray:
    """Columns ``(n, m)`` of a library at scaled states, in double precision."""
    states = torch.as_tensor(z)
    with torch.no_grad():
        columns = functions(states)
    values = columns.double().numpy()
    expected = (len(z), len(functions))
    if values.shape != expected:
        raise ValueError(
            f"the functions of the library return {values.shape} for {len(z)} states, where "
            f"{expected} was expected"
        )
    is_finite = np.isfinite(values)
    if not is_finite.all():
        raise ValueError("the functions of the library are not finite at all states of the data")
    return values
