"""A diffusion in scaled units behind a face in the user's units."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from dyninfer.diffusions.diffusion import Diffusion, Time, batch_times
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.warn import warn


def fields_at(
    process: Diffusion, times: np.ndarray, x: np.ndarray, chunk: int = 65536
) -> dict[str, np.ndarray]:
    """Drift, growth and potential, those that there are, at every row.

    Parameters
    ----------
    process : Diffusion
    times : array ``(n,)``
    x : array ``(n, d)``
    chunk : int
        Rows computed at once.
    """
    device = next(process.parameters()).device
    parts: dict[str, list[np.ndarray]] = {"drift": [], "growth": [], "potential": []}
    with torch.no_grad():
        # In chunks: the layers of a network hold a hundred numbers for each of a state's.
        for first in range(0, len(x), chunk):
            rows = slice(first, first + chunk)
            state = torch.as_tensor(x[rows], device=device)
            t = torch.as_tensor(times[rows], device=device)
            if scaling_of(process) is None:
                t = t.to(state.dtype)
            drift, growth = process.drift_and_growth(t, state)
            potential = process.potential(t, state)
            for part, field in zip(parts.values(), (drift, growth, potential), strict=True):
                if field is not None:
                    part.append(field.cpu().numpy())
    fields = {name: np.concatenate(part) for name, part in parts.items() if part}
    for name, values in fields.items():
        n_lost = int((~np.isfinite(values)).reshape(len(values), -1).any(1).sum())
        if n_lost:
            warn(
                f"the {name} is not finite in {n_lost} of {len(values)} states, which lie too far "
                "from the data of the fit for single precision"
            )
    return fields


def scaling_of(process: Any) -> Scaling | None:
    """Units of the data that a process was fitted to; None where it was not."""
    if isinstance(process, ScaledDiffusion):
        return process.scaling
    return None


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
        # Empty: it follows the number format of the weights, in which the inner process computes.
        precision = None
        for weight in inner.parameters():
            precision = torch.empty(0, dtype=weight.dtype)
            break
        self.register_buffer("precision", precision, persistent=False)

    def given(self, condition: Any) -> Self:
        """Return the same process under one condition; parameters are shared, not copied."""
        process = copy.copy(self)
        # A shallow copy shares the table of submodules, in which the inner process is replaced.
        process._modules = dict(self._modules)
        process.inner = self.inner.given(condition)
        return process

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """Drift ``(n, d)``, in state units per time unit."""
        tau, z = self._scaled(t, x)
        return self._user_velocity(self.inner.drift(tau, z), x)

    def diffusion(self, t: Time, x: Tensor) -> Tensor | None:
        """Noise amplitude: a scalar, ``(d,)`` or ``(n, d)``, in state units per root of time."""
        dtype = x.dtype
        if not self.inner.constant_noise:
            t, x = self._scaled(t, x)
        amplitude = self.inner.diffusion(t, x)
        if amplitude is None:
            return None
        return self.scaling.user_amplitudes(amplitude.to(dtype))

    def growth(self, t: Time, x: Tensor) -> Tensor | None:
        """Rate of the log-weight ``(n,)``, per time unit."""
        tau, z = self._scaled(t, x)
        return self._user_rate(self.inner.growth(tau, z), x)

    def score(self, t: Time, x: Tensor) -> Tensor | None:
        """Gradient of the log-density ``(n, d)``, per state unit."""
        tau, z = self._scaled(t, x)
        return self._user_score(self.inner.score(tau, z), x)

    def potential(self, t: Time, x: Tensor) -> Tensor | None:
        """Potential ``(n,)``, whose gradient is the drift.

        With a scale for every feature, it is so in the metric of standard deviations.
        """
        tau, z = self._scaled(t, x)
        potential = self.inner.potential(tau, z)
        if potential is None:
            return None
        return self.scaling.user_potentials(potential.to(x.dtype))

    def drift_and_growth(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Both fields at once."""
        tau, z = self._scaled(t, x)
        drift, growth = self.inner.drift_and_growth(tau, z)
        return self._user_velocity(drift, x), self._user_rate(growth, x)

    def drift_growth_and_score(
        self, t: Time, x: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """All three fields at once."""
        tau, z = self._scaled(t, x)
        drift, growth, score = self.inner.drift_growth_and_score(tau, z)
        return self._user_velocity(drift, x), self._user_rate(growth, x), self._user_score(score, x)

    def divergence(self, t: Time, x: Tensor) -> Tensor | None:
        """Divergence of the drift ``(n,)``, per time unit, where the inner process knows it."""
        tau, z = self._scaled(t, x)
        return self._user_rate(self.inner.divergence(tau, z), x)

    def _scaled(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor]:
        # In the precision of the states: in that of the weights, a shift might round them.
        z = self.scaling.states(x)
        if self.precision is not None:
            z = z.to(self.precision.dtype)
        tau = self.scaling.times(t)
        return batch_times(tau, z), z

    def _user_velocity(self, drift: Tensor, x: Tensor) -> Tensor:
        return self.scaling.user_velocities(drift.to(x.dtype))

    def _user_rate(self, rate: Tensor | None, x: Tensor) -> Tensor | None:
        if rate is None:
            return None
        return self.scaling.user_rates(rate.to(x.dtype))

    def _user_score(self, score: Tensor | None, x: Tensor) -> Tensor | None:
        if score is None:
            return None
        return self.scaling.user_scores(score.to(x.dtype))
