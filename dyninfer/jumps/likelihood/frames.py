"""Labels at equal steps of time, and how often each follows each other one some steps later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.times import NEAR
from dyninfer.data.words import as_text
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.state_names import names_of

# Steps that a gap may be off a multiple: the rounding of far times in float32, and no other frame.
_OFF = 0.05


@dataclass(frozen=True, eq=False)
class Frames:
    """Labels of all paths by the number of their frame, path after path.

    Attributes
    ----------
    labels : array ``(n,)`` int64
    frame : array ``(n,)`` int64
        Ascending within a path; missing labels leave gaps.
    path : array ``(n,)`` int64
    step : float
        Time from one frame to the next.
    state_names : tuple of S str
    """

    labels: ndarray
    frame: ndarray
    path: ndarray
    step: float
    state_names: tuple[str, ...]

    @classmethod
    def of(cls, paths: Paths) -> Frames:
        """Read discrete paths.

        Raises
        ------
        TypeError, ValueError
            If paths are continuous, or their times are no multiples of one step.
        """
        if not paths.discrete:
            raise TypeError(
                "a table of lags needs paths of states; label a signal first, by "
                "MixtureStates(n_states=3).label"
            )
        flat = FlatLabels.of(paths)
        gaps = np.diff(flat.times)[flat.has_next]
        if not len(gaps):
            raise ValueError("no path has two labels, so that no jump can be seen")
        shortest = gaps.min()
        # The mean over all: the shortest gap alone has the rounding of two times.
        step = float(gaps.sum() / np.rint(gaps / shortest).sum())
        n_steps = np.rint(gaps / step)
        off = np.abs(gaps / step - n_steps)
        if off.max() > _OFF:
            gap = as_text(gaps[off.argmax()])
            raise ValueError(
                f"a table of lags needs frames at equal steps; a gap of {gap} is not a multiple "
                f"of {as_text(step)}; MarkovJumpInference takes any times"
            )
        steps = np.zeros(len(flat.times), dtype=np.int64)
        steps[1:][flat.has_next] = n_steps
        elapsed = np.cumsum(steps)
        names = names_of(paths, None)
        return cls(flat.labels, elapsed, flat.path, step, names)

    @property
    def n_states(self) -> int:
        """Number of states S."""
        return len(self.state_names)

    @property
    def longest(self) -> int:
        """Steps from the first to the last frame of the longest path."""
        ends = np.flatnonzero(np.diff(self.path, append=-1))
        starts = np.append(0, ends[:-1] + 1)
        return int((self.frame[ends] - self.frame[starts]).max())

    def steps_of(self, lag: float) -> int:
        """A lag in steps, or a ValueError."""
        n_steps = lag / self.step
        if n_steps > self.longest + _OFF:
            raise ValueError(
                f"lag {as_text(lag)} is longer than every path; the longest takes "
                f"{as_text(self.longest * self.step)}"
            )
        whole = round(n_steps)
        if whole < 1 or abs(n_steps - whole) > NEAR * whole:
            raise ValueError(
                f"lag {as_text(lag)} is not a multiple of {as_text(self.step)}, the step from one "
                "frame to the next"
            )
        return whole

    def counts(self, lag: int) -> Tensor:
        """Pairs ``(S, S)`` of labels that are so many steps apart in one path, all of them.

        Raises
        ------
        ValueError
            If some state has no successor at this lag.
        """
        # Frames of different paths are never as close as a lag.
        place = self.frame + self.path * (lag + 1)
        successor = np.searchsorted(place, place + lag)
        successor = np.minimum(successor, len(place) - 1)
        is_pair = place[successor] == place + lag
        source = self.labels[is_pair]
        target = self.labels[successor[is_pair]]
        cell = source * self.n_states + target
        counts = np.bincount(cell, minlength=self.n_states**2)
        table = counts.reshape(self.n_states, self.n_states)
        without = np.flatnonzero(table.sum(1) == 0)
        if len(without):
            name = self.state_names[without[0]]
            raise ValueError(
                f"state {name!r} has no successor {as_text(lag * self.step)} later; take shorter "
                "lags, or leave the state out"
            )
        return torch.from_numpy(table).double()
