"""Times at which a density curve is sampled in training."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from dyninfer.learning.parallel import sum_over_processes


class TimeSampler:
    """Low-discrepancy times in [0, 1], denser where the integrand varies more.

    Times are ``u_n = (u + n √2) mod 1`` with a fresh uniform ``u`` for every batch, pushed through
    the inverse of a piecewise constant density ``p = (1 − α) std(t) / ∫std + α``, where std is a
    running estimate of the standard deviation of the integrand at time t (arXiv 2210.06662,
    appendix on variance reduction). Dividing by p keeps the mean of the loss.

    Parameters
    ----------
    adaptive : bool
        Whether the density follows the integrand; otherwise it is one.
    device, dtype
    bins : int
        Pieces of the density.
    """

    floor = 0.1  # α: no time is drawn less often than this
    memory = 0.99  # of the running moments

    def __init__(self, adaptive: bool, device: torch.device, dtype: torch.dtype, bins: int = 50):
        self.adaptive = adaptive
        self.bins = bins
        # Count, sum and sum of squares: in double precision, as sums of squares cancel.
        zeros = torch.zeros(3, bins, dtype=torch.float64)
        self.moments = zeros.to(device)
        self.density = torch.ones(bins, device=device, dtype=dtype)

    def draw(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Times ``(n,)`` and the density they were drawn from, ``(n,)``."""
        like = self.moments
        shift = torch.rand(1, generator=generator, device=like.device, dtype=like.dtype)
        steps = torch.arange(n, dtype=like.dtype, device=like.device)
        # No fraction is close to √2, so its multiples, modulo 1, fill [0, 1) evenly.
        offsets = steps * 2**0.5
        u = (shift + offsets) % 1
        u = u.to(self.density.dtype)
        if self.adaptive:
            return self._by_density(u)
        density = torch.ones_like(u)
        return u, density

    @torch.no_grad()
    def observe(self, t: Tensor, integrand: Tensor) -> None:
        """Update the density with the integrand ``(n,)`` at times ``(n,)``."""
        if not self.adaptive:
            return
        last = self.bins - 1
        cell = (t * self.bins).long()
        k = cell.clamp(0, last)
        value = integrand.to(self.moments.dtype)
        count = torch.ones_like(value)
        square = value.square()
        powers = torch.stack([count, value, square])
        new = torch.zeros_like(self.moments)
        new.index_add_(1, k, powers)
        sum_over_processes([new])
        self.moments.mul_(self.memory).add_(new)
        density = self._density()
        self.density = density.to(self.density.dtype)

    def state(self) -> dict[str, Tensor]:
        """What a resumed run needs."""
        return {"moments": self.moments, "density": self.density}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.moments = state["moments"]
        self.density = state["density"]

    def _by_density(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Push uniform ``u`` through the inverse distribution function: times and density."""
        cumulative = self.density.cumsum(0) / self.bins
        zero = self.density.new_zeros(1)
        edges = torch.cat([zero, cumulative])
        last = self.bins - 1
        after = torch.searchsorted(edges, u, right=True)
        k = after - 1
        k = k.clamp(0, last)
        low = edges[k]
        high = edges[k + 1]
        width = high - low
        part = (u - low) / width
        t = (k + part) / self.bins
        t = t.clamp(0, 1)
        return t, self.density[k]

    def _density(self) -> Tensor:
        """Density of the times, after the moments."""
        count, total, squares = self.moments
        counted = (count > 1).to(count.dtype)
        at_least_one = count.clamp_min(1)
        mean = total / at_least_one
        mean_square = squares / at_least_one
        variance = mean_square - mean.square()
        # What is left of a difference of squares below this is rounding.
        rounding = 1e-12 * mean.square()
        variance = torch.where(variance > rounding, variance, 0)
        std = variance.sqrt()
        n_counted = counted.sum().clamp_min(1)
        average = (std * counted).sum() / n_counted
        # Bins that were hardly met count as average; where nothing varies, all times are alike.
        comparable = (counted > 0) & (average > 0)
        ratio = std / average
        relative = torch.where(comparable, ratio, 1.0)
        profile = relative / relative.mean()
        adaptive_share = 1 - self.floor
        return adaptive_share * profile + self.floor
