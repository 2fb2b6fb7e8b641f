"""A velocity that is linear in each feature, known from moments of pairs, below that of a network.

Partners in fifty features are nearly independent in most of them. The flow must then draw cells
together until halfway and spread them again, at a rate linear in the state: one product of time and
state for every feature, which a perceptron learns slowly. Moments of the pairs say it at once.
"""

from __future__ import annotations

import copy
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Generator, Tensor, nn

from dyninfer.diffusions.growth import ramp_nodes
from dyninfer.learning.networks import VectorNetwork
from dyninfer.learning.own_networks import OwnVectorNetwork
from dyninfer.transport.couplings import Coupled, CoupledSamples
from dyninfer.transport.schedule import Schedule

# Pairs of every interval from which moments are taken: variances are then known within 1 %.
N_PAIRS = 16384
# Least variance, in units of the larger of the two ends. Pairs that are mirrored meet in a point,
# where the rate would be infinite. Independent pairs keep half of the variance.
LEAST_VARIANCE = 0.01
# Degree of the polynomials in time. For independent pairs of equal variance the rate is then met
# within a thousandth of its largest value.
DEGREE = 8
# Largest error of a polynomial, in units of the largest rate. Where a feature is narrow beside the
# noise, the rate has layers at the snapshots that no polynomial follows.
MISFIT = 0.02


class PairMoments(NamedTuple):
    """Moments of the pairs, or chains, of an interval, with ``K`` ends each."""

    mean: Tensor  # (K, d)
    covariance: Tensor  # (K, K, d)
    noise_length: Tensor  # (d,) of the noise that is added between the ends

    @classmethod
    def of(cls, pairs: Coupled, noise_length: Tensor) -> Self:
        """Moments of a draw, in double precision."""
        ends = pairs.knots.double().cpu()
        # Twice the mass in the middle of the interval.
        mass = pairs.log_start.exp() + pairs.log_end.exp()
        weight = mass.double().cpu()
        share = weight / weight.sum()
        mean = torch.einsum("n,nid->id", share, ends)
        distance = ends - mean
        covariance = torch.einsum("n,nid,njd->ijd", share, distance, distance)
        return cls(mean, covariance, noise_length)

    def between(self, one: Tensor, other: Tensor) -> Tensor:
        """Covariance ``(n, d)`` of two weighted sums of the ends, weights ``(n, K)``."""
        return torch.einsum("ni,ijd,nj->nd", one, self.covariance, other)

    def least_variance(self) -> Tensor:
        """What a variance ``(d,)`` is divided by at least."""
        of_ends = self.covariance.diagonal()
        largest = of_ends.amax(1)
        # A feature that never changes has no variance at all, and no covariance either.
        tiny = torch.finfo(largest.dtype).tiny
        return (LEAST_VARIANCE * largest).clamp(min=tiny)


