"""Potentials found in the data: from the snapshots given to ``fit``, less what is held out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.transport.lagrangians.hamiltonian import Potential
from dyninfer.transport.lagrangians.kernels import Kernels
from dyninfer.transport.lagrangians.terms import Lagrangian


@dataclass(repr=False, eq=False)
class MeanAcceleration(Lagrangian):
    r"""Potential whose force is the acceleration of the population mean (arXiv 2310.10649).

    .. math:: V(t, x) = -\langle a(t), x - m(t)\rangle, \qquad
        a(t_k) = \frac{2}{t_{k+1} - t_{k-1}}
        \Big(\frac{m_{k+1} - m_k}{t_{k+1} - t_k} - \frac{m_k - m_{k-1}}{t_k - t_{k-1}}\Big)

    with the means ``m_k`` of the snapshots, ``a`` linear in time between the inner snapshots and
    constant beyond them. Needs three snapshots.

    Parameters
    ----------
    strength : float
        Factor of the acceleration.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.OptimalTransport() + di.MeanAcceleration()
    OptimalTransport() + MeanAcceleration()
    """

    strength: float = 1.0

    def check(self) -> None:
        """Raise a ValueError where the strength is not finite."""
        super().check()
        if not math.isfinite(self.strength):
            raise ValueError(f"MeanAcceleration.strength must be finite, found {self.strength}")

    def potential(self, data: Snapshots, scaling: Scaling) -> Potential:
        """V in scaled units, from the weighted means of ``data``."""
        if data.n_times < 3:
            raise ValueError(
                "MeanAcceleration needs at least three times to see an acceleration, these data "
                f"have {data.n_times}; leave it out, or hold out fewer times"
            )
        t = scaling.times(data.times)
        states_by_time = _weighted_states(data, scaling)
        means = [weights @ states for weights, states in states_by_time]
        m = np.stack(means)
        velocity = _slopes(m, np.diff(t))
        # Velocities are those of the midpoints of neighbouring intervals.
        between = t[2:] - t[:-2]
        between_midpoints = 0.5 * between
        acceleration = _slopes(velocity, between_midpoints)
        inner_times = t[1:-1]
        force = _Curve(inner_times, self.strength * acceleration)
        mean = _Curve(t, m)
        return _LinearForce(force, origin=mean)


def _slopes(values: ndarray, gaps: ndarray) -> ndarray:
    """Differences of neighbouring rows ``(n, d)`` over their gaps ``(n − 1,)``."""
    steps = np.diff(values, axis=0)
    return steps / gaps[:, None]


class _Curve:
    """Piecewise linear curve ``(K,), (K, d)``, constant beyond its ends."""

    def __init__(self, times: ndarray, values: ndarray):
        self.times = torch.as_tensor(times)
        self.values = torch.as_tensor(values)

    def __call__(self, t: Tensor) -> Tensor:
        times = self.times.to(t)
        values = self.values.to(t)
        last = len(times) - 1
        if last == 0:
            return values.expand(len(t), -1)
        after = torch.searchsorted(times, t.contiguous())
        after = after.clamp(1, last)
        before = after - 1
        start = times[before]
        gap = times[after] - start
        part = (t - start) / gap
        # Constant beyond the ends: an acceleration that went on would carry everything away.
        part = part.clamp(0, 1)
        return torch.lerp(values[before], values[after], part[:, None])


class _LinearForce:
    """Potential ``−⟨a(t), x − m(t)⟩``."""

    def __init__(self, force: _Curve, origin: _Curve):
        self.force = force
        self.origin = origin

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        displacement = x - self.origin(t)
        work = self.force(t) * displacement
        return -work.sum(1)


@dataclass(repr=False, eq=False)
class DataManifold(Lagrangian):
    r"""Potential that keeps paths in regions where data are dense.

    .. math:: V(x) = \kappa \Big(\log\big(\hat p(x) + \alpha \bar p\big)
        - E\log\big(\hat p + \alpha \bar p\big)\Big), \qquad
        \hat p(x) = \sum_j w_j \exp\Big(-\frac{|x - c_j|^2}{2 h_j^2}\Big)

    over landmarks ``c_j`` of all snapshots given to ``fit``, :math:`\bar p` being the mean of
    :math:`\hat p` over them. The action ``½|ẋ|² − V`` is smaller where data are denser, so a path
    bends around empty space; ``strength`` sets how much longer it may become. The data-dependent
    metric of Metric Flow Matching (arXiv 2405.14780) is the model; as an energy, it keeps the
    velocity the gradient of one potential.

    Parameters
    ----------
    strength : float
        κ, in units of a squared standard deviation of the data per squared duration of the
        experiment (that is, of scaled units).
    kernel : {"rbf", "gaussian"}
        "rbf": every landmark has its own width, the spread of the cells nearest to it; "gaussian":
        one width for all.
    n_landmarks : int
        Number of kernel centres (k-means), at most one per eight cells.
    bandwidth : float
        Factor of the widths.
    floor : float
        α: density, relative to its mean over the data, below which the cost rises no further;
        bounds the force far from the data.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.OptimalTransport() + di.DataManifold(strength=0.5)
    OptimalTransport() + DataManifold(strength=0.5)
    """

    strength: float = 1.0
    kernel: Literal["rbf", "gaussian"] = "rbf"
    n_landmarks: int = 256
    bandwidth: float = 1.0
    floor: float = 0.01

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        super().check()
        for name in ("strength", "bandwidth", "floor"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(f"DataManifold.{name} must be positive, found {value}")
        if self.kernel not in ("rbf", "gaussian"):
            raise ValueError(
                f"DataManifold.kernel must be 'rbf' or 'gaussian', found {brief(self.kernel)}"
            )
        if self.n_landmarks < 2:
            raise ValueError(
                f"DataManifold.n_landmarks must be at least 2, found {self.n_landmarks}"
            )

    def potential(self, data: Snapshots, scaling: Scaling) -> Potential:
        """V in scaled units, from landmarks of ``data``."""
        from sklearn.cluster import MiniBatchKMeans

        states_by_time = _weighted_states(data, scaling)
        weights, states = zip(*states_by_time, strict=True)
        x = np.concatenate(states)
        x = x.astype(np.float64)
        weight = np.concatenate(weights)
        weight = weight / data.n_times
        # Fewer cells a landmark would make its width zero.
        most = max(2, len(x) // 8)
        n = min(self.n_landmarks, most)
        # A seed of its own would make the same data two landscapes.
        clusters = MiniBatchKMeans(n, random_state=0, n_init=1, batch_size=2048)
        # k-means takes weights that are one on average.
        sample_weight = weight * len(x)
        clusters.fit(x, sample_weight=sample_weight)
        label = clusters.labels_
        centre = clusters.cluster_centers_
        n_centres = len(centre)
        mass = np.bincount(label, weight, n_centres)
        deviation = x - centre[label]
        squared = (deviation**2).sum(1)
        moments = weight * squared
        spread = np.bincount(label, moments, n_centres)
        mean_square = spread.sum() / mass.sum()
        # A cluster of few cells borrows from the mean, so that no kernel is a spike.
        prior = mass.mean()
        total = spread + prior * mean_square
        variance = total / (mass + prior)
        width = np.sqrt(variance)
        if self.kernel == "gaussian":
            width[:] = np.sqrt(mean_square)
        width = self.bandwidth * width
        # A thousandth of a standard deviation: duplicated cells would make a kernel a spike.
        width = np.maximum(width, 1e-3)
        kernels = Kernels(centre, width, mass)
        return _LogDensity(self.strength, kernels, self.floor, x)


def _weighted_states(data: Snapshots, scaling: Scaling) -> list[tuple[ndarray, ndarray]]:
    """Weights ``(n,)`` and scaled states ``(n, d)`` of every snapshot."""
    pairs = []
    every_time = zip(data.times, data.samples, strict=True)
    for t, sample in every_time:
        weights = data.weights_at(t)
        states = scaling.states(sample)
        pairs.append((weights, states))
    return pairs


class _LogDensity:
    """κ log of a kernel density, bounded below, and zero on average over the data."""

    def __init__(self, strength: float, kernels: Kernels, floor: float, x: ndarray):
        self.strength = strength
        self.kernels = kernels
        # A few thousand cells say where the mean is.
        step = max(1, len(x) // 4096)
        sample = torch.as_tensor(x[::step])
        log_density = kernels.log_density(sample)
        log_sum = float(torch.logsumexp(log_density, 0))
        log_size = math.log(len(sample))
        log_mean = log_sum - log_size
        self.log_floor = log_mean + math.log(floor)
        floored = self._floored(log_density)
        self.offset = float(floored.mean())

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        log_density = self.kernels.log_density(x)
        excess = self._floored(log_density) - self.offset
        return self.strength * excess

    def _floored(self, log_density: Tensor) -> Tensor:
        log_floor = torch.full_like(log_density, self.log_floor)
        return torch.logaddexp(log_density, log_floor)
