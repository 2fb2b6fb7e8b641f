"""A diffusion in scaled units behind a face in the user's units."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.diffusions.diffusion import Diffusion, Motion, MotionAndScore, Time, batch_times
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.slabs import slabs
from dyninfer.learning.warn import warn


def fields_at(
    process: Diffusion, times: ndarray, x: ndarray, chunk: int = 65536
) -> dict[str, ndarray]:
    """Drift, growth and potential, those that there are, at every row.

    Parameters
    ----------
    process : Diffusion
    times : array ``(n,)``
    x : array ``(n, d)``
    chunk : int
        Rows computed at once.
    """
    device = device_of(process)
    names = ("drift", "growth", "potential")
    whole: dict[str, ndarray] = {}
    with torch.no_grad():
        # In chunks: the layers of a network hold a hundred numbers for each of a state's.
        n = len(x)
        for first in range(0, n, chunk):
            last = first + chunk
            rows = slice(first, last)
            state = torch.as_tensor(x[rows], device=device)
            t = torch.as_tensor(times[rows], device=device)
            if scaling_of(process) is None:
                t = t.to(state.dtype)
            drift, growth = process.drift_and_growth(t, state)
            potential = process.potential(t, state)
            fields = (drift, growth, potential)
            for name, field in zip(names, fields, strict=True):
                # A process has a field at all times or at none.
                if field is not None:
                    values = field.cpu().numpy()
                    if name not in whole:
                        # At once: parts that are joined in the end are held twice.
                        whole[name] = np.empty((n, *values.shape[1:]), values.dtype)
                    whole[name][rows] = values
    for name, values in whole.items():
        _warn_of_overflow(name, values)
    return whole


def _warn_of_overflow(name: str, values: ndarray) -> None:
    """Warn where a field ``(n,)`` or ``(n, d)`` is not finite."""
    n = len(values)
    n_lost = 0
    for slab in slabs(n):
        rows = values[slab]
        is_finite = np.isfinite(rows).reshape(len(rows), -1)
        n_lost += int((~is_finite.all(1)).sum())
    if n_lost:
        warn(
            f"the {name} is not finite in {n_lost} of {n} states, which lie too far from the data "
            "of the fit for single precision"
        )


def device_of(process: Diffusion) -> torch.device:
    """Where a process computes: where its weights are, or on the CPU where it has none."""
    weight = next(process.parameters(), None)
    return torch.device("cpu") if weight is None else weight.device


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
        self.inner = inner
        self.scaling = scaling
        # Empty: it follows the number format of the weights, in which the inner process computes.
        precision = None
        weight = next(inner.parameters(), None)
        if weight is not None:
            precision = torch.empty(0, dtype=weight.dtype)
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
        drift = self.inner.drift(tau, z)
        return self._user_velocity(drift, x)

    def backward_drift(self, t: Time, x: Tensor) -> Tensor | None:
        """Velocity ``(n, d)`` while time runs down, where the inner process has another one."""
        tau, z = self._scaled(t, x)
        drift = self.inner.backward_drift(tau, z)
        if drift is None:
            return None
        return self._user_velocity(drift, x)

    def diffusion(self, t: Time, x: Tensor) -> Tensor | None:
        """Noise amplitude: a scalar, ``(d,)`` or ``(n, d)``, in state units per root of time."""
        tau = t
        z = x
        # What depends on neither needs no conversion, which costs as much as a small network.
        if not self.inner.constant_noise:
            tau, z = self._scaled(t, x)
        amplitude = self.inner.diffusion(tau, z)
        if amplitude is None:
            return None
        amplitude = amplitude.to(x.dtype)
        return self.scaling.user_amplitudes(amplitude)

    def growth(self, t: Time, x: Tensor) -> Tensor | None:
        """Rate of the log-weight ``(n,)``, per time unit."""
        tau, z = self._scaled(t, x)
        growth = self.inner.growth(tau, z)
        return self._user_rate(growth, x)

    def score(self, t: Time, x: Tensor) -> Tensor | None:
        """Gradient of the log-density ``(n, d)``, per state unit."""
        tau, z = self._scaled(t, x)
        score = self.inner.score(tau, z)
        return self._user_score(score, x)

    def potential(self, t: Time, x: Tensor) -> Tensor | None:
        """Potential ``(n,)``, whose gradient is the drift.

        With a scale for every feature, it is so in the metric of standard deviations.
        """
        tau, z = self._scaled(t, x)
        potential = self.inner.potential(tau, z)
        if potential is None:
            return None
        potential = potential.to(x.dtype)
        return self.scaling.user_potentials(potential)

    @property
    def longest_step(self) -> float | None:  # type: ignore[override]
        """Longest step that a solver takes by itself, in time units."""
        step = self.inner.longest_step
        return None if step is None else step * self.scaling.duration

    def breaks(self) -> Tensor:
        """Times at which a field bends sharply, in the user's."""
        return self.scaling.user_times(self.inner.breaks())

    def drift_and_growth(self, t: Time, x: Tensor) -> Motion:
        """Both fields at once."""
        tau, z = self._scaled(t, x)
        drift, growth = self.inner.drift_and_growth(tau, z)
        drift = self._user_velocity(drift, x)
        growth = self._user_rate(growth, x)
        return drift, growth

    def drift_growth_and_score(self, t: Time, x: Tensor) -> MotionAndScore:
        """All three fields at once."""
        tau, z = self._scaled(t, x)
        drift, growth, score = self.inner.drift_growth_and_score(tau, z)
        drift = self._user_velocity(drift, x)
        growth = self._user_rate(growth, x)
        score = self._user_score(score, x)
        return drift, growth, score

    def divergence(self, t: Time, x: Tensor) -> Tensor | None:
        """Divergence of the drift ``(n,)``, per time unit, where the inner process knows it."""
        tau, z = self._scaled(t, x)
        # A rate, too, by which a volume of states grows or shrinks.
        divergence = self.inner.divergence(tau, z)
        return self._user_rate(divergence, x)

    def _scaled(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor]:
        # In the precision of the states: in that of the weights, a shift might round them.
        z = self.scaling.states(x)
        if self.precision is not None:
            z = z.to(self.precision.dtype)
        tau = self.scaling.times(t)
        tau = batch_times(tau, z)
        return tau, z

    def _user_velocity(self, drift: Tensor, x: Tensor) -> Tensor:
        drift = drift.to(x.dtype)
        return self.scaling.user_velocities(drift)

    def _user_rate(self, rate: Tensor | None, x: Tensor) -> Tensor | None:
        if rate is None:
            return None
        rate = rate.to(x.dtype)
        return self.scaling.user_rates(rate)

    def _user_score(self, score: Tensor | None, x: Tensor) -> Tensor | None:
        if score is None:
            return None
        score = score.to(x.dtype)
        return self.scaling.user_scores(score)
