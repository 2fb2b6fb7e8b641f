"""Brownian motion on the steps of a grid, in the shape that torchsde asks for."""

from __future__ import annotations

import bisect

import torch
import torchsde
from torch import Tensor

from dyninfer.simulation.noise import PathNoise
from dyninfer.simulation.solvers.task import Task
from dyninfer.simulation.solvers.weighted import Weighted

Increments = Tensor | tuple[Tensor, Tensor]


class GridMotion(torchsde.BaseBrownian):
    """Increments over whole steps, which of path ``i`` depend on ``(seed, i)`` alone.

    Parameters
    ----------
    task : Task
    weighted : Weighted
        Gives the units of time, and the states.
    n_brownian : int
        Number of Brownian motions of a path.
    levy_area_approximation : "none" or "space-time"
        Whether the integral of the motion over a step is drawn as well.
    """

    def __init__(
        self, task: Task, weighted: Weighted, n_brownian: int, levy_area_approximation: str
    ):
        self._like = like = weighted.start
        self._rows = task.rows
        self._levy_area_approximation = levy_area_approximation
        self._n_brownian = n_brownian
        starts = weighted.taus(task.grid.starts)
        self._starts = starts.tolist()
        lengths = task.grid.lengths / weighted.span
        self._roots = lengths.abs().sqrt().tolist()
        self._lengths = lengths.abs().tolist()
        width = n_brownian * (2 if self.has_integrals else 1)
        n_steps = task.grid.n_steps
        self._noise = PathNoise(task.seed, n_steps, width, like=like.detach())
        self._current = -1
        self._segment = self._like

    @property
    def has_integrals(self) -> bool:
        """Whether integrals over the steps are drawn."""
        return self._levy_area_approximation == "space-time"

    def __call__(
        self, ta: Tensor, tb: Tensor, return_U: bool = False, return_A: bool = False
    ) -> Increments:
        """Increment ``W`` over the step from ``ta`` to ``tb`` and, if asked, ``U = ∫ W dt``."""
        total = float(ta) + float(tb)
        middle = 0.5 * total
        k = bisect.bisect_right(self._starts, middle) - 1
        normals = self._normals(k)
        root = self._roots[k]
        own_normals = normals[:, : self._n_brownian]
        w = root * own_normals
        if not return_U:
            return w
        # The integral is h W / 2 in the mean, with the variance h³ / 12 around it.
        others = normals[:, self._n_brownian :]
        deviation = root / 12**0.5 * others
        mean_position = 0.5 * w + deviation
        return w, self._lengths[k] * mean_position

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape})"

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the increments."""
        return self._like.dtype

    @property
    def device(self) -> torch.device:
        """Where they are drawn."""
        return self._like.device

    @property
    def shape(self) -> torch.Size:
        """Numbers of paths and of Brownian motions."""
        return torch.Size((len(self._rows), self._n_brownian))

    @property
    def levy_area_approximation(self) -> str:
        """What torchsde may ask for beside increments."""
        return self._levy_area_approximation

    def _normals(self, k: int) -> Tensor:
        """Standard normals ``(n, width)`` of one step."""
        segment, offset = divmod(k, self._noise.segment_length)
        if segment != self._current:
            self._segment = self._noise.segment(self._rows, segment)
            self._current = segment
        return self._segment[offset]
