"""Standardisation of states and times: done inside an estimator, undone on the way out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

ScaleMode = Literal["global", "feature"] | None


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Affine maps ``z = (x − shift) / scale`` and ``τ = (t − start) / duration``.

    Attributes
    ----------
    shift, scale : array ``(feature,)``
        Location and spread of the states, in their units.
    start, duration : float
        Origin and unit of time, in the user's units.
    unit : float
        Length of one scaled unit in the metric in which distances and kinetic energies are measured: the common scale
        where there is one, and 1 where every feature has its own (distances are then in standard deviations).
    """

    shift: np.ndarray
    scale: np.ndarray
    start: float
    duration: float
    unit: float

    @classmethod
    def from_samples(
        cls, times: np.ndarray, samples: list[np.ndarray], mode: ScaleMode = "global"
    ) -> Scaling:
        """Statistics of the pooled samples, each time counting equally.

        Parameters
        ----------
        times : array ``(K,)``
        samples : list of arrays ``(n_k, feature)``
        mode : "global", "feature" or None
            One common scale (distances keep their proportions), one per feature (distances in standard deviations), or
            none (states are left as they are; time is still scaled).
        """
        d = samples[0].shape[1]
        mean = np.mean([s.mean(0, dtype=np.float64) for s in samples], axis=0)
        variance = np.mean([((s - mean) ** 2).mean(0, dtype=np.float64) for s in samples], axis=0)
        rounding = 8 * np.finfo(samples[0].dtype).eps
        variance[variance <= (rounding * mean) ** 2] = (
            0.0  # a constant feature varies by its rounding only
        )
        if mode == "global":
            unit = float(np.sqrt(variance.mean())) or 1.0
            shift, scale = mean, np.full(d, unit)
        elif mode == "feature":
            unit, shift = 1.0, mean
            scale = np.where(variance > 0, np.sqrt(variance), 1.0)
        elif mode is None:
            unit, shift, scale = 1.0, np.zeros(d), np.ones(d)
        else:
            raise ValueError(f"scale must be 'global', 'feature' or None, not {mode!r}")
        start, end = float(np.min(times)), float(np.max(times))
        return cls(shift=shift, scale=scale, start=start, duration=end - start, unit=unit)

    def states(self, x: np.ndarray) -> np.ndarray:
        """Scaled states, in the dtype of ``x``."""
        return ((x - self.shift) / self.scale).astype(x.dtype)

    def times(self, t: np.ndarray | float) -> np.ndarray:
        """Scaled times, in [0, 1] over the fitted range."""
        return (np.asarray(t, dtype=np.float64) - self.start) / self.duration
