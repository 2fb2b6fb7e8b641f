"""How far the law of a simulation can be from that of the data: the bound of the paper, estimated from samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dyninfer.diffusions import ScaledDiffusion
from dyninfer.transport.interpolated import InterpolatedDiffusion
from dyninfer.transport.objectives.coupled import CoupledSamples

_NEIGHBOURS = 16  # looked through for one that shares no end point


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
    r"""Bound on ``KL(ρ_1 | simulated)`` for the stochastic equation with noise ε, by Girsanov's theorem.

    .. math:: KL \le \int \frac{1}{4\varepsilon} E|\hat b + \varepsilon\hat s - b - \varepsilon s|^2\,dt
        \le \frac{G_b}{\varepsilon} + \varepsilon\,G_s

    with ``G = ½ ∫ E|error|² dt``, the gap of a loss above its minimum (arXiv 2303.08797, theorem 2.23; its printed constants are half of
    these, and fail by that factor where the errors of b and s agree). The true fields are conditional means of the targets,
    so the mean square of an error is the mean product of the residuals at two independent points of one place. Points
    stand with their nearest neighbours: this needs few features, about ten, and sees no error finer than their
    distance.

    Returns
    -------
    dict
        ``path``, the first bound; ``split``, the second (NaN where ε depends on time); ``velocity`` and ``score``, the two gaps; each with
        its standard error as ``<name>_error``. All in nats, except the gaps.
    """
    generator = torch.Generator(samples.states.device).manual_seed(seed)
    knots, rows = process.inner.schedule.knots, []
    for k in range(len(knots) - 1):
        gap = float(knots[k + 1] - knots[k])
        for part in range(n_times):
            tau = knots[k] + (part + 0.5) / n_times * gap
            epsilon = noise(float(process.scaling.user_times(tau))) if callable(noise) else noise
            if not epsilon > 0:
                raise ValueError(
                    f"noise must be positive for a bound on the divergence, found {epsilon}"
                )
            b, s, pairs = _residuals(process, samples, tau, n_points, generator)
            weight = gap * process.scaling.duration / n_times
            products = ((v[pairs[0]] * v[pairs[1]]).sum(1) for v in (b + epsilon * s, b, s))
            rows.append(
                [
                    _mean(v * c * weight)
                    for v, c in zip(products, (0.25 / epsilon, 0.5, 0.5), strict=True)
                ]
            )
    values, errors = np.asarray(rows).transpose(2, 1, 0)
    path, velocity, score = values.sum(1)
    found = {"path": path, "velocity": velocity, "score": score}
    found |= {
        f"{name}_error": e for name, e in zip(list(found), np.sqrt((errors**2).sum(1)), strict=True)
    }
    split = np.nan if callable(noise) else velocity / noise + noise * score
    return {name: float(value) for name, value in (found | {"split": split}).items()}


def _residuals(
    process: ScaledDiffusion,
    samples: CoupledSamples,
    tau: Tensor,
    n: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Residuals of velocity and score in the user's units at ``n`` points, and pairs of neighbours among these."""
    moment = process.inner.schedule.moment(tau.to(samples.states).repeat(n))
    _, rows = samples.pick(moment.interval, generator)
    line = torch.bmm(torch.stack([moment.weights, moment.slopes], 1), samples.states[rows])
    z = torch.randn(line[:, 0].shape, generator=generator, device=line.device, dtype=line.dtype)
    gamma, slope = moment.gamma[:, None], moment.gamma_slope[:, None]  # type: ignore[index]
    scaling = process.scaling
    x = scaling.user_states(line[:, 0] + gamma * z)
    b, _, s = process.drift_growth_and_score(scaling.user_times(tau).to(x), x)
    velocity = scaling.user_velocities(line[:, 1] + slope * z)
    score = scaling.user_scores(-z / gamma)
    return b - velocity, s - score, _neighbours(x, rows)  # type: ignore[operator]


def _neighbours(x: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Every point with its nearest neighbour that shares none of its end points; points without one are left out."""
    from scipy.spatial import cKDTree

    points, ends = x.cpu().numpy(), rows.cpu().numpy()
    near = cKDTree(points).query(points, k=min(_NEIGHBOURS, len(points)))[1]
    apart = (ends[near] != ends[:, None]).all(2)
    first = np.flatnonzero(apart.any(1))
    second = near[first, apart[first].argmax(1)]
    return torch.as_tensor(first, device=x.device), torch.as_tensor(second, device=x.device)


def _mean(values: Any) -> tuple[float, float]:
    return float(values.mean()), float(values.std()) / len(values) ** 0.5


def check_bounded(process: InterpolatedDiffusion) -> None:
    """Raise a ValueError if there is no bound for such a process."""
    if (
        process.head is None
        or process.schedule.interpolant.gaussian_base
        or process.code is not None
    ):
        raise ValueError("kl_bound needs a learned score, a latent noise γ, and no conditions")
    if process.grows or process.bend is not None:
        raise ValueError(
            "kl_bound is for populations of constant mass and interpolants that are not bent"
        )
