"""An equation in units of a run of its own, for libraries whose tolerances know no units."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.simulation.solvers.task import LogWeights, Solution, Task


class Weighted:
    """An equation as a library sees it: times from 0 to 1, and states of size one.

    States count from the origin of the data that a process was fitted to, and else from zero. The
    log-weight is the last coordinate, where there is one.

    Parameters
    ----------
    task : Task
    x : Tensor, ``(n, d)``
        States at the start.
    w : Tensor, ``(n,)``, optional
        Log-weights at the start. The last coordinate counts from 0, so that it keeps its digits in
        the precision of the states.
    """

    def __init__(self, task: Task, x: Tensor, w: LogWeights):
        self.equation = task.equation
        self.w = w
        self.unit = task.scale.unit
        self.origin = torch.zeros_like(self.unit)
        if self.equation.scaling is not None:
            self.origin = task.scale.origin
        times = task.reached
        self.begin = float(times[0])
        end = float(times[-1])
        # Negative where time runs down.
        self.span = end - self.begin
        # What the library starts from, (n, d) or (n, d + 1).
        deviation = x - self.origin
        self.start = deviation / self.unit
        if w is not None:
            none_yet = x.new_zeros(len(x), 1)
            self.start = torch.cat([self.start, none_yet], dim=1)

    def velocity(self, tau: Tensor, y: Tensor) -> Tensor:
        """Velocity of the state and growth of the weight."""
        x = self._state(y)
        time = self._time(tau, y)
        f, r = self.equation.rates(time, x)
        # Units of the state per span.
        factor = self.span / self.unit
        velocity = f * factor
        if self.w is None or r is None:
            return velocity
        growth = self.span * r[:, None]
        return torch.cat([velocity, growth], dim=1)

    def amplitude(self, tau: Tensor, y: Tensor) -> Tensor:
        """Amplitude of the noise, of which the weight has none."""
        x = self._state(y)
        time = self._time(tau, y)
        g = self.equation.amplitude(time, x)
        # Brownian motion grows as the root of time.
        root = abs(self.span) ** 0.5
        factor = root / self.unit
        if self.equation.n_brownian is not None:
            return g * factor[:, None]
        g = (g * factor).expand_as(x)
        if self.w is None:
            return g
        none = y.new_zeros(len(y), 1)
        return torch.cat([g, none], dim=1)

    def taus(self, times: Tensor) -> Tensor:
        """Times of the library ``(time,)`` float64."""
        return (times - self.begin) / self.span

    def time(self, tau: float) -> float:
        """Time of the process at one of the library."""
        return self.begin + self.span * tau

    def solution(self, y: Tensor) -> Solution:
        """States and log-weights of what the library returns, ``(n, interval, d)`` or one more."""
        x = self._state(y)
        if self.w is None:
            return x, None
        # Weights of long runs outgrow the digits of float32, so they are added up in float64.
        growth = y[..., -1].double()
        log_weights = self.w[:, None] + growth
        return x, log_weights

    def _time(self, tau: Tensor, like: Tensor) -> Tensor:
        elapsed = self.span * tau.double()
        time = self.begin + elapsed
        return self.equation.time(time, like)

    def _state(self, y: Tensor) -> Tensor:
        if self.w is not None:
            y = y[..., :-1]
        return self.origin + self.unit * y
