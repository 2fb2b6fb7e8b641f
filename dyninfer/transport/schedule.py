"""An interpolant over the times of snapshots: what multiplies end points and noise, and when."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.learning.scaling import Scaling
from dyninfer.transport.interpolants import Interpolant, LatentNoise
from dyninfer.transport.own_curves import Line, own_line
from dyninfer.transport.splines import spline_weights


class Moment(NamedTuple):
    """An interpolant and its noise at scaled times ``(n,)`` over all snapshots."""

    interval: Tensor  # (n,) number of the interval
    weights: Tensor  # (n, 2) of the two ends, or (n, K) of all knots
    slopes: Tensor  # their derivatives in time
    gamma: Tensor | None  # (n,) what multiplies z; None without noise
    gamma_slope: Tensor | None
    own_line: Line | None = None  # of an interpolant that is no combination of the knots

    def line(self, knots: Tensor) -> tuple[Tensor, Tensor]:
        """``I`` and ``∂I/∂t`` ``(n, d)`` through knots ``(n, 2, d)`` or ``(n, K, d)``."""
        if self.own_line is not None:
            return self.own_line(knots)
        coefficients = torch.stack([self.weights, self.slopes], 1)
        both = torch.bmm(coefficients, knots)
        position, velocity = both.unbind(1)
        return position, velocity


class Schedule(torch.nn.Module):
    """An interpolant with its noise laid over the times of ``K`` snapshots.

    Parameters
    ----------
    interpolant : Interpolant
    noise : LatentNoise or None
    knots : array ``(K,)``
        Scaled times of the snapshots.
    a : float
        Squared amplitude of the noise in scaled units; ignored without noise.
    scaling : Scaling, optional
        Units of the data, in which an interpolant with a curve of its own speaks.
    """

    def __init__(
        self,
        interpolant: Interpolant,
        noise: LatentNoise | None,
        knots: ndarray,
        a: float = 0.0,
        scaling: Scaling | None = None,
    ):
        super().__init__()
        # In a tuple: the units are a part of the process around this, and stand in files once.
        self._units = (scaling if interpolant.is_own_curve else None,)
        self.interpolant = interpolant
        self.noise = noise
        self.a = float(a)
        self.knots: Tensor
        self.inner_knots: Tensor
        self.cardinal: Tensor | None
        knots_tensor = torch.as_tensor(knots, dtype=torch.float64)
        self.register_buffer("knots", knots_tensor, persistent=False)
        inner_knots = knots_tensor[1:-1]
        self.register_buffer("inner_knots", inner_knots.clone(), persistent=False)
        cubics = interpolant.cardinal(knots)
        cardinal = None
        if cubics is not None:
            cardinal = torch.as_tensor(cubics)
        self.register_buffer("cardinal", cardinal, persistent=False)
        # A Gaussian base is noise too, and fades at the other end.
        self.margin = 1e-4 if interpolant.gaussian_base else 0.0
        if noise is not None:
            self.margin = noise.margin

    @classmethod
    def over(
        cls,
        times: ndarray,
        interpolant: Interpolant,
        noise: LatentNoise | None,
        scaling: Scaling,
    ) -> Schedule:
        """Schedule over the times ``(K,)`` of snapshots, all in the user's units."""
        knots = scaling.times(times)
        if interpolant.gaussian_base and len(knots) != 2:
            raise ValueError(
                f"a {type(interpolant).__name__} leads from noise to one snapshot: it needs two "
                f"times, found {len(knots)}"
            )
        if noise is None:
            return cls(interpolant, None, knots, scaling=scaling)
        if noise.a is not None:
            a = noise.a / scaling.action_unit
            return cls(interpolant, noise, knots, a, scaling)
        # In the middle of a gap of average length the noise is what the interpolant is made for.
        mean_gap = np.diff(knots).mean()
        a = interpolant.default_variance / mean_gap
        return cls(interpolant, noise, knots, a, scaling)

    @property
    def scaling(self) -> Scaling | None:
        """Units of the data, where the interpolant has a curve of its own."""
        return self._units[0]

    @property
    def noisy(self) -> bool:
        """Whether there is a standard normal part, so that there is a score."""
        return self.noise is not None or self.interpolant.gaussian_base

    @property
    def singular(self) -> bool:
        """Whether the derivative of the noise is infinite at an end."""
        if self.noise is not None and self.noise.singular:
            return True
        return bool(self.interpolant.singular_ends)

    def moment(self, tau: Tensor) -> Moment:
        """Everything at scaled times ``(n,)``.

        Times nearer to a snapshot than the noise's margin are moved off it.
        """
        k, s, gap = self.locate(tau)
        last = 1 - self.margin
        s = s.clamp(self.margin, last)
        weights, slopes = self._coefficients(k, s, gap)
        line = None
        if self.scaling is not None:
            line = own_line(self.interpolant, self.scaling, s, gap)
        if self.interpolant.gaussian_base:
            # z is the first of the two ends.
            gamma = weights[:, 0]
            gamma_slope = slopes[:, 0]
            return Moment(k, weights, slopes, gamma, gamma_slope)
        if self.noise is None:
            return Moment(k, weights, slopes, gamma=None, gamma_slope=None, own_line=line)
        shape, shape_slope = self.noise.shape(s)
        amplitude = (self.a * gap).sqrt()
        gamma = amplitude * shape
        gamma_slope = amplitude * shape_slope / gap
        return Moment(k, weights, slopes, gamma, gamma_slope, line)

    def inside(self, tau: Tensor, margin: float) -> Tensor:
        """Scaled times moved to where γ is not small.

        That is ``margin`` of the interval off every end at which γ is zero.
        """
        k, s, gap = self.locate(tau)
        low = margin
        high = 1 - margin
        if self.interpolant.gaussian_base:
            low = 0.0
        elapsed = s.clamp(low, high) * gap
        clamped = self.knots[k] + elapsed
        is_early = s < low
        is_late = s > high
        outside = is_early | is_late
        return torch.where(outside, clamped, tau)

    def _coefficients(self, k: Tensor, s: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of the knots at the part ``s`` of interval ``k``, and their slopes in time."""
        if self.cardinal is None:
            c = self.interpolant.coefficients(s)
            weights = torch.stack([c.alpha, c.beta], 1)
            slopes = torch.stack([c.alpha_slope, c.beta_slope], 1)
            rates = slopes / gap[:, None]
            return weights, rates
        cubics = self.cardinal[:, k]
        elapsed = s * gap
        return spline_weights(cubics, elapsed)

    def locate(self, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Interval of each scaled time ``(n,)``, the part of it that has passed, and its length."""
        # One time for all states comes as an expanded view.
        moments = tau.contiguous()
        k = torch.searchsorted(self.inner_knots, moments, right=True)
        start = self.knots[k]
        end = self.knots[k + 1]
        gap = end - start
        part = (tau - start) / gap
        return k, part, gap
