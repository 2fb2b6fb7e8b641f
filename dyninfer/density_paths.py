"""Density paths: samples of a population at every time, which is what Action Matching is trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.couplings import Coupling, Plan, sample_chains
from dyninfer.parallel import sum_over_processes
from dyninfer.scaling import Scaling
from dyninfer.snapshots import Snapshots


class DensityBatch(NamedTuple):
    """Samples of a density path in scaled units; every entry has ``n`` rows.

    ``start`` and ``end`` are the two ends of the stretch of path that a sample lies on, ``gap`` apart in time; the mean of
    ``(s(start) − s(end)) / gap`` is the boundary term of the action, and its noise is common with that of the interior.
    """

    time: Tensor  # (n,)
    state: Tensor  # (n, d)
    density: Tensor  # (n,) density that the time was drawn from
    weight: Tensor | None  # (n,) mass carried by the sample; None where all are one
    velocity: Tensor | None  # (n, d) velocity along the path, where the path knows it
    growth: Tensor | None  # (n,) growth rate along the path
    start_time: Tensor
    start_state: Tensor
    start_weight: Tensor | None
    end_time: Tensor
    end_state: Tensor
    end_weight: Tensor | None
    gap: Tensor
    probe: Tensor | None  # (n, 1, d) random signs for Hutchinson's estimate of the Laplacian


@dataclass(frozen=True, eq=False)
class DensityPath:
    """A density that can be sampled at any time: what to fit where there are no snapshots but a simulator.

    Parameters
    ----------
    sampler : callable ``(t, n) -> (n, d)``
        Takes times as an ``(n,)`` tensor, in the user's units, and returns one sample for each of them.
    times : pair of floats
        First and last time.
    features : sequence of str, optional
        Names of the features.

    Examples
    --------
    >>> import torch
    >>> from dyninfer import DensityPath
    >>> path = DensityPath(lambda t, n: t[:, None] + torch.randn(n, 2), times=(0.0, 1.0))
    >>> path.pilot(seed=0).n_features
    2
    """

    sampler: Callable[[Tensor, int], Tensor]
    times: tuple[float, float]
    features: Sequence[str] = ()

    def __post_init__(self) -> None:
        if np.shape(self.times) != (2,) or not self.times[0] < self.times[1]:
            raise ValueError(f"times must be (first, last) with first < last, found {self.times}")

    def sample(self, t: Tensor) -> Tensor:
        """Samples ``(n, d)`` at times ``(n,)``; a ValueError tells what is wrong with the sampler's answer."""
        x = self.sampler(t, len(t))
        if not isinstance(x, Tensor) or x.ndim != 2 or len(x) != len(t):
            got = f"shape {tuple(x.shape)}" if hasattr(x, "shape") else type(x).__name__
            raise ValueError(
                f"the sampler must return a tensor of shape ({len(t)}, features) for {len(t)} times; it returned {got}"
            )
        return x

    def digest(self) -> str:
        """Fingerprint of the times; what the sampler draws has none."""
        return repr(tuple(map(float, self.times)))

    def pilot(self, seed: int = 0, n_times: int = 17, n: int = 512) -> Snapshots:
        """Snapshots of the path, from which scaling and summaries are computed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            times = torch.linspace(self.times[0], self.times[1], n_times, dtype=torch.float64)
            samples = [self.sample(t.expand(n).float()).detach().cpu().numpy() for t in times]
        return Snapshots(
            times=times.numpy(), samples=tuple(samples), features=tuple(self.features)
        ).check_finite()


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
        self.moments = torch.zeros(3, bins, device=device, dtype=torch.float64)  # count, sum, sum of squares
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


class PathSampler(ABC):
    """Draws batches of a density path; the three kinds are below."""

    @abstractmethod
    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""


class InterpolatedPath(PathSampler):
    """Straight lines between coupled samples of neighbouring snapshots, each carrying mass.

    A pair ``(x_k, x_{k+1})`` moves at constant velocity, and its mass changes at a constant rate from what makes the pairs
    reproduce the first snapshot to what makes them reproduce the second; given masses change exponentially between
    the times. The path is exact at the snapshots.
    """

    def __init__(
        self,
        data: Snapshots,
        scaling: Scaling,
        coupling: Coupling,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        samples = [scaling.states(s) for s in data.samples]
        plans = couple(data, samples, coupling, seed)
        offsets = np.concatenate([[0], np.cumsum(data.sizes)])
        put = _placer(device, dtype)
        self.states = put(np.concatenate(samples))
        self.times = put(scaling.times(data.times))
        self.source = torch.as_tensor(
            np.concatenate([p.source + o for p, o in zip(plans, offsets, strict=False)]), device=device
        )
        self.target = torch.as_tensor(
            np.concatenate([p.target + o for p, o in zip(plans, offsets[1:], strict=False)]), device=device
        )
        # Interval k owns the stretch (k, k + 1] of one long cumulative sum, so one search serves all intervals.
        self.cumulative = torch.as_tensor(
            np.concatenate([k + np.cumsum(p.mass) / p.mass.sum() for k, p in enumerate(plans)]), device=device
        )
        log_mass = _log_masses(data)
        counts = [len(p.mass) for p in plans]
        log_start = np.concatenate([p.log_source for p in plans]) + np.repeat(log_mass[:-1], counts)
        log_end = np.concatenate([p.log_target for p in plans]) + np.repeat(log_mass[1:], counts)
        self.weighted = bool(np.any(log_start) or np.any(log_end))
        self.log_start, self.log_end = put(log_start), put(log_end)

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""
        k = _interval(self.times, t)
        u = torch.rand(len(t), generator=generator, device=t.device, dtype=torch.float64)
        pair = torch.searchsorted(self.cumulative, k + u).clamp(max=len(self.source) - 1)
        x0, x1 = self.states[self.source[pair]], self.states[self.target[pair]]
        t0, t1 = self.times[k], self.times[k + 1]
        gap = t1 - t0
        tau = (t - t0) / gap
        velocity = (x1 - x0) / gap[:, None]
        state = torch.lerp(x0, x1, tau[:, None])
        if not self.weighted:
            return DensityBatch(
                t, state, density, None, velocity, None, t0, x0, None, t1, x1, None, gap, None
            )
        a, b = self.log_start[pair], self.log_end[pair]
        return DensityBatch(
            t,
            state,
            density,
            torch.lerp(a, b, tau).exp(),
            velocity,
            (b - a) / gap,
            t0,
            x0,
            a.exp(),
            t1,
            x1,
            b.exp(),
            gap,
            None,
        )


class SmoothPath(PathSampler):
    """Natural cubic splines through chains of coupled samples, one sample of every snapshot in each.

    The velocity is continuous in time, unlike that of straight lines; unequal gaps are respected.
    """

    def __init__(
        self,
        data: Snapshots,
        scaling: Scaling,
        coupling: Coupling,
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        from scipy.interpolate import CubicSpline

        samples = [scaling.states(s) for s in data.samples]
        plans = couple(data, samples, coupling, seed)
        if any(np.any(p.log_source) or np.any(p.log_target) for p in plans):
            raise ValueError(
                "interpolation='cubic' needs a coupling that conserves mass; use coupling='ot', or interpolation='linear'"
            )
        chains = sample_chains(plans, list(data.sizes), max(8192, 2 * max(data.sizes)), seed + 1)
        put = _placer(device, dtype)
        self.states = put(np.concatenate(samples))
        self.chains = torch.as_tensor(
            chains + np.concatenate([[0], np.cumsum(data.sizes)[:-1]]), device=device
        )
        times = scaling.times(data.times)
        self.times = put(times)
        # Splines are linear in the knots: coefficients of the cardinal splines, (power, interval, knot).
        self.cardinal = put(CubicSpline(times, np.eye(len(times)), bc_type="natural").c)
        self.log_mass = put(_log_masses(data))
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)``."""
        k = _interval(self.times, t)
        pick = torch.randint(len(self.chains), (len(t),), generator=generator, device=t.device)
        knots = self.states[self.chains[pick]]  # (n, K, d)
        h = (t - self.times[k])[:, None]
        c3, c2, c1, c0 = self.cardinal[:, k]
        state = torch.einsum("nk,nkd->nd", ((c3 * h + c2) * h + c1) * h + c0, knots)
        velocity = torch.einsum("nk,nkd->nd", (3 * c3 * h + 2 * c2) * h + c1, knots)
        rows = torch.arange(len(t), device=t.device)
        t0, t1, x0, x1 = self.times[k], self.times[k + 1], knots[rows, k], knots[rows, k + 1]
        gap = t1 - t0
        if not self.weighted:
            return DensityBatch(
                t, state, density, None, velocity, None, t0, x0, None, t1, x1, None, gap, None
            )
        a, b = self.log_mass[k], self.log_mass[k + 1]
        weight = torch.lerp(a, b, h[:, 0] / gap).exp()
        return DensityBatch(
            t, state, density, weight, velocity, (b - a) / gap, t0, x0, a.exp(), t1, x1, b.exp(), gap, None
        )


