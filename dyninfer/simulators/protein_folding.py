"""A toy of protein folding: a particle in five dimensions, near the origin or away from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.jumps import LabelNoise, observe
from dyninfer.learning.random import stream, subseed, uniforms
from dyninfer.simulation import simulate, solvers
from dyninfer.simulators.base import (
    System,
    check_draw,
    check_positive,
    check_times,
    paths_of,
)

# Of the benchmark, as are the potential and the threshold.
_DIMENSION = 5
_NAMES = ("folded", "unfolded")


@dataclass(frozen=True, kw_only=True)
class ProteinFolding(System):
    """Overdamped Brownian dynamics with recorded radius (Mardt et al. 2018, Nat. Commun. 9, 5).

    ``dX = −∇U dt + √2 dW`` in five dimensions, with ``U = −2.5 (r − 3)²`` for ``r < 3`` and ``½ (r
    − 3)³ − (r − 3)²`` beyond, where ``r = |X|``. The potential falls steeply towards the origin: in
    an exact simulation, more than 99 % would be folded. The benchmark uses Euler's rule, whose
    overshoot near the origin sets the populations. So the step is part of the system and not a
    matter of precision.

    Neither population is a Markov state at short times: a trajectory that crosses the threshold
    often returns at once, and rates estimated from labels fall with the lag.

    Parameters
    ----------
    step : float
        Step of Euler's rule; positive. The benchmark uses 0.1.
    burn_in : int
        Steps before time 0, from ``2 (N(0, I) − ½)``; not negative.

    Examples
    --------
    >>> import dyninfer as di
    >>> len(di.simulators.ProteinFolding(burn_in=10).paths([0, 1, 2], 3))
    3
    """

    step: float = 0.1
    burn_in: int = 1000

    def _check(self) -> None:
        self._check_positive("step")
        self._check_not_negative("burn_in")

    def process(self) -> Diffusion:
        """Return the diffusion that the step approximates.

        The potential is ``−U``, whose gradient is the drift.
        """
        return Diffusion(
            drift=self.drift,
            diffusion=math.sqrt(2.0),
            potential=self._potential,
        )

    @staticmethod
    def energy(r: Tensor) -> Tensor:
        """``U`` at radii ``(...)``."""
        s = r - 3
        inside = -2.5 * s.square()
        outside = 0.5 * s**3 - s.square()
        return torch.where(s < 0, inside, outside)

    @staticmethod
    def drift(t: Time, x: Tensor) -> Tensor:
        """``−∇U``, shape ``(n, 5)``; 0 at the origin itself, where ``U`` has a cusp."""
        r = x.norm(dim=-1, keepdim=True)
        s = r - 3
        inside = -5 * s
        outside = 1.5 * s.square() - 2 * s
        slope = torch.where(s < 0, inside, outside)
        # Zero over tiny is zero: at the origin no direction is better than another.
        smallest = torch.finfo(x.dtype).tiny
        distance = r.clamp(min=smallest)
        direction = x / distance
        return -slope * direction

    def positions(self, times: Iterable[float], n: int, seed: int = 0) -> Tensor:
        """Positions ``(n, time, 5)`` float32 of particles, at times after the burn-in.

        Path ``i`` depends only on ``(seed, i)``.

        Raises
        ------
        ValueError
            If a time is not a multiple of the step.
        """
        check_draw(n, seed)
        start = self._start(n, seed)
        n_steps = self._steps(check_times(times))
        steps = self.burn_in + n_steps
        # Each time once, and the start before all: the simulation begins there.
        with_start = np.concatenate([[0], steps])
        stored, column = np.unique(with_start, return_inverse=True)
        if len(stored) == 1:
            return start[:, None]
        runs = simulate(
            self.process(),
            start,
            self.step * stored,
            # A hair more, so that rounding in the times does not add a step.
            solver=solvers.EulerMaruyama(dt=self.step * (1 + 1e-9)),
            seed=subseed(seed, "motion"),
        )
        requested = column[1:]
        return runs.states[:, requested]

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Radii of ``n`` particles at increasing multiples of the step; one continuous feature."""
        times = check_times(times)
        positions = self.positions(times, n, seed)
        radius = positions.norm(dim=-1, keepdim=True)
        return paths_of(times, radius)

    def labels(
        self,
        times: Iterable[float],
        n: int,
        seed: int = 0,
        threshold: float = 2.0,
        label_noise: float = 0.0,
    ) -> Paths:
        """The radii of :meth:`paths` as states: folded within ``threshold``, unfolded beyond.

        A share ``label_noise`` of the labels is wrong.
        """
        check_positive(threshold=threshold)
        times = check_times(times)
        positions = self.positions(times, n, seed)
        distance = positions.norm(dim=-1)
        is_unfolded = distance >= threshold
        runs = Trajectories(
            states=is_unfolded.long(),
            times=torch.tensor(times, dtype=torch.float64),
        )
        emission = LabelNoise.uniform(2, label_noise)
        of_labels = subseed(seed, "observations")
        paths = observe(runs, emission, seed=of_labels)
        return replace(paths, state_names=_NAMES)

    def _potential(self, t: Time, x: Tensor) -> Tensor:
        distance = x.norm(dim=-1)
        return -self.energy(distance)

    def _start(self, n: int, seed: int) -> Tensor:
        """``2 (N(0, I) − ½)``, ``(n, 5)`` float32, as the benchmark starts."""
        # Uniform numbers fill a tensor in order, normal ones do not: a path's start must not depend
        # on how many there are.
        g = stream(seed, "starts")
        u = uniforms(g, n, _DIMENSION)
        # Zero, which the generator may draw, has no normal quantile.
        smallest = torch.finfo(u.dtype).tiny
        inner = u.clamp(min=smallest)
        normal = torch.special.ndtri(inner)
        return (2 * normal - 1).float()

    def _steps(self, times: list[float]) -> ndarray:
        """Times as whole numbers of steps."""
        exact = np.array(times) / self.step
        steps = np.round(exact)
        # Times are often sums of steps, and rounding grows with their number.
        slack = 1e-6 * (1 + steps)
        departure = np.abs(exact - steps)
        is_between = departure > slack
        if is_between.any():
            first = times[int(is_between.argmax())]
            raise ValueError(f"times must be multiples of step = {self.step:g}, found {first:g}")
        return steps.astype(int)
