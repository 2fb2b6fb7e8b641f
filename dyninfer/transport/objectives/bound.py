"""How far the distribution of a simulation can be from that of the data, estimated from samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from dyninfer.data.times import same_times
from dyninfer.diffusions import ScaledDiffusion
from dyninfer.learning.random import stream
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings import CoupledSamples
from dyninfer.transport.interpolated import InterpolatedDiffusion
from dyninfer.transport.objectives.matching import normal_like

# Looked through for one that shares no end point: with exact pairs, few share any.
N_NEIGHBOURS = 16


@torch.no_grad()
def kl_bound(
    process: ScaledDiffusion,
    samples: CoupledSamples,
    noise: float | Callable[[float], float],
    *,
    n_points: int = 8192,
    n_times: int = 20,
    seed: int = 0,
) -> dict[str, float]:
    r"""Bound on ``KL(ρ_1 | simulated)`` for the stochastic equation with noise ε.

    By Girsanov's theorem

    .. math:: KL \le \int \frac{1}{4\varepsilon}
        E|\hat b + \varepsilon\hat s - b - \varepsilon s|^2\,dt
        \le \frac{G_b}{\varepsilon} + \varepsilon\,G_s

    with ``G = ½ ∫ E|error|² dt``, the gap of a loss above its minimum (arXiv 2303.08797, theorem
    2.23; its printed constants are half of these, and fail by that factor where the errors of b and
    s agree). The true fields are conditional means of the targets, so the mean square of an error
    is the mean product of the residuals at two independent points of one place. Points stand with
    their nearest neighbours: this needs few features, about ten, and sees no error finer than their
    distance.

    Parameters
    ----------
    process : ScaledDiffusion
        Of an InterpolatedDiffusion, see :func:`check_bounded`.
    samples : CoupledSamples
    noise : float or callable
        ε, in squared state units per time; a callable takes the time.
    n_points : int
        Points at every time.
    n_times : int
        Times in every interval.
    seed : int

    Returns
    -------
    dict
        ``path``, the first bound; ``split``, the second (NaN where ε depends on time); ``velocity``
        and ``score``, the two gaps; each with its standard error as ``<name>_error``. All in nats,
        except the gaps.
    """
    generator = stream(seed, "kl bound", device=samples.states.device)
    knots = process.inner.schedule.knots
    scaling = process.scaling
    integrals = {
        "path": _Integral(),
        "velocity": _Integral(),
        "score": _Integral(),
    }
    gaps = knots.diff()
    for start, gap in zip(knots, gaps, strict=False):
        duration = float(gap) * scaling.duration / n_times
        for number in range(n_times):
            # The midpoint rule: at the ends of an interval the targets are infinite.
            part = (number + 0.5) / n_times
            tau = start + part * gap
            epsilon: Any = noise
            if callable(noise):
                epsilon = noise(float(scaling.user_times(tau)))
            if not epsilon > 0:
                raise ValueError(
                    f"noise must be positive for a bound on the divergence, found {brief(epsilon)}"
                )
            residuals = _residuals(process, samples, tau, n_points, generator)
            b = residuals.velocity
            s = residuals.score
            forward = b + epsilon * s
            b_products = residuals.products(b)
            s_products = residuals.products(s)
            forward_products = residuals.products(forward)
            factor = duration / (4 * epsilon)
            integrals["path"].add(forward_products, factor)
            integrals["velocity"].add(b_products, duration / 2)
            integrals["score"].add(s_products, duration / 2)
    bound = {}
    for name, integral in integrals.items():
        bound[name] = integral.value
        bound[f"{name}_error"] = integral.error
    bound["split"] = np.nan
    if not callable(noise):
        by_velocity = bound["velocity"] / noise
        by_score = noise * bound["score"]
        bound["split"] = by_velocity + by_score
    return bound


def check_bounded(process: InterpolatedDiffusion) -> None:
    """Raise a ValueError if there is no bound for such a process."""
    has_base = process.schedule.interpolant.gaussian_base
    has_score = process.head is not None and not has_base
    if not has_score or process.code is not None:
        raise ValueError("kl_bound needs a learned score, a latent noise γ, and no conditions")
    if process.grows or process.bend is not None:
        raise ValueError(
            "kl_bound is for populations of constant mass and interpolants that are not bent"
        )


def check_times(times: np.ndarray, observed: np.ndarray) -> None:
    """Raise a ValueError if data do not have the times of the fit."""
    if not same_times(times, observed):
        raise ValueError(
            f"the data must have the times of the fit, {times.tolist()}; found {observed.tolist()}"
        )


class _Residuals(NamedTuple):
    """What the fields miss at points of one time, in the user's units."""

    velocity: Tensor  # (n, d)
    score: Tensor  # (n, d)
    first: Tensor  # (pairs,) rows of points
    second: Tensor  # (pairs,) rows of their neighbours

    def products(self, residual: Tensor) -> Tensor:
        """Products ``(pairs,)`` of the residuals at neighbouring points."""
        here = residual[self.first]
        there = residual[self.second]
        return (here * there).sum(1)


class _Integral:
    """Sum over times of means, with its standard error."""

    def __init__(self) -> None:
        self.value = self.variance = 0.0

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return float(self.variance**0.5)

    def add(self, values: Tensor, duration: float) -> None:
        """Add the mean of the values times the duration."""
        mean = float(values.mean())
        std = float(values.std())
        self.value += duration * mean
        squared_spread = (duration * std) ** 2
        self.variance += squared_spread / len(values)


def _residuals(
    process: ScaledDiffusion,
    samples: CoupledSamples,
    tau: Tensor,
    n: int,
    generator: Generator,
) -> _Residuals:
    """Residuals at ``n`` points of one time, and pairs of neighbours among these."""
    scaling = process.scaling
    times = tau.to(samples.states).repeat(n)
    moment: Any = process.inner.schedule.moment(times)
    picked = samples.pick(moment.interval, generator)
    rows = samples.rows[picked]
    places = samples.places[picked]
    knots = samples.states[places]
    line, velocity = moment.line(knots)
    z = normal_like(line, generator)
    gamma = moment.gamma[:, None]
    gamma_slope = moment.gamma_slope[:, None]
    points = line + gamma * z
    x = scaling.user_states(points)
    user_time = scaling.user_times(tau.double())
    b, _, s = process.drift_growth_and_score(user_time, x)
    point_velocities = velocity + gamma_slope * z
    b_target = scaling.user_velocities(point_velocities)
    s_target = scaling.user_scores(-z / gamma)
    first, second = _neighbours(x, rows)
    velocity_residual = b - b_target
    score_residual = s - s_target  # type: ignore[operator]
    return _Residuals(
        velocity=velocity_residual,
        score=score_residual,
        first=first,
        second=second,
    )


def _neighbours(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every point with its nearest neighbour that shares none of its end points.

    Points without one are left out.
    """
    from scipy.spatial import cKDTree

    points = x.cpu().numpy()
    ends = rows.cpu().numpy()
    k = min(N_NEIGHBOURS, len(points))
    tree = cKDTree(points)
    _, nearest = tree.query(points, k=k)
    differs = ends[nearest] != ends[:, None]
    apart = differs.all(2)
    first = np.flatnonzero(apart.any(1))
    # Neighbours are sorted by distance: the first that is apart is the nearest.
    choice = apart[first].argmax(1)
    second = nearest[first, choice]
    device = x.device
    return torch.as_tensor(first, device=device), torch.as_tensor(second, device=device)
