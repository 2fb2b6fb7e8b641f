"""The Ornstein-Uhlenbeck process: every distribution of it is Gaussian and known."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.simulators.base import (
    Simulator,
    check_draw,
    check_times,
    normals,
    paths_of,
    time_like,
    vector,
)

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths


@dataclass(frozen=True, kw_only=True)
class OrnsteinUhlenbeck(Simulator):
    """Relaxation to a mean under white noise, ``dX = −θ (X − μ) dt + σ dW``.

    The ``d`` coordinates are independent. From ``X_0 ~ N(m₀, s₀² I)`` the distribution at time t is
    ``N(m(t), v(t) I)`` with ``m(t) = μ + e^{−θt} (m₀ − μ)`` and ``v(t) = e^{−2θt} s₀² + σ²/2θ (1 −
    e^{−2θt})`` [1]_. The drift is the gradient of ``−½ θ |x − μ|²``: entropic Action Matching with
    this σ must find it, whatever the initial distribution.

    Parameters
    ----------
    rate : float
        θ, per time unit; positive.
    mean, initial_mean : float or d floats
        μ and m₀, in state units.
    sigma : float
        σ, in state units per square root of time; positive.
    initial_std : float
        s₀; zero starts all paths from one point.
    dimension : int
        Number of coordinates d.

    References
    ----------
    .. [1] C. Gardiner, Stochastic Methods, 4th ed., section 3.8.4.

    Examples
    --------
    >>> from dyninfer.simulators import OrnsteinUhlenbeck
    >>> OrnsteinUhlenbeck(rate=2.0).snapshots([0, 0.5, 1], n=100).sizes
    (100, 100, 100)
    """

    rate: float = 1.0
    mean: float | Sequence[float] = 0.0
    sigma: float = 1.0
    initial_mean: float | Sequence[float] = 2.0
    initial_std: float = 0.5
    dimension: int = 2

    def _check(self) -> None:
        self._check_positive("rate", "sigma", "dimension")
        self._check_not_negative("initial_std")
        vector(self.mean, self.dimension, "mean")
        vector(self.initial_mean, self.dimension, "initial_mean")

    def process(self) -> Diffusion:
        """Return the true process; its score is that of the marginals from the start."""
        return Diffusion(
            drift=self.drift,
            diffusion=self.sigma,
            score=self.score,
            potential=self.potential,
        )

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``−θ (x − μ)``, shape ``(n, d)``."""
        displacement = x - self._mean_like(x)
        return -self.rate * displacement

    def potential(self, t: Time, x: Tensor) -> Tensor:
        """``−½ θ |x − μ|²``, shape ``(n,)``; its gradient is the drift."""
        displacement = x - self._mean_like(x)
        square = displacement.square().sum(-1)
        return -0.5 * self.rate * square

    def score(self, t: Time, x: Tensor) -> Tensor:
        """``∇ log ρ_t(x) = −(x − m(t)) / v(t)``, shape ``(n, d)``."""
        t = time_like(t, x)
        variance = self.marginal_variance(t)
        displacement = x - self.marginal_mean(t)
        return -displacement / variance.unsqueeze(-1)

    def probability_flow(self, t: Time, x: Tensor) -> Tensor:
        """Noise-free velocity with the same marginals, ``drift − ½ σ² score``, ``(n, d)``."""
        half_square = self.sigma**2 / 2
        score = self.score(t, x)
        osmotic = half_square * score
        return self.drift(t, x) - osmotic

    def log_density(self, t: Time, x: Tensor) -> Tensor:
        """``log ρ_t(x)``, shape ``(n,)``."""
        t = time_like(t, x)
        variance = self.marginal_variance(t)
        displacement = x - self.marginal_mean(t)
        square = displacement.square().sum(-1)
        log_norm = torch.log(2 * math.pi * variance)
        log_volume = self.dimension * log_norm
        return -(square / variance + log_volume) / 2

    def marginal_mean(self, t: Time) -> Tensor:
        """``m(t)``, shape ``(..., d)`` for times of shape ``(...)``."""
        t = _time(t)
        start = vector(self.initial_mean, self.dimension, "initial_mean")
        mean = self._mean_like(t)
        displacement = start.to(t) - mean
        decay = torch.exp(-self.rate * t)
        return mean + decay.unsqueeze(-1) * displacement

    def marginal_variance(self, t: Time) -> Tensor:
        """``v(t)`` of each coordinate, the shape of ``t``."""
        t = _time(t)
        # Of the variance: twice the rate of the mean.
        exponent = -2 * self.rate * t
        decay = torch.exp(exponent)
        remembered = decay * self.initial_std**2
        return remembered + self.transition_variance(t)

    def transition_variance(self, gap: Time) -> Tensor:
        """Variance of ``X_{s+gap}`` given ``X_s``, ``σ²/2θ (1 − e^{−2θ gap})``."""
        duration = _time(gap)
        exponent = -2 * self.rate * duration
        # expm1, so that short gaps do not lose their digits.
        return -self.stationary_variance * torch.expm1(exponent)

    @property
    def stationary_variance(self) -> float:
        """``σ²/2θ``, the long-time variance of each coordinate."""
        return self.sigma**2 / (2 * self.rate)

    def autocovariance(self, s: float, t: float) -> float:
        """Covariance of one coordinate at two times, ``e^{−θ|t−s|} v(min(s, t))``."""
        gap = abs(t - s)
        decay = math.exp(-self.rate * gap)
        earlier = min(s, t)
        variance = self.marginal_variance(earlier)
        return decay * variance.item()

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` exact samples of the distribution at time ``t``, ``(n, d)`` float32."""
        check_draw(n, seed, t)
        noise = normals(seed, "sample", n, self.dimension)
        std = self.marginal_variance(t).sqrt()
        mean = self.marginal_mean(t)
        x = mean + std * noise
        return x.float()

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Draw ``n`` individuals at increasing times from the exact transitions."""
        times = check_times(times)
        check_draw(n, seed)
        n_times = len(times)
        noise = normals(seed, "paths", n_times, n, self.dimension)
        first, *kicks = noise
        mean = self._mean_like(noise)
        start = times[0]
        std = self.marginal_variance(start).sqrt()
        mean_at_start = self.marginal_mean(start)
        x = mean_at_start + std * first
        states = [x]
        gaps = np.diff(times).tolist()
        # The transitions are Gaussian, so that any gap is one exact step.
        steps = zip(gaps, kicks, strict=True)
        for gap, kick in steps:
            decay = math.exp(-self.rate * gap)
            expected = mean + decay * (x - mean)
            std = self.transition_variance(gap).sqrt()
            x = expected + std * kick
            states.append(x)
        in_time = torch.stack(states, dim=1)
        return paths_of(times, in_time)

    def _mean_like(self, x: Tensor) -> Tensor:
        return vector(self.mean, self.dimension, "mean").to(x)


def _time(t: Time) -> Tensor:
    """Keep the precision of a tensor; a number is a float64 one."""
    if isinstance(t, Tensor):
        return t
    return torch.tensor(t, dtype=torch.float64)
