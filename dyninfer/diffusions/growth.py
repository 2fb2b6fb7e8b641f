"""Growth rates: their mean is known, their differences are learned and bounded off the data."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from dyninfer.learning.scaling import Scaling

# Part of the shorter of two intervals, on either side of their common time, over which the rate
# passes from one to the other: a jump would make solvers reject their steps.
_RAMP = 0.01
# Rates that no learned growth reaches: before the data have set a bound, there is none.
_UNBOUNDED = 1e6
# A range of zero, of a growth that is the same everywhere, has no reach to divide by.
_LEAST_REACH = 1e-3
# Parts of an interval in which averages are taken: the mass may dip between two snapshots.
_BINS = 8
# Outer parts of the learned rates that set no bound: a few draws are in corners of the data.
_TAIL = 1e-3


def ramp_nodes(knots: Tensor) -> Tensor:
    """Times between which something that differs by interval holds, or passes to the next.

    Parameters
    ----------
    knots : tensor ``(K,)``
        Times of the snapshots.

    Returns
    -------
    tensor ``(2 K − 2,)``
        First and last time of every interval without its ramps.
    """
    gaps = knots.diff()
    shorter = torch.minimum(gaps[1:], gaps[:-1])
    ramps = _RAMP * shorter
    inner = knots[1:-1]
    begins = inner - ramps
    ends = inner + ramps
    around = torch.stack([begins, ends], 1)
    corners = around.flatten()
    return torch.cat([knots[:1], corners, knots[-1:]])


class BoundedGrowth(nn.Module):
    r"""The rate ``g`` that belongs to what a network says, ``u``, in scaled units.

    .. math:: g(t, x) = r_k + f_k\big(u(t, x)\big), \qquad
        r_k = \frac{\log (M_{k+1} / M_k)}{t_{k+1} - t_k} - \bar u_k

    in the interval k. The first part of r is what the masses M of the snapshots say, and is not
    learned. Of the network only the deviation from a mean ū of the interval counts: that over the
    data (:meth:`settle`), or that with which a run has the known total (:meth:`set_total`).

    The function f is the identity in the range ``[ℓ, h]`` that u has on the data, and saturates
    half a range beyond: ``h + ρ tanh((u − h)/ρ)`` above, with ``ρ = (h − ℓ)/2``, and likewise
    below. Away from the data a fitted potential may have any value, and its exponential any size.

    Parameters
    ----------
    knots : array ``(K,)``
        Scaled times of the snapshots.
    log_masses : array ``(K,)``
        Logarithms of their masses.
    """

    nodes: Tensor
    rate: Tensor
    low: Tensor
    high: Tensor
    known_rate: Tensor

    def __init__(self, knots: Any, log_masses: Any):
        super().__init__()
        knots = torch.as_tensor(knots, dtype=torch.float64)
        log_masses = torch.as_tensor(log_masses, dtype=torch.float64)
        gaps = knots.diff()
        # Two nodes for every interval, between which nothing changes.
        nodes = ramp_nodes(knots)
        rate = (log_masses.diff() / gaps).repeat_interleave(2)
        self.register_buffer("nodes", nodes.float())
        self.register_buffer("rate", rate.float())
        self.register_buffer("known_rate", rate.float())
        unbounded = torch.full_like(self.rate, _UNBOUNDED)
        self.register_buffer("low", -unbounded)
        self.register_buffer("high", unbounded)

    @classmethod
    def between(cls, times: Any, masses: Any, scaling: Scaling) -> Self:
        """Growth between snapshots of known masses ``(K,)``, or None, at the user's times."""
        if masses is None:
            masses = np.ones(len(times))
        scaled_times = scaling.times(times)
        log_masses = np.log(masses)
        return cls(scaled_times, log_masses)

    def forward(self, t: Tensor, value: Tensor) -> Tensor:
        """Growth rate ``(n,)`` for the network's values ``(n,)`` at times ``(n,)``."""
        low = self._at(t, self.low)
        high = self._at(t, self.high)
        reach = 0.5 * (high - low)
        reach = reach.clamp_min(_LEAST_REACH)
        inside = torch.minimum(torch.maximum(value, low), high)
        beyond = value - inside
        excess = reach * torch.tanh(beyond / reach)
        bounded = inside + excess
        return self.mean(t) + bounded

    def breaks(self) -> Tensor:
        """Times ``(k,)`` float64 where the rate bends: the ends of its ramps."""
        return self.nodes[1:-1].double()

    def mean(self, t: Tensor) -> Tensor:
        """Part of the rate ``(n,)`` that is the same for all states."""
        return self._at(t, self.rate)

    def knots(self) -> Tensor:
        """Times ``(K,)`` of the snapshots: the ends, and the middles of the ramps."""
        lower = self.nodes[1:-1:2]
        upper = self.nodes[2:-1:2]
        middles = 0.5 * (lower + upper)
        return torch.cat([self.nodes[:1], middles, self.nodes[-1:]])

    def log_masses(self) -> Tensor:
        """Logarithms of the known masses ``(K,)``, relative to the first."""
        gains = self.known_rate[::2] * self.knots().diff()
        total = gains.cumsum(0)
        return torch.cat([torch.zeros_like(total[:1]), total])

    def set_total(self, log_mass: Tensor) -> None:
        """Let the total be the known one, where it was ``log_mass`` ``(K,)`` with today's rates.

        Of each interval one number is taken: how the total changes within it is learned. Where
        the run began later than the data, ``log_mass`` is that of the last of the times.
        """
        # Of a run that diverged nothing can be said.
        if not bool(log_mass.isfinite().all()):
            return
        gain = log_mass.diff()
        n = len(gain)
        duration = self.knots().diff()[-n:]
        grown = gain / duration
        grown_rate = grown.repeat_interleave(2).to(self.rate)
        excess = grown_rate - self.known_rate[-2 * n :]
        self.rate[-2 * n :] -= excess

    @torch.no_grad()
    def settle(self, time: Tensor, value: Tensor, weight: Tensor | None = None) -> None:
        """Set mean and bounds by the network's values on samples of the density, ``(n,)`` each.

        Parameters
        ----------
        time : Tensor
            Even over the intervals.
        value : Tensor
        weight : Tensor, optional
            Mass of every sample; None where all are one.
        """
        # Of a run that diverged nothing can be said.
        if not bool(value.isfinite().all()):
            return
        if weight is None:
            weight = torch.ones_like(value)
        edges = self.knots()
        borders = edges[1:-1].contiguous()
        interval = torch.searchsorted(borders, time.contiguous(), right=True)
        for k in range(len(edges) - 1):
            own = interval == k
            if not bool(own.any()):
                continue
            # Of samples that weigh next to nothing the network has learned nothing.
            least = _TAIL * weight[own].mean()
            own &= weight > least
            own_value = value[own]
            end = edges[k + 1]
            begin = edges[k]
            length = end - begin
            elapsed = time[own] - begin
            part = elapsed / length
            average = _time_average(part, own_value, weight[own])
            both = slice(2 * k, 2 * k + 2)
            self.rate[both] = self.known_rate[both] - average
            # Quantiles of torch take no more than some millions.
            ordered = own_value.sort().values
            last = len(ordered) - 1
            outer = round(_TAIL * last)
            self.low[both] = ordered[outer]
            self.high[both] = ordered[last - outer]

    def _at(self, t: Tensor, values: Tensor) -> Tensor:
        """Values ``(nodes,)`` at times ``(n,)``, along straight lines between the nodes."""
        return _interpolated(t, self.nodes, values)


def _interpolated(t: Tensor, nodes: Tensor, values: Tensor) -> Tensor:
    """Values at times ``(n,)``, along straight lines between nodes."""
    nodes = nodes.to(t.dtype)
    values = values.to(t.dtype)
    inner = nodes[1:-1].contiguous()
    left = torch.searchsorted(inner, t.contiguous(), right=True)
    right = left + 1
    length = nodes[right] - nodes[left]
    part = (t - nodes[left]) / length
    # Before the first node and after the last, the rate is that of the end.
    part = part.clamp(0, 1)
    before = values[left]
    after = values[right]
    return torch.lerp(before, after, part)


def _time_average(part: Tensor, value: Tensor, weight: Tensor) -> Tensor:
    """Average over an interval of the weighted means at each of its times."""
    row = (part * _BINS).long()
    row = row.clamp(0, _BINS - 1)
    zero = torch.zeros(_BINS, dtype=torch.float64, device=value.device)
    weight = weight.double()
    mass = zero.index_add(0, row, weight)
    total = zero.index_add(0, row, weight * value)
    is_met = mass > 0
    means = total[is_met] / mass[is_met]
    return means.mean()
