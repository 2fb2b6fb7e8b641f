"""An equation whose log-weight is one more coordinate, for libraries that know states only."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.simulation.equation import Equation
from dyninfer.simulation.solvers.task import LogWeights, Solution


class Weighted:
    """An equation as a library sees it: the log-weight is its last coordinate, where there is one.

    Parameters
    ----------
    equation : Equation
    w : Tensor, ``(n,)``, optional
        Log-weights at the start. The last coordinate counts from 0, so that it keeps its digits in
        the precision of the states.
    """

    def __init__(self, equation: Equation, w: LogWeights):
        self.equation, self.w = equation, w

    def start(self, x: Tensor) -> Tensor:
        """What the library starts from, ``(n, d)`` or ``(n, d + 1)``."""
        if self.w is None:
            return x
        return torch.cat([x, x.new_zeros(len(x), 1)], dim=1)

    def velocity(self, t: Tensor, y: Tensor) -> Tensor:
        """Velocity of the state and growth of the weight."""
        x = self._state(y)
        f, r = self.equation.rates(t, x)
        if self.w is None or r is None:
            return f
        return torch.cat([f, r[:, None]], dim=1)

    def amplitude(self, t: Tensor, y: Tensor) -> Tensor:
        """Amplitude of the noise, of which the weight has none."""
        x = self._state(y)
        g = self.equation.amplitude(t, x)
        if self.equation.n_brownian is not None:
            return g
        g = g.expand_as(x)
        if self.w is None:
            return g
        none = y.new_zeros(len(y), 1)
        return torch.cat([g, none], dim=1)

    def solution(self, y: Tensor) -> Solution:
        """States and log-weights of what the library returns, ``(n, interval, d)`` or one more."""
        if self.w is None:
            return y, None
        # Weights of long runs outgrow the digits of float32, so they are added up in float64.
        growth = y[..., -1].double()
        return y[..., :-1], self.w[:, None] + growth

    def _state(self, y: Tensor) -> Tensor:
        if self.w is None:
            return y
        return y[:, :-1]
