"""A diffusion in scaled units behind a face in the user's units."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor

from dyninfer.diffusions.diffusion import Diffusion, batch_times
from dyninfer.learning.scaling import Scaling


class ScaledDiffusion(Diffusion):
    """A diffusion of scaled states in scaled time, as one of the user's states in the user's time.

    Methods learn in scaled units, where every number is of size one; what users call, and what
    solvers run, is this. Times and states are converted in their own precision and then given to
    ``inner`` in that of its weights; fields return in the precision of the states.

    Parameters
    ----------
    inner : Diffusion
        Process in scaled units.
    scaling : Scaling
    """

    inner: Any  # a Diffusion with whatever else the method gave it
    scaling: Scaling
    precision: Tensor | None

    def __init__(self, inner: Diffusion, scaling: Scaling):
        super().__init__()
        self.inner, self.scaling = inner, scaling
        weight = next(inner.parameters(), None)
        # Empty: it follows the number format of the weights, in which the inner process computes.
        empty = None if weight is None else torch.empty(0, dtype=weight.dtype)
        self.register_buffer("precision", empty, persistent=False)

    def given(self, condition: Any) -> Self:
        """Return the same process under one condition; parameters are shared, not copied."""
        process = copy.copy(self)
        # A shallow copy shares the table of submodules, in which the inner process is replaced.
        process._modules = dict(self._modules)
        process.inner = self.inner.given(condition)
        return process

    def drift(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Drift ``(n, d)``, in state units per time unit."""
        return self._velocity(self.inner.drift(*self._scaled(t, x)), x)

    def diffusion(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """Noise amplitude, in state units per square root of time: a scalar, ``(d,)`` or ``(n, d)``."""
        amplitude = self.inner.diffusion(*self._scaled(t, x))
        return None if amplitude is None else self.scaling.user_amplitudes(amplitude.to(x.dtype))

    def growth(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """Rate of the log-weight ``(n,)``, per time unit."""
        return self._rate(self.inner.growth(*self._scaled(t, x)), x)

    def score(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """Gradient of the log-density ``(n, d)``, per state unit."""
        return self._score_of(self.inner.score(*self._scaled(t, x)), x)

    def potential(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """Potential ``(n,)``, whose gradient is the drift.

        With a scale for every feature, it is so in the metric of standard deviations.
        """
        potential = self.inner.potential(*self._scaled(t, x))
        return None if potential is None else self.scaling.user_potentials(potential.to(x.dtype))

    def drift_and_growth(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Both fields at once."""
        drift, growth = self.inner.drift_and_growth(*self._scaled(t, x))
        return self._velocity(drift, x), self._rate(growth, x)

    def drift_growth_and_score(
        self, t: Tensor | float, x: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """All three fields at once."""
        drift, growth, score = self.inner.drift_growth_and_score(*self._scaled(t, x))
        return self._velocity(drift, x), self._rate(growth, x), self._score_of(score, x)

    def divergence(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """Divergence of the drift ``(n,)``, per time unit, where the inner process knows it."""
        return self._rate(self.inner.divergence(*self._scaled(t, x)), x)

    def _scaled(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor]:
        z = self.scaling.states(x)
        if self.precision is not None:
            z = z.to(self.precision.dtype)
        return batch_times(self.scaling.times(t), z), z

    def _velocity(self, drift: Tensor, x: Tensor) -> Tensor:
        return self.scaling.user_velocities(drift.to(x.dtype))

    def _rate(self, rate: Tensor | None, x: Tensor) -> Tensor | None:
        return None if rate is None else self.scaling.user_rates(rate.to(x.dtype))

    def _score_of(self, score: Tensor | None, x: Tensor) -> Tensor | None:
        return None if score is None else self.scaling.user_scores(score.to(x.dtype))
