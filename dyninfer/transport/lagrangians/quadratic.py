"""Diffusion bridges in a quadratic potential, and the quadratic that is nearest to a potential."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.learning.random import numpy_stream
from dyninfer.learning.warn import warn
from dyninfer.transport.lagrangians.hamiltonian import Potential, ScaledLagrangian

# States at which a potential is asked: a quadratic of 50 features has 1,275 numbers.
N_STATES = 4096
# Of quadratic and width in turn: that of −2x⁴ is then within its sampling error of 5 %.
N_ROUNDS = 8
# Share of the force below which a departure from the quadratic is rounding.
NEGLIGIBLE = 1e-3
# Part of the longest possible time over which the nearest quadratic lets cells swing.
SAFE_SWING = 0.8
# Part of the way before the second point at which the bridge's pull stops to grow.
CLOSEST = 1e-4


class BridgeMoments(NamedTuple):
    """Means ``from_start x + from_end y + shift`` of bridges, and spread, by axis ``(n, d)``."""

    from_start: Tensor
    from_end: Tensor
    shift: Tensor
    spread: Tensor  # standard deviation


class Pull(NamedTuple):
    """Drift ``to_end y + push − back x`` of bridges at ``x`` on the way to ``y``, ``(n, d)``."""

    to_end: Tensor
    push: Tensor
    back: Tensor


@dataclass(frozen=True)
class QuadraticBridge:
    r"""Bridges of the diffusion ``σ dW`` that is reweighted by a quadratic potential.

    The Schrödinger problem with ``V`` has the reference :math:`e^{\int V dt/\sigma^2}\,dW`. For
    :math:`V = g \cdot x - \tfrac12 \sum_i k_i x_i^2` its kernel is Mehler's, and its bridge
    between two points in time ``T`` is normal along every axis, with ``ω = √k``:

    .. math:: \ddot m = k m - g, \qquad
        S(t) = \sigma^2 \frac{\sinh \omega t\, \sinh \omega(T - t)}{\omega \sinh \omega T}

    Where ``k`` is negative, the hyperbolic functions are the circular ones, and ``|ω| T < π``.

    Attributes
    ----------
    sigma : float
        Noise amplitude, in scaled units as all else.
    axes : tensor ``(d, d)``
        Orthonormal axes of the quadratic, in columns.
    stiffness, slope : tensors ``(d,)``
        ``k`` and ``g`` along the axes.
    departure : float
        Share of the force that the quadratic does not explain.
    steady : bool
        Whether ``g`` is the same at all times; else ``slope`` is its mean.
    """

    sigma: float
    axes: Tensor
    stiffness: Tensor
    slope: Tensor
    departure: float = 0.0
    steady: bool = True

    @property
    def exact(self) -> bool:
        """Whether width and pairs are those of the potential itself."""
        return self.departure <= NEGLIGIBLE

    @property
    def solved(self) -> bool:
        """Whether the mean is, too, so that nothing is left to bend."""
        return self.exact and self.steady

    def moments(self, elapsed: Tensor, gap: Tensor) -> BridgeMoments:
        """Moments at times ``(n,)`` after the start of bridges that take ``gap`` ``(n,)``."""
        omega, t, T = self._complex(elapsed, gap)
        rest = T - t
        from_start = _sinh_ratio(omega, rest, T)
        from_end = _sinh_ratio(omega, t, T)
        lift = 1 - from_start - from_end
        push = self.slope * lift
        shift = push / self._k
        # sinh ωt · sinh ωr / (ω sinh ωT), in exponentials that do not overflow.
        early = _fall(omega, t)
        late = _fall(omega, rest)
        both_ways = early * late
        whole = _fall(omega, T)
        whole_way = 2 * omega * whole
        variance = (both_ways / whole_way).real
        # At the very ends its rounding can be negative.
        deviation = variance.clamp_min(0).sqrt()
        return BridgeMoments(
            from_start=from_start.real,
            from_end=from_end.real,
            shift=shift.real,
            spread=self.sigma * deviation,
        )

    def pull(self, rest: Tensor) -> Pull:
        """Drift of bridges that have the time ``(n,)`` to go."""
        omega, _, r = self._complex(rest, rest)
        back = _times_coth(omega, r)
        to_end = _inverse_length(omega, r)
        excess = back - to_end
        rise = self.slope * excess
        push = rise / self._k
        return Pull(to_end.real, push.real, back.real)

    def mean(self, elapsed: Tensor, gap: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean ``(n, d)`` of the bridges from ``x`` to ``y``, and its rate of change."""
        start = self._along(x)
        end = self._along(y)
        moments = self.moments(elapsed, gap)
        from_start = moments.from_start * start
        from_end = moments.from_end * end
        position = from_start + from_end + moments.shift
        # Seen from the farther end, whose pull is finite; from the other the way is run backwards.
        left = gap - elapsed
        onward = self._drift(position, end, left, gap)
        homeward = self._drift(position, start, elapsed, gap)
        is_early = elapsed < 0.5 * gap
        velocity = torch.where(is_early[:, None], onward, -homeward)
        mean_position = self._across(position, x)
        mean_velocity = self._across(velocity, x)
        return mean_position, mean_velocity

    def noise(self, elapsed: Tensor, gap: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Displacement ``(n, d)`` by standard normals ``z``, what it adds to the drift, its score.

        The score is that of the bridge's density; towards its ends, where that vanishes, it stops
        to grow.
        """
        spread = self.moments(elapsed, gap).spread
        displacement = spread * z.double()
        least_variance = CLOSEST * gap.double()
        least = self.sigma * least_variance.sqrt()
        width = torch.maximum(spread, least[:, None])
        score = -z.double() / width
        rest = _open(gap - elapsed, gap)
        back = self.pull(rest).back
        drift = -back * displacement
        noise_position = self._across(displacement, z)
        noise_velocity = self._across(drift, z)
        return noise_position, noise_velocity, self._across(score, z)

    def coordinates(self, states: ndarray, gap: float) -> ndarray:
        """States ``(n, d)`` in which the static problem is that of Brownian motion in unit time.

        Of the cost of a way only its product term counts, ``−ω x y / sinh ωT``: what depends on one
        end alone is the same for all partners.
        """
        points = torch.from_numpy(states)
        own = points.to(self.axes)
        along = own @ self.axes
        rest = along.new_tensor([gap])
        unit = self.pull(rest).to_end.sqrt()
        scaled = along * unit
        return scaled.numpy(force=True).astype(states.dtype)

    def _drift(self, position: Tensor, end: Tensor, rest: Tensor, gap: Tensor) -> Tensor:
        """Drift at a position along the axes, of bridges to ``end``."""
        pull = self.pull(_open(rest, gap))
        towards = pull.to_end * end
        away = pull.back * position
        return towards + pull.push - away

    @property
    def _k(self) -> Tensor:
        """Stiffness without zeros, at which the formulas are limits."""
        # sinh ωT and ωT differ by (ωT)²/6 of themselves: 2e-7, the rounding of float32.
        least = 1e-6
        is_tiny = self.stiffness.abs() < least
        return self.stiffness.masked_fill(is_tiny, least)

    def _complex(self, elapsed: Tensor, gap: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """``ω`` ``(d,)``, which is imaginary where k is negative, and times ``(n, 1)``."""
        k = self._k.to(torch.complex128)
        omega = k.sqrt()
        t = elapsed.double()
        T = gap.double()
        return omega, t[:, None], T[:, None]

    def _along(self, states: Tensor) -> Tensor:
        return states.double() @ self.axes

    def _across(self, states: Tensor, like: Tensor) -> Tensor:
        turned = states @ self.axes.T
        return turned.to(like.dtype)


def nearest_quadratic(
    V: Potential, t: Tensor, x: Tensor, other: Tensor, sigma: float, gap: float
) -> QuadraticBridge:
    """Fit the force of a potential by a linear one, over states that samples are likely to visit.

    Parameters
    ----------
    V : callable
        Potential energy in scaled units.
    t : tensor ``(n,)``
    x, other : tensors ``(n, d)``
        Two states at every time: their difference in force is free of what only time changes.
    sigma : float
    gap : float
        Longest interval.

    Raises
    ------
    ValueError
        If cells would swing for more than half a period between two snapshots.
    """
    slope = _gradient(V, t, x)
    other_slope = _gradient(V, t, other)
    displacement = x.double() - other.double()
    difference = slope - other_slope
    hessian = torch.linalg.pinv(displacement) @ difference
    hessian = 0.5 * (hessian + hessian.T)
    # Of a constant force all differences are rounding.
    rounding = 1e-3 * _size(slope)
    size = _size(difference) + rounding
    # Where there is no force at all, nothing departs from it.
    size = size.clamp_min(1e-300)
    linear = displacement @ hessian
    departure = _size(difference - linear) / size
    intercept = slope - x.double() @ hessian
    mean_slope = intercept.mean(0)
    drifting = _size(intercept - mean_slope) / size
    steady = float(drifting) <= NEGLIGIBLE
    curvature, axes = torch.linalg.eigh(hessian)
    stiffness = -curvature
    limit = (math.pi / gap) ** 2
    if departure <= NEGLIGIBLE and float(stiffness.min()) <= -limit:
        raise ValueError(
            "the potential's action has no least value: in it a cell swings for more than half a "
            "period between two snapshots; take a weaker potential or snapshots closer in time"
        )
    return QuadraticBridge(
        sigma=sigma,
        axes=axes,
        stiffness=stiffness.clamp_min(-SAFE_SWING * limit),
        slope=mean_slope @ axes,
        departure=float(departure),
        steady=steady,
    )


def with_bridge(
    lagrangian: ScaledLagrangian,
    samples: list[ndarray],
    times: ndarray,
    like: Tensor,
    seed: int,
) -> ScaledLagrangian:
    """Add the bridges of noise in a potential, and warn where they are not its own.

    Parameters
    ----------
    lagrangian : ScaledLagrangian
    samples : list of arrays ``(n_k, d)``
        Scaled states at the scaled ``times``; the quadratic is fitted about the ways between them.
    times : array ``(K,)``
    like : tensor
        Of the device and dtype in which the potential is asked.
    seed : int
    """
    V = lagrangian.potential
    if V is None or not lagrangian.sigma:
        return lagrangian
    if lagrangian.growth_penalty is not None:
        warn(
            "noise, growth and a potential together have no closed form: pairs and noise width are "
            "those without the potential, and only mean paths feel it; without growth, or "
            "without noise, the problem is solved",
        )
        return lagrangian
    n_features = samples[0].shape[1]
    zero = torch.zeros(n_features, dtype=torch.float64, device=like.device)
    # Without force at first: Brownian bridges. Their width decides what a quadratic must fit, and
    # the quadratic their width, so the two are found in turn.
    axes = torch.eye(n_features).to(zero)
    bridge = QuadraticBridge(lagrangian.sigma, axes, stiffness=zero, slope=zero)
    gap = float(np.diff(times).max())
    for k in range(N_ROUNDS):
        rng = numpy_stream(seed, "potential", k)
        t = rng.uniform(0, 1, N_STATES)
        x = _likely_states(bridge, t, samples, times, rng)
        other = _likely_states(bridge, t, samples, times, rng)
        at = torch.as_tensor(t).to(like)
        x = x.to(like)
        other = other.to(like)
        bridge = nearest_quadratic(V, at, x, other, lagrangian.sigma, gap)
        if bridge.exact:
            return replace(lagrangian, bridge=bridge)
    warn(
        f"the potential is not quadratic ({bridge.departure:.0%} of the change of its force is "
        "not): pairs and noise width are those of the nearest quadratic, and only mean "
        "paths feel the rest; with weaker noise or closer snapshots this matters less",
    )
    return replace(lagrangian, bridge=bridge)


def _likely_states(
    bridge: QuadraticBridge,
    t: ndarray,
    samples: list[ndarray],
    times: ndarray,
    rng: np.random.Generator,
) -> Tensor:
    """States ``(n, d)`` at times ``(n,)`` of bridges between random samples."""
    inner_times = times[1:-1]
    interval = np.searchsorted(inner_times, t, side="right")
    n_features = samples[0].shape[1]
    ends = np.empty((2, len(t), n_features))
    for k in range(len(samples) - 1):
        rows = np.flatnonzero(interval == k)
        pair = samples[k : k + 2]
        for states, sample in zip(ends, pair, strict=True):
            n_here = len(rows)
            picks = rng.integers(len(sample), size=n_here)
            states[rows] = sample[picks]
    z = rng.normal(size=ends[0].shape)

    def placed(values: ndarray) -> Tensor:
        return torch.from_numpy(values).to(bridge.axes)

    elapsed = placed(t - times[interval])
    gaps = np.diff(times)
    gap = placed(gaps[interval])
    start, end = map(placed, ends)
    mean, _ = bridge.mean(elapsed, gap, start, end)
    normals = placed(z)
    displacement, _, _ = bridge.noise(elapsed, gap, normals)
    return mean + displacement


def _gradient(V: Potential, t: Tensor, x: Tensor) -> Tensor:
    """Gradient of the potential ``(n, d)`` in double precision; zeros where it has none."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        total = V(t, x).sum()
        if not total.requires_grad:
            return torch.zeros_like(x, dtype=torch.float64)
        (slope,) = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
    return slope.double()


def _size(values: Tensor) -> Tensor:
    """Root mean square."""
    return values.square().mean().sqrt()


def _open(rest: Tensor, gap: Tensor) -> Tensor:
    """Time to go, kept off zero."""
    return torch.maximum(rest, CLOSEST * gap)


def _fall(omega: Tensor, u: Tensor) -> Tensor:
    """``1 − exp(−2ωu)``: exponentials of large ``ωu`` vanish here and do not overflow."""
    exponent = -2 * omega * u
    return -torch.expm1(exponent)


def _sinh_ratio(omega: Tensor, u: Tensor, w: Tensor) -> Tensor:
    """``sinh ωu / sinh ωw``."""
    exponent = omega * (u - w)
    decay = torch.exp(exponent)
    return decay * _fall(omega, u) / _fall(omega, w)


def _inverse_length(omega: Tensor, r: Tensor) -> Tensor:
    """``ω / sinh ωr``."""
    decay = torch.exp(-omega * r)
    rate = 2 * omega * decay
    return rate / _fall(omega, r)


def _times_coth(omega: Tensor, r: Tensor) -> Tensor:
    """``ω coth ωr``."""
    fall = _fall(omega, r)
    return omega * (2 - fall) / fall