class WithLinearPart(nn.Module):
    r"""What a network learns, plus a velocity that is linear in each feature by itself.

    With ``m`` and ``v`` the mean and the variance of a feature of ``x_t = I(t, x_0, x_1) + γ z``,
    and ``c`` its covariance with ``∂I/∂t + γ' z``, the velocity of a feature is

    .. math:: b(t, x) = m'(t) + \frac{c(t)}{v(t)} (x - m(t)) + f(t, x)

    where ``f`` is the network's. Without ``f`` it is the best of all that are linear in a feature,
    and right for normal populations whose features are independent.

    The linear part is kept as polynomials in time; a feature that these cannot follow is left to
    the network. At a snapshot it jumps; there it passes from one side to the other along a short
    ramp, as growth rates do.

    Parameters
    ----------
    network : VectorNetwork or OwnVectorNetwork
        Its first outputs are ``f``. Those behind, such as a growth rate, are left as they are.
    schedule : Schedule
        The interpolant over the times of the snapshots.
    """

    nodes: Tensor
    inner_nodes: Tensor
    exponents: Tensor
    coefficients: Tensor

    def __init__(self, network: VectorNetwork | OwnVectorNetwork, schedule: Schedule):
        super().__init__()
        self.network = network
        self.n_features = network.n_features
        # Of the precision of weights, as all of a process is.
        nodes = ramp_nodes(schedule.knots).float()
        inner_nodes = nodes[1:-1].clone()
        exponents = torch.arange(DEGREE + 1).to(nodes)
        n_segments = len(nodes) - 1
        # Of offset and rate, which are zero until the moments are known.
        coefficients = torch.zeros(n_segments, DEGREE + 1, 2 * self.n_features)
        self.register_buffer("nodes", nodes, persistent=False)
        self.register_buffer("inner_nodes", inner_nodes, persistent=False)
        self.register_buffer("exponents", exponents, persistent=False)
        self.register_buffer("coefficients", coefficients.to(nodes))

    def breaks(self) -> Tensor:
        """Times ``(k,)`` float64 where the linear part bends: the ends of its ramps."""
        return self.inner_nodes.double()

    def take(
        self,
        samples: CoupledSamples,
        schedule: Schedule,
        noise_length: Tensor,
        generator: Generator,
    ) -> None:
        """Take the linear part from coupled samples.

        Parameters
        ----------
        samples : CoupledSamples
        schedule : Schedule
        noise_length : tensor ``(d,)``
            Length of ``z`` in every feature.
        generator : Generator
        """
        # A few numbers, once: where a device knows no double precision, nothing is lost.
        nodes = self.nodes.double().cpu()
        precise = copy.deepcopy(schedule).double().cpu()
        length = noise_length.double().cpu()
        device = samples.states.device
        n_intervals = len(nodes) // 2
        for k in range(n_intervals):
            interval = torch.full((N_PAIRS,), k, device=device)
            pairs = samples.draw(interval, generator)
            moments = PairMoments.of(pairs, length)
            # Every second segment is an interval; those between are ramps.
            segment = 2 * k
            start = nodes[segment]
            end = nodes[segment + 1]
            solved = polynomials(precise, start, end, moments)
            self.coefficients[segment] = solved.to(self.coefficients)
        self._join()

    def _join(self) -> None:
        """Let ramps lead from the end of an interval to the beginning of the next."""
        intervals = self.coefficients[::2]
        # At the end the powers are all one, and at the beginning their signs alternate.
        signs = (-1.0) ** self.exponents
        signed = signs[:, None] * intervals
        begins = signed.sum(1)[1:]
        ends = intervals.sum(1)[:-1]
        middle = 0.5 * (begins + ends)
        slope = 0.5 * (begins - ends)
        self.coefficients[1::2, 0] = middle
        self.coefficients[1::2, 1] = slope

    def forward(self, t: Tensor, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Outputs ``(n, n_outputs)``; see :class:`~dyninfer.learning.networks.VectorNetwork`."""
        outputs = self.network(t, x, c)
        offset, rate = self._offset_and_rate(t)
        linear = torch.addcmul(offset, rate, x)
        d = self.n_features
        velocity = linear + outputs[:, :d]
        others = outputs[:, d:]
        return torch.cat([velocity, others], 1)

    def divergence(
        self, t: Tensor, x: Tensor, directions: Tensor, c: Tensor | None = None
    ) -> Tensor:
        """``Σ_k v_kᵀ (∂b/∂x) v_k`` ``(n,)`` along directions ``(k, d)`` or ``(n, k, d)``."""
        _, rate = self._offset_and_rate(t)
        squares = directions.square().sum(-2)
        linear = (rate * squares).sum(1)
        return linear + self.network.divergence(t, x, directions, c)

    def _offset_and_rate(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Both ``(n, d)`` at scaled times ``(n,)``, or ``(1, d)`` where one time is common."""
        # Solvers give one time to all states, as a view of one number.
        if t.stride(0) == 0:
            t = t[:1]
        k = torch.searchsorted(self.inner_nodes, t.contiguous(), right=True)
        start = self.nodes[k]
        end = self.nodes[k + 1]
        middle = 0.5 * (start + end)
        half = 0.5 * (end - start)
        part = (t - middle) / half
        # Beyond the snapshots it stays as it was at the last.
        part = part.clamp(-1, 1)
        powers = part[:, None] ** self.exponents
        segments = torch.arange(len(self.coefficients), device=t.device)
        is_own = k[:, None] == segments
        # One product for all segments, where picked coefficients would take d times the memory.
        basis = is_own[:, :, None] * powers[:, None]
        both = basis.flatten(1) @ self.coefficients.flatten(0, 1)
        offset, rate = both.chunk(2, 1)
        return offset, rate


def polynomials(
    schedule: Schedule,
    start: Tensor,
    end: Tensor,
    moments: PairMoments,
) -> Tensor:
    """Coefficients ``(DEGREE + 1, 2 d)`` of offset and rate between two times."""

    def known_at(n: int) -> tuple[Tensor, Tensor]:
        """Powers and values at ``n`` points that are denser towards the ends."""
        points = np.polynomial.chebyshev.chebpts2(n)
        part = torch.as_tensor(points)
        share = 0.5 * (1 + part)
        times = torch.lerp(start, end, share)
        values = linear_velocity(schedule, times, moments)
        powers = torch.linalg.vander(part, N=DEGREE + 1)
        return powers, values

    powers, values = known_at(DEGREE + 1)
    solved = torch.linalg.solve(powers, values)
    # Four times as many points, by which the polynomials are judged.
    powers, values = known_at(4 * DEGREE + 1)
    error = powers @ solved - values
    misfit = error.abs().amax(0)
    size = values.abs().amax(0)
    is_followed = misfit <= MISFIT * size
    # Offset and rate belong together: without one, a feature is left to the network.
    offset, rate = is_followed.chunk(2)
    both = offset & rate
    return solved * both.repeat(2)


def linear_velocity(schedule: Schedule, times: Tensor, moments: PairMoments) -> Tensor:
    """Offset and rate ``(n, 2 d)`` of the velocity that is linear in every feature by itself.

    Parameters
    ----------
    schedule : Schedule
    times : tensor ``(n,)``
        Scaled times within one interval.
    moments : PairMoments
    """
    moment = schedule.moment(times)
    center = moment.weights @ moments.mean
    speed = moment.slopes @ moments.mean
    variance = moments.between(moment.weights, moment.weights)
    with_velocity = moments.between(moment.slopes, moment.weights)
    if moment.gamma is not None and moment.gamma_slope is not None:
        square = moments.noise_length.square()
        own = moment.gamma.square()
        change = moment.gamma * moment.gamma_slope
        variance = variance + own[:, None] * square
        with_velocity = with_velocity + change[:, None] * square
    floor = moments.least_variance()
    rate = with_velocity / torch.maximum(variance, floor)
    offset = speed - rate * center
    return torch.cat([offset, rate], 1)
