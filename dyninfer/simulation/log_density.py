"""Density of a flow at given points, by following it back to where the density is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion, scaling_of
from dyninfer.learning.settings import brief, check_count, check_seed
from dyninfer.learning.surroundings import own_surroundings
from dyninfer.learning.warn import warn
from dyninfer.simulation.divergence import random_signs, with_divergence
from dyninfer.simulation.equation import Equation, Noise, probability_flow
from dyninfer.simulation.grid import check_times
from dyninfer.simulation.noisy_density import N_PATHS, BackwardPaths, NoisyDensity, noisy_density
from dyninfer.simulation.scale import Scale
from dyninfer.simulation.solvers.solver import Solver
from dyninfer.simulation.solvers.task import Task
from dyninfer.simulation.solvers.tsit5 import Tsit5
from dyninfer.simulation.start import chunks, starting_states

_ROWS = 65_536  # rows of one batched backward pass of the exact trace


@own_surroundings()
def log_density(
    process: Diffusion,
    x: Any,
    times: Any,
    base_log_density: Callable[[Tensor], Tensor],
    *,
    trace: str = "exact",
    n_probes: int = 1,
    seed: int = 0,
    chunk_size: int | None = None,
    solver: Tsit5 | None = None,
) -> Tensor:
    """Log-density at ``times[1]`` of a flow with ``base_log_density`` at ``times[0]``.

    Along the deterministic flow ``dx/dt = v`` that shares the marginals of the process, ``d log ρ /
    dt = growth − ∇·v`` (Chen et al., 2018, Theorem 1; with growth it is the density of mass, not
    normalised). Every point is followed back to ``times[0]`` with its own steps.

    Parameters
    ----------
    process : Diffusion
        With noise it needs a score: ``v = drift − ½ diffusion² score``. If drift and score are
        learned, simulations with noise have a different density: :func:`log_density_with_noise`.
    x : array or Tensor, ``(n, d)``
        Points at ``times[1]``, in the user's units.
    times : (float, float)
        Times of the base density and of the points, increasing.
    base_log_density : callable, ``(n, d) -> (n,)``
        Log-density at ``times[0]``.
    trace : {"exact", "hutchinson"}
        How the divergence is computed: exactly, at the cost of about ``d`` evaluations (or by the
        ``divergence`` of the process, if it has one), or estimated without bias at the cost of two
        (Hutchinson, 1989).
    n_probes : int
        Random signs per point for ``"hutchinson"``, fixed along the path.
    seed : int
        Seed of the signs; those of point ``i`` depend only on ``(seed, i)``.
    chunk_size : int, optional
        Points followed at once; by default about 65,536 / d.
    solver : Tsit5, optional
        Tolerances per point; by default ``Tsit5(rtol=1e-5, atol=1e-6)``.

    Returns
    -------
    Tensor, ``(n,)`` float64
        NaN for points that could not be followed, with one warning. No gradients are recorded.

    Raises
    ------
    ValueError, TypeError
        If an argument cannot be used; the message names it and the remedy.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.diffusions import Diffusion, scaling_of
    >>> from dyninfer.simulation import log_density
    >>> normal = lambda x: torch.distributions.Normal(0.0, 1.0).log_prob(x).sum(1)
    >>> spread = Diffusion(drift=lambda t, x: x)
    >>> log_density(spread, torch.zeros(1, 1), (0.0, 1.0), normal)  # log N(0; 0, e²)
    tensor([-1.9189], dtype=torch.float64)
    """
    solver = _own_solver(solver)
    points, span, seed = _points_and_span(process, x, times, base_log_density, trace, seed)
    check_count(n_probes, "n_probes")
    if chunk_size is not None:
        check_count(chunk_size, "chunk_size")
    d = points.shape[1]
    flow = probability_flow(process, points, span)
    signs = None
    if trace == "hutchinson":
        signs = random_signs(points, n_probes, seed)
    with torch.no_grad():
        rates = with_divergence(process, flow, d)
        equation = Equation(
            rates, None, additive=True, grows=True, scaling=flow.scaling, breaks=flow.breaks
        )
        grid = solver.grid(span)
        starts = points
        if signs is not None:
            starts = torch.cat([points, signs], dim=1)
        scale = Scale.of(equation, starts, span)
        results = []
        if chunk_size is None:
            chunk_size = max(64, _ROWS // d)
        for rows in chunks(len(points), chunk_size):
            task = Task(equation, grid, seed, rows, grid.intervals, scale)
            part = starts[rows.start : rows.stop]
            results.append(_follow(task, solver, part, d, base_log_density))
    result = torch.cat(results)
    n_lost = int((~result.isfinite()).sum())
    if n_lost:
        warn(
            f"log_density could not follow {n_lost} of {len(result)} points back, or "
            "base_log_density is not finite there",
            RuntimeWarning,
        )
    return result


@own_surroundings()
def log_density_with_noise(
    process: Diffusion,
    x: Any,
    times: Any,
    base_log_density: Callable[[Tensor], Tensor],
    noise: Noise,
    *,
    n_paths: int = N_PATHS,
    trace: str = "exact",
    seed: int = 0,
    chunk_size: int | None = None,
    solver: Solver | str | None = None,
) -> NoisyDensity:
    r"""Log-density at ``times[1]`` of ``dX = (v + ε s) dt + √(2ε) dW``, by paths back in time.

    With the true velocity and score, every ε gives the density of the flow. With learned ones each
    ε has its own density, and this is the one that ``simulate(..., noise=ε)`` draws from:

    .. math:: \rho(t_1, x) = E\Big[\exp\Big(-\int \nabla\cdot(v + \varepsilon s)(t, Y_t)\,dt\Big)
        \rho_0(Y_{t_0})\Big]

    over paths that run back from ``x`` (arXiv 2303.08797, section 2.5).

    Parameters
    ----------
    process : Diffusion
        With a score.
    x : array or Tensor, ``(n, d)``
        Points at ``times[1]``, in the user's units.
    times : (float, float)
        Times of the base density and of the points, increasing.
    base_log_density : callable, ``(n, d) -> (n,)``
        Log-density at ``times[0]``.
    noise : float or callable
        ε, in squared state units per unit of time; a callable takes the time.
    n_paths : int
        Paths from every point, at least 2.
    trace : {"exact", "hutchinson"}
        How the divergence is computed. Signs vary between paths, so with "hutchinson" the density
        is biased if the divergence is large; the bound is not.
    seed : int
        Seed of the noise and the signs.
    chunk_size : int, optional
        Paths followed at once; by default about 65,536 / d.
    solver : Solver or str, optional
        By default ``SRA1()`` with a hundred steps. The standard errors do not include its bias.

    Returns
    -------
    NoisyDensity
        The estimate, a lower bound, and the standard errors of both.

    Raises
    ------
    ValueError, TypeError
        If an argument cannot be used; the message names it and the remedy.

    Warns
    -----
    UserWarning
        If for more than a twentieth of the points the standard error exceeds half of the density.
    """
    points, span, seed = _points_and_span(process, x, times, base_log_density, trace, seed)
    check_count(n_paths, "n_paths")
    if n_paths < 2:
        raise ValueError(f"n_paths must be at least 2, to estimate errors, found {n_paths}")
    if chunk_size is not None:
        check_count(chunk_size, "chunk_size")
    settings = BackwardPaths(
        noise=noise,
        n_paths=n_paths,
        n_probes=int(trace == "hutchinson"),
        seed=seed,
        chunk_size=chunk_size or max(64, _ROWS // points.shape[1]),
        solver=solver,
    )

    def base(states: Tensor) -> Tensor:
        values = base_log_density(states)
        _check_base(values, len(states))
        return values

    return noisy_density(process, points, span, base, settings)


def _points_and_span(
    process: Any, x: Any, times: Any, base_log_density: Any, trace: str, seed: Any
) -> tuple[Tensor, Tensor, int]:
    """Points ``(n, d)``, the times from them back to the base, and the seed, all checked."""
    _check_arguments(process, base_log_density, trace)
    seed = check_seed(seed)
    span = check_times(times, backward=False)
    if len(span) != 2:
        raise ValueError(
            f"times must be two numbers, of the base density and of x, but there are {len(span)}"
        )
    is_fitted = scaling_of(process) is not None
    start = starting_states(process, x, None, seed, keep_precision=is_fitted)
    return start.states.detach(), span.flip(0), seed


def _own_solver(solver: Tsit5 | None) -> Tsit5:
    """The solver as it was given, or one ten times as accurate as that of simulations."""
    if solver is None:
        return Tsit5(rtol=1e-5, atol=1e-6)
    if not isinstance(solver, Tsit5):
        raise TypeError(f"solver must be Tsit5(rtol, atol) or None, found {brief(solver)}")
    solver.check()
    return solver


def _check_arguments(process: Any, base_log_density: Any, trace: str) -> None:
    if not isinstance(trace, str) or trace not in ("exact", "hutchinson"):
        raise ValueError(f"trace must be 'exact' or 'hutchinson', but it is {brief(trace)}")
    if not isinstance(process, Diffusion):
        raise TypeError(
            "process must be a Diffusion, such as process_ of a fitted model, but it is a "
            f"{type(process).__name__}"
        )
    if not callable(base_log_density):
        raise TypeError(
            "base_log_density must be a function of points (n, d), but it is "
            f"{brief(base_log_density)}"
        )


def _follow(
    task: Task, solver: Tsit5, y: Tensor, d: int, base_log_density: Callable[[Tensor], Tensor]
) -> Tensor:
    """Log-density of some points: that of where they came from, less what the way collected.

    ``y`` holds the points ``(n, d)``, and beside them the signs that ride along.
    """
    n = len(y)
    # The signs dilute the mean over coordinates that the error control looks at.
    dilution = (y.shape[1] / d) ** 0.5
    rtol = solver.rtol / dilution
    atol = solver.atol / dilution
    solver = Tsit5(rtol=rtol, atol=atol)
    w = torch.zeros(n, dtype=torch.float64, device=y.device)
    states, collected = solver.integrate(task, y, w)
    assert collected is not None
    sources = states[:, 0, :d]
    has_arrived = sources.isfinite().all(dim=1)
    result = torch.full_like(w, torch.nan)
    if not bool(has_arrived.any()):
        return result
    base = base_log_density(sources[has_arrived])
    _check_base(base, int(has_arrived.sum()))
    log_change = collected[has_arrived, 0]
    result[has_arrived] = base.double() - log_change
    return result


def _check_base(base: Any, n: int) -> None:
    value = type(base).__name__
    if isinstance(base, Tensor):
        if base.shape == (n,):
            return
        value = str(tuple(base.shape))
    raise ValueError(
        f"base_log_density must return a tensor (n,), one number per point, but for {n} points it "
        f"returned {value}; sum over the features"
    )
