"""A toy of protein folding: a particle in five dimensions that is near the origin, or away from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.jumps import LabelNoise, observe
from dyninfer.simulation import simulate
from dyninfer.simulation.noise import PathNoise
from dyninfer.simulators.base import (
    check_not_negative,
    check_positive,
    check_times,
    paths_of,
    stream,
)

_DIMENSION, _NAMES = 5, ("folded", "unfolded")


@dataclass(frozen=True, kw_only=True)
class ProteinFolding:
    """Overdamped Brownian dynamics whose radius is recorded (Mardt et al. 2018, Nat. Commun. 9, 5).

    ``dX = −∇U dt + √2 dW`` in five dimensions, with ``U = −2.5 (r − 3)²`` for ``r < 3`` and
    ``½ (r − 3)³ − (r − 3)²`` beyond, where ``r = |X|``. The potential falls steeply towards the origin: run exactly,
    more than 99 % would be folded. The benchmark runs it by Euler's rule, whose overshoot near the origin is what sets
    the populations, so that the step belongs to the system and is not a matter of precision.

    Neither population is a Markov state at short times: a trajectory that crosses the threshold often returns at once,
    and rates read off labels fall with the lag.

    Parameters
    ----------
    step : float
        Step of Euler's rule; positive. The benchmark's is 0.1.
    burn_in : int
        Steps before time 0, from ``2 (N(0, I) − ½)``; not negative.
    """

    step: float = 0.1
    burn_in: int = 1000

    def __post_init__(self) -> None:
        check_positive(step=self.step)
        check_not_negative(burn_in=self.burn_in)

    def process(self) -> Diffusion:
        """Return the diffusion that the step approximates; the potential is ``−U``, whose gradient is the drift."""
        return Diffusion(
            drift=self.drift,
            diffusion=math.sqrt(2.0),
            potential=lambda t, x: -self.energy(x.norm(dim=-1)),
        )

    @staticmethod
    def energy(r: Tensor) -> Tensor:
        """``U`` at radii ``(...)``."""
        s = r - 3
        return torch.where(s < 0, -2.5 * s.square(), 0.5 * s**3 - s.square())

    @staticmethod
    def drift(t: Tensor | float, x: Tensor) -> Tensor:
        """``−∇U``, shape ``(n, 5)``; 0 at the origin itself, where ``U`` has a cusp."""
        r = x.norm(dim=-1, keepdim=True)
        s = r - 3
        slope = torch.where(s < 0, -5 * s, 1.5 * s.square() - 2 * s)
        return -slope * x / r.clamp(min=torch.finfo(x.dtype).tiny)

    def positions(self, times: Iterable[float], n: int, seed: int = 0) -> Tensor:
        """Positions ``(n, time, 5)`` float32 of particles at increasing times, counted from the end of the burn-in.

        Path ``i`` depends on ``(seed, i)`` alone.

        Raises
        ------
        ValueError
            If a time is no multiple of the step.
        """
        check_positive(n=n)
        times = np.array(check_times(times))
        steps = np.round(times / self.step)
        wrong = np.abs(times - steps * self.step) > 1e-6 * self.step * (1 + steps)
        if wrong.any():
            raise ValueError(
                f"times must be multiples of step = {self.step:g}, found {times[wrong][0]:g}"
            )
        every = self.step * np.concatenate([[0.0], self.burn_in + steps])
        kept, place = np.unique(every, return_inverse=True)
        start = PathNoise(stream(seed, 0), 1, _DIMENSION, torch.zeros(0)).segment(range(n), 0)[0]
        if len(kept) == 1:
            return (2 * start - 1)[:, None]
        runs = simulate(
            self.process(),
            2 * start - 1,
            kept,
            solver="euler_maruyama",
            dt=self.step * (1 + 1e-9),
            seed=stream(seed, 1),
        )
        return runs.states[:, place[1:]]

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Radii of ``n`` particles at increasing multiples of the step; one continuous feature."""
        times = check_times(times)
        return paths_of(times, self.positions(times, n, seed).norm(dim=-1, keepdim=True))

    def labels(
        self,
        times: Iterable[float],
        n: int,
        seed: int = 0,
        threshold: float = 2.0,
        label_noise: float = 0.0,
    ) -> Paths:
        """Those of :meth:`paths` as states: folded within ``threshold``, unfolded beyond; some labels wrong on request."""
        check_positive(threshold=threshold)
        times = check_times(times)
        states = (self.positions(times, n, seed).norm(dim=-1) >= threshold).long()
        runs = Trajectories(states=states, times=torch.tensor(times, dtype=torch.float64))
        seen = observe(runs, LabelNoise.uniform(2, label_noise), seed=stream(seed, 2))
        return replace(seen, state_names=_NAMES)
