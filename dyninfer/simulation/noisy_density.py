"""Density of a process with noise at given points: an estimate, and a bound on its logarithm."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.learning.settings import brief
from dyninfer.learning.warn import warn
from dyninfer.simulation.divergence import random_signs, with_divergence
from dyninfer.simulation.equation import Equation, Noise, check_noise, equation_of
from dyninfer.simulation.kind import Kind
from dyninfer.simulation.scale import Scale
from dyninfer.simulation.solvers.solver import Solver, as_solver
from dyninfer.simulation.solvers.sra1 import SRA1
from dyninfer.simulation.solvers.task import Task
from dyninfer.simulation.start import chunks

N_PATHS = 64
# Relative standard error of a density above which its logarithm is biased by an eighth or more.
LARGEST_ERROR = 0.5
# Points that may lie above it without a word: tails are always hard.
LARGEST_SHARE = 0.05


@dataclass(frozen=True)
class NoisyDensity:
    """Density of a process with noise at points, from paths that run back from them.

    Attributes
    ----------
    log_density : Tensor, ``(n,)`` float64
        Logarithm of the mean over the paths of ``exp(−∫∇·f dt) ρ₀(Y₀)``. That mean has no bias;
        its logarithm is too low, on average by half the squared ``relative_error``.
    relative_error : Tensor, ``(n,)`` float64
        Standard error of the density over the density: about that of its logarithm.
    lower_bound : Tensor, ``(n,)`` float64
        Mean of the logarithms, which on average is below the log-density (Jensen); its negative
        mean over data points bounds their cross-entropy from above.
    bound_error : Tensor, ``(n,)`` float64
        Standard error of the bound.
    """

    log_density: Tensor
    relative_error: Tensor
    lower_bound: Tensor
    bound_error: Tensor


@dataclass(frozen=True)
class BackwardPaths:
    """How paths run back from the points.

    Attributes
    ----------
    noise : float or callable
        ε, in squared state units per unit of time.
    n_paths : int
        Paths from every point.
    n_probes : int
        Random signs of each path for the divergence; 0 computes it exactly.
    seed : int
    chunk_size : int
        Paths followed at once.
    solver : Solver or str, optional
    """

    noise: Noise
    n_paths: int
    n_probes: int
    seed: int
    chunk_size: int
    solver: Solver | str | None


@torch.no_grad()
def noisy_density(
    process: Diffusion,
    points: Tensor,
    span: Tensor,
    base_log_density: Callable[[Tensor], Tensor],
    settings: BackwardPaths,
) -> NoisyDensity:
    r"""Density at ``span[0]`` of the equation ``dX = f dt + √(2ε) dW``, ``f = v + ε s``.

    Its Fokker-Planck equation :math:`\partial_t\rho + \nabla\cdot(f\rho) = \varepsilon\Delta\rho`,
    read backwards, gives (Feynman-Kac; arXiv 2303.08797, section 2.5)

    .. math:: \rho(t_1, x) = E\Big[\exp\Big(-\int_{t_0}^{t_1} \nabla\cdot f(t, Y_t)\,dt\Big)
        \rho_0(Y_{t_0})\Big]

    over paths that start at ``x`` and run down with the same ``f`` (not that of the reversed
    process) and noise ``√(2ε)``. Growth adds to the integral.

    Parameters
    ----------
    process : Diffusion
        With a score.
    points : Tensor, ``(n, d)``
    span : Tensor, ``(2,)`` float64
        Times of the points and of the base, decreasing.
    base_log_density : callable, ``(n, d) -> (n,)``
    settings : BackwardPaths
    """
    check_noise(settings.noise, span)
    _check_is_noise(settings.noise)
    d = points.shape[1]
    own = equation_of(process, points, span, settings.noise, backward=False)
    starts = points.repeat_interleave(settings.n_paths, dim=0)
    if settings.n_probes:
        signs = random_signs(starts, settings.n_probes, settings.seed)
        starts = torch.cat([starts, signs], dim=1)
    equation = replace(
        own,
        rates=with_divergence(process, own, d),
        amplitude=_of_states(own, d),
        grows=True,
    )
    solver = as_solver(settings.solver, SRA1(), Kind.ADDITIVE, equation)
    grid = solver.grid(span, equation.longest_step)
    scale = Scale.of(equation, starts, span)
    terms = []
    for rows in chunks(len(starts), settings.chunk_size):
        task = Task(equation, grid, settings.seed, rows, grid.intervals, scale)
        part = starts[rows.start : rows.stop]
        no_weight = part.new_zeros(len(part), dtype=torch.float64)
        states, collected = solver.integrate(task, part, no_weight)
        assert collected is not None
        base = base_log_density(states[:, 0, :d]).double()
        terms.append(base - collected[:, 0])
    log_terms = torch.cat(terms).unflatten(0, (-1, settings.n_paths))
    return _summary(log_terms)


def _summary(log_terms: Tensor) -> NoisyDensity:
    """Means over the paths ``(n, path)`` of every point, and their errors."""
    n_paths = log_terms.shape[1]
    log_mean = torch.logsumexp(log_terms, 1) - math.log(n_paths)
    relative = torch.exp(log_terms - log_mean[:, None])
    root = math.sqrt(n_paths)
    result = NoisyDensity(
        log_density=log_mean,
        relative_error=relative.std(1) / root,
        lower_bound=log_terms.mean(1),
        bound_error=log_terms.std(1) / root,
    )
    n_lost = int((~log_mean.isfinite()).sum())
    if n_lost:
        warn(
            f"paths from {n_lost} of {len(log_mean)} points could not be followed back, or "
            "base_log_density is not finite where they end: their density is NaN or zero",
            RuntimeWarning,
        )
    is_poor = result.relative_error > LARGEST_ERROR
    share = float(is_poor.double().mean())
    if share > LARGEST_SHARE:
        warn(
            f"the density of {share:.0%} of the points has a standard error above half of itself, "
            f"so that its logarithm is too low; more than n_paths={n_paths}, or less noise, helps",
        )
    return result


def _of_states(equation: Equation, d: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Amplitude of the states; signs that ride along have none."""

    def amplitude(t: Tensor, y: Tensor) -> Tensor:
        g = equation.amplitude(t, y[:, :d])
        if y.shape[1] == d:
            return g
        is_state = torch.arange(y.shape[1], device=y.device) < d
        return g * is_state.to(y)

    return amplitude


def _check_is_noise(noise: Any) -> None:
    if not callable(noise) and noise == 0:
        raise ValueError(
            f"noise={brief(noise)} is the deterministic flow: its density is exact; use log_density"
        )
