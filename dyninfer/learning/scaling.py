"""Units: the one place that knows shift, scale, start and duration."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, Self, TypeVar

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.learning.settings import brief
from dyninfer.learning.slabs import slabs

ScaleMode = Literal["global", "feature"] | None
Array = TypeVar("Array", ndarray, Tensor)


class _Constants(NamedTuple):
    """Numbers of a scaling in one precision, on one device; each ``(feature,)``."""

    shift: Tensor
    scale: Tensor
    speed: Tensor  # scale / duration


class Scaling(nn.Module):
    r"""Affine maps of states and times, and what follows from them for fields.

    They are ``z = (x − shift) / scale`` and ``τ = (t − start) / duration``.

    Methods without a prefix lead from the user's units into scaled ones; those called ``user_...``
    lead back. Fields change with the maps: with :math:`c` the scale and :math:`T` the duration,

    .. math:: b = \frac{c}{T}\,\tilde b, \qquad \sigma = \frac{c}{\sqrt T}\,\tilde\sigma, \qquad
        g = \frac{1}{T}\,\tilde g, \qquad \nabla\log\rho = \frac{1}{c}\,\tilde s.

    All take and return tensors in their own precision and on their own device.

    Parameters
    ----------
    shift, scale : array ``(feature,)``
        Location and spread of the states, in their units.
    start, duration : float
        Origin and unit of time, in the user's units.
    unit : float
        Length of one scaled unit in the metric in which distances and kinetic energies are
        measured: the common scale where there is one, and 1 where every feature has its own
        (distances are then in standard deviations).

    Attributes
    ----------
    shift, scale : Tensor ``(feature,)`` float64
        Buffers, in double precision whatever the precision of the module that holds them.
    common_scale : bool
        Whether all features have one scale, the unit of the metric.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, *, shift: Any, scale: Any, start: float, duration: float, unit: float):
        super().__init__()
        self.register_buffer("shift", torch.as_tensor(shift, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scale, dtype=torch.float64))
        is_finite = self.shift.isfinite() & self.scale.isfinite()
        if not bool(is_finite.all()):
            raise ValueError(
                "the mean or the spread of the data is beyond what double precision holds; "
                "give them in larger units"
            )
        # Numbers, so that no arithmetic with them waits for a device.
        self.start = float(start)
        self.duration = float(duration)
        self.unit = float(unit)
        self._cast: dict[tuple[torch.dtype, torch.device], _Constants] = {}
        # Asked once and kept: on a GPU the question waits for the device.
        is_unit = self.scale == self.unit
        self.common_scale = bool(is_unit.all())

    @classmethod
    def from_samples(
        cls,
        times: ndarray,
        samples: Sequence[ndarray],
        mode: ScaleMode = "global",
        weights: Sequence[ndarray] | None = None,
    ) -> Self:
        """Statistics of the pooled samples, each time counting equally.

        Parameters
        ----------
        times : array ``(K,)``
        samples : sequence of arrays ``(n_k, feature)``
        mode : "global", "feature" or None
            One common scale (distances keep their proportions), one per feature (distances in
            standard deviations), or none (states are left as they are; time is still scaled).
        weights : sequence of arrays ``(n_k,)``, optional
            Weight of every sample within its time; a weight of two is a sample given twice.
        """
        mean, variance = _mean_and_variance(samples, weights)
        shift = mean
        unit = 1.0
        if mode == "global":
            # Of features that are all constant, the unit is one of theirs.
            deviation = np.sqrt(variance.mean())
            unit = float(deviation) or 1.0
            scale = np.full_like(mean, unit)
        elif mode == "feature":
            std = np.sqrt(variance)
            scale = np.where(variance > 0, std, 1.0)
        elif mode is None:
            shift = np.zeros_like(mean)
            scale = np.ones_like(mean)
        else:
            raise ValueError(f"scale must be 'global', 'feature' or None, not {brief(mode)}")
        start = float(np.min(times))
        end = float(np.max(times))
        duration = end - start
        return cls(shift=shift, scale=scale, start=start, duration=duration, unit=unit)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return len(self.shift)

    @property
    def action_unit(self) -> float:
        """Size of a potential, an action or a squared noise amplitude that is 1 in scaled units."""
        return self.unit**2 / self.duration

    @property
    def energy_unit(self) -> float:
        """Size of a squared speed that is 1 in scaled units."""
        return (self.unit / self.duration) ** 2

    # --- into scaled units ---

    def states(self, x: Array) -> Array:
        """``(x − shift) / scale`` of states ``(..., feature)``, in the dtype of ``x``."""
        if isinstance(x, Tensor):
            constants = self._constants(x)
            return (x - constants.shift) / constants.scale
        centred = x - self.shift.numpy(force=True)
        scaled = centred / self.scale.numpy(force=True)
        return scaled.astype(x.dtype)

    def times(self, t: Any) -> Any:
        """``(t − start) / duration``, in [0, 1] over the fitted range; of numbers, in float64."""
        if not isinstance(t, Tensor):
            t = np.asarray(t, dtype=np.float64)
        return (t - self.start) / self.duration

    def displacements(self, dx: Tensor) -> Tensor:
        """Differences of states, standard deviations and other lengths ``(..., feature)``."""
        return dx / self._constants(dx).scale

    def velocities(self, v: Tensor) -> Tensor:
        """Velocities ``(..., feature)`` per scaled time."""
        return v / self._constants(v).speed

    def rates(self, rate: Any) -> Any:
        """Growth rates, divergences and other rates, per scaled time; a number or a tensor."""
        return rate * self.duration

    def scores(self, score: Tensor) -> Tensor:
        """Gradients of the log-density ``(..., feature)``."""
        return score * self._constants(score).scale

    def amplitude(self, sigma: float) -> float:
        """Noise amplitude of the metric: ``σ √T / unit``."""
        return sigma / math.sqrt(self.action_unit)

    def growth_penalty(self, penalty: float) -> float:
        """λ of a growth rate ``λ s`` of a potential ``s``: in inverse squared units of length."""
        return penalty * self.unit**2

    # --- back into the user's units ---

    def user_growth_penalty(self, penalty: float) -> float:
        """λ of a growth rate ``λ s``, in inverse squared units of length."""
        return penalty / self.unit**2

    def user_states(self, z: Tensor) -> Tensor:
        """``shift + scale z`` of scaled states ``(..., feature)``."""
        constants = self._constants(z)
        return constants.shift + constants.scale * z

    def user_times(self, tau: Any) -> Any:
        """``start + duration τ`` of a number, an array or a tensor."""
        return self.start + self.duration * tau

    def user_displacements(self, dz: Tensor) -> Tensor:
        """Differences of states, standard deviations and other lengths ``(..., feature)``."""
        return dz * self._constants(dz).scale

    def user_velocities(self, v: Tensor) -> Tensor:
        """Velocities ``(..., feature)``, in state units per time unit."""
        return v * self._constants(v).speed

    def user_amplitudes(self, amplitude: Tensor) -> Tensor:
        """Noise amplitudes: ``(feature,)``, ``(n, feature)`` or a scalar.

        A scalar stays one where all features have one scale, and becomes ``(feature,)`` elsewhere.
        """
        if amplitude.ndim == 0 and self.common_scale:
            per_root_time = self.unit / math.sqrt(self.duration)
            return amplitude * per_root_time
        scale = self._constants(amplitude).scale
        return amplitude * scale / math.sqrt(self.duration)

    def user_rates(self, rate: Any) -> Any:
        """Growth rates, divergences and other rates, per time unit; a number or a tensor."""
        return rate / self.duration

    def user_potentials(self, potential: Tensor) -> Tensor:
        """Potentials ``(n,)`` whose gradient is a velocity: ``u unit² / duration``."""
        return potential * self.action_unit

    def user_scores(self, score: Tensor) -> Tensor:
        """Gradients of the log-density ``(..., feature)``, per state unit."""
        return score / self._constants(score).scale

    def user_log_densities(self, log_density: Tensor) -> Tensor:
        """Log-densities ``(...)`` per volume of the user's units."""
        log_volume = self.scale.log().sum()
        return log_density - log_volume.to(log_density)

    def _constants(self, like: Tensor) -> _Constants:
        """The numbers in the precision of a tensor and on its device.

        Kept, as solvers ask in every step.
        """
        key = like.dtype, like.device
        if key not in self._cast:
            # What is made in inference mode could not be differentiated through later.
            with torch.inference_mode(False):
                shift = self.shift.to(like)
                scale = self.scale.to(like)
                speed = scale / self.duration
                self._cast[key] = _Constants(shift, scale, speed)
        return self._cast[key]

    def _load_from_state_dict(self, *arguments: Any) -> None:
        self._cast.clear()
        super()._load_from_state_dict(*arguments)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # A module that goes to single precision takes its weights there, not its units: a shift
        # of 1e6 that is rounded moves every state.
        def keep_precision(value: Tensor) -> Tensor:
            new = fn(value)
            if new.dtype != value.dtype:
                new = value.to(new.device)
            return new

        self._cast.clear()
        return super()._apply(keep_precision, recurse)

    def extra_repr(self) -> str:
        """Numbers for the representation."""
        times = f"start={self.start:g}, duration={self.duration:g}"
        return f"n_features={self.n_features}, {times}, unit={self.unit:g}"