class DenseSnapshots(PathSampler):
    """Snapshots so dense in time that nothing is interpolated: the trapezoidal rule over their times."""

    def __init__(self, data: Snapshots, scaling: Scaling, device: torch.device, dtype: torch.dtype):
        put = _placer(device, dtype)
        times = scaling.times(data.times)
        gaps = np.diff(times)
        share = 0.5 * (np.concatenate([[0], gaps]) + np.concatenate([gaps, [0]]))
        self.times = put(times)
        self.states = put(np.concatenate([scaling.states(s) for s in data.samples]))
        self.levels = torch.as_tensor(np.cumsum(share)[:-1], device=device)
        self.cumulative = torch.as_tensor(
            np.concatenate([k + np.cumsum(data.weights_at(t)) for k, t in enumerate(data.times)]),
            device=device,
        )
        self.mass = put(np.exp(_log_masses(data)))
        self.weighted = data.masses is not None

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at the snapshots; ``t`` chooses among them, with trapezoidal probabilities where it is uniform."""
        n = len(t)
        k = torch.searchsorted(self.levels, t.double())
        u = torch.rand(3, n, generator=generator, device=t.device, dtype=torch.float64)
        first, last = torch.zeros_like(k), torch.full_like(k, len(self.times) - 1)
        x, x0, x1 = (self.states[self._rows(index, v)] for index, v in zip((k, first, last), u, strict=True))
        mass = [self.mass[index] if self.weighted else None for index in (k, first, last)]
        t0, t1 = self.times[first], self.times[last]
        return DensityBatch(
            self.times[k],
            x,
            density,
            mass[0],
            None,
            None,
            t0,
            x0,
            mass[1],
            t1,
            x1,
            mass[2],
            t1 - t0,
            None,
        )

    def _rows(self, k: Tensor, u: Tensor) -> Tensor:
        return torch.searchsorted(self.cumulative, k + u).clamp(max=len(self.states) - 1)


class SampledPath(PathSampler):
    """Samples drawn from a :class:`DensityPath` at the times that are asked for."""

    def __init__(self, path: DensityPath, scaling: Scaling, device: torch.device, dtype: torch.dtype):
        put = _placer(device, dtype)
        self.path, self.scaling = path, scaling
        self.shift, self.scale, self.put = put(scaling.shift), put(scaling.scale), put

    def draw(self, t: Tensor, density: Tensor, generator: torch.Generator) -> DensityBatch:
        """Samples at times ``(n,)`` and at both ends."""
        zero, one = torch.zeros_like(t), torch.ones_like(t)
        # The sampler is the user's and draws from torch's global generator: seed that from ours, and put it back.
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        with torch.random.fork_rng(devices=[t.device] if t.device.type == "cuda" else []):
            torch.manual_seed(seed)
            x, x0, x1 = (self._states(u) for u in (t, zero, one))
        return DensityBatch(t, x, density, None, None, None, zero, x0, None, one, x1, None, one, None)

    def _states(self, t: Tensor) -> Tensor:
        x = self.path.sample(self.scaling.start + self.scaling.duration * t).detach()
        return (x.to(self.shift) - self.shift) / self.scale


def couple(data: Snapshots, samples: list[np.ndarray], coupling: Coupling, seed: int) -> list[Plan]:
    """Plans between neighbouring snapshots."""
    return [
        coupling.plan(
            samples[k],
            samples[k + 1],
            data.weights_at(data.times[k]),
            data.weights_at(data.times[k + 1]),
            seed + k,
        )
        for k in range(data.n_times - 1)
    ]


def path_sampler(
    data: Snapshots | DensityPath,
    scaling: Scaling,
    interpolation: str,
    coupling: Coupling,
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> PathSampler:
    """Choose the path by the data and the name of the interpolation."""
    if isinstance(data, DensityPath):
        return SampledPath(data, scaling, device, dtype)
    if interpolation == "none":
        return DenseSnapshots(data, scaling, device, dtype)
    kind = {"linear": InterpolatedPath, "cubic": SmoothPath}.get(interpolation)
    if kind is None:
        raise ValueError(f"interpolation {interpolation!r} is not known; choose 'linear', 'cubic' or 'none'")
    if data.n_times == 2 and kind is SmoothPath:
        kind = InterpolatedPath  # a natural cubic spline through two points is the straight line
    return kind(data, scaling, coupling, seed, device, dtype)


def default_coupling(unbalanced: bool, interpolation: str) -> str:
    """Name of the coupling that "auto" stands for."""
    return "unbalanced" if unbalanced and interpolation == "linear" else "ot"


def _interval(times: Tensor, t: Tensor) -> Tensor:
    return torch.searchsorted(times[1:-1].contiguous(), t, right=True)


def _log_masses(data: Snapshots) -> np.ndarray:
    """Log-masses relative to their mean, so that the loss keeps its size; zeros where none are given."""
    return np.zeros(data.n_times) if data.masses is None else np.log(data.masses / data.masses.mean())


def _placer(device: torch.device, dtype: torch.dtype) -> Callable[[np.ndarray], Tensor]:
    return lambda array: torch.as_tensor(np.asarray(array), device=device).to(dtype)
