"""Times at which a density curve is sampled in training."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.learning.parallel import sum_over_processes


class TimeSampler:
    """Low-discrepancy times in [0, 1], denser where the integrand varies more.

    Times are ``u_n = (u + n √2) mod 1`` with a fresh uniform ``u`` for every batch, pushed through the inverse of a piecewise
    constant density ``p = (1 − α) std(t) / ∫std + α``, where std is a running estimate of the standard deviation of the
    integrand at time t (arXiv 2210.06662, appendix on variance reduction). Dividing by p keeps the mean of the loss.
    """

    floor = 0.1  # α: no time is drawn less often than this
    memory = 0.99  # of the running moments

    def __init__(self, adaptive: bool, device: torch.device, dtype: torch.dtype, bins: int = 50):
        self.adaptive = adaptive
        self.moments = torch.zeros(
            3, bins, device=device, dtype=torch.float64
        )  # count, sum, sum of squares
        self.density = torch.ones(bins, device=device, dtype=dtype)

    def draw(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Times ``(n,)`` and the density they were drawn from, ``(n,)``."""
        device = self.density.device
        shift = torch.rand(1, generator=generator, device=device, dtype=torch.float64)
        u = ((shift + torch.arange(n, device=device, dtype=torch.float64) * 2**0.5) % 1).to(
            self.density.dtype
        )
        if not self.adaptive:
            return u, torch.ones_like(u)
        bins = len(self.density)
        edges = torch.cat([self.density.new_zeros(1), self.density.cumsum(0) / bins])
        k = (torch.searchsorted(edges, u, right=True) - 1).clamp(0, bins - 1)
        t = (k + (u - edges[k]) / (edges[k + 1] - edges[k])) / bins
        return t.clamp(0, 1), self.density[k]

    @torch.no_grad()
    def observe(self, t: Tensor, integrand: Tensor) -> None:
        """Update the density with the integrand ``(n,)`` that was found at times ``(n,)``."""
        if not self.adaptive:
            return
        bins = len(self.density)
        k = (t * bins).long().clamp(0, bins - 1)
        value = integrand.to(self.moments.dtype)
        new = torch.zeros_like(self.moments)
        new.index_add_(1, k, torch.stack([torch.ones_like(value), value, value.square()]))
        sum_over_processes([new])
        self.moments.mul_(self.memory).add_(new)
        count, total, squares = self.moments
        known = (count > 1).to(value.dtype)
        mean = total / count.clamp_min(1)
        variance = squares / count.clamp_min(1) - mean.square()
        std = torch.where(variance > 1e-12 * mean.square(), variance, 0).sqrt()  # beyond rounding
        # Bins that were hardly seen count as average; where nothing varies, all times are alike.
        average = (std * known).sum() / known.sum().clamp_min(1)
        relative = torch.where((known > 0) & (average > 0), std / average, torch.ones_like(std))
        density = (1 - self.floor) * relative / relative.mean() + self.floor
        self.density = density.to(self.density.dtype)