def _mean_and_variance(
    samples: Sequence[ndarray], weights: Sequence[ndarray] | None
) -> tuple[ndarray, ndarray]:
    """Of the pooled samples ``(feature,)``, each time counting equally, in double precision."""
    every_weight: Sequence[ndarray | None] = [None] * len(samples)
    if weights is not None:
        every_weight = weights
    means = []
    for x, w in zip(samples, every_weight, strict=True):
        means.append(_mean(x, w))
    mean = np.mean(means, axis=0)
    variances = []
    for x, w in zip(samples, every_weight, strict=True):
        variances.append(_average(x, w, lambda values: (values - mean) ** 2))
    variance = np.mean(variances, axis=0)
    # A constant feature varies by its rounding only.
    rounding = 8 * np.finfo(samples[0].dtype).eps * mean
    variance[variance <= rounding**2] = 0.0
    return mean, variance


def _mean(x: ndarray, weights: ndarray | None) -> ndarray:
    # From a row, so that the mean of a constant feature is its value to the last digit.
    origin = x[0].astype(np.float64)
    return origin + _average(x, weights, lambda values: values - origin)


def _average(
    x: ndarray, weights: ndarray | None, function: Callable[[ndarray], ndarray]
) -> ndarray:
    """Of a function of rows ``(n, feature)``, in double precision."""
    n = len(x)
    share = np.full(n, 1 / n)
    if weights is not None:
        share = weights / weights.sum()
    average = np.zeros(x.shape[1])
    # In double precision, all rows of ten million cells would take twice their own memory.
    for slab in slabs(n):
        values = function(x[slab].astype(np.float64))
        average += share[slab] @ values
    return average
