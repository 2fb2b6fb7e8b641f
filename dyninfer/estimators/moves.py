"""How far a learned flow moves cells, beside how far it would have to."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.data.trajectories import Trajectories
from dyninfer.diffusions import Diffusion
from dyninfer.estimators.cautions import grew
from dyninfer.metrics.monge import NO_MOVES, cost_of_moves

# Rows whose gradients are computed at once, so that memory does not grow with the cells.
_ROWS = 4096
# Chords of a quarter turn miss two parts in 10⁵ of its action, when their halves correct them.
CHORDS = 8


def stops_between(process: Diffusion, observed: Snapshots, before: int, k: int) -> np.ndarray:
    """Times of a run to be scored: both ends, and of a flow without noise some between.

    A flow is read off at any number of times for nothing. With noise, more times are other draws.

    Parameters
    ----------
    process : Diffusion
    observed : Snapshots
    before, k : int
        Numbers of the times at which the run starts and ends.
    """
    begin = float(observed.times[before])
    end = float(observed.times[k])
    sample = observed.samples[before]
    first = torch.tensor(sample[:1])
    weight = next(process.parameters(), first)
    with torch.no_grad():
        state = first.to(weight.device)
        noise = process.diffusion(begin, state)
    if noise is not None:
        return np.array([begin, end])
    return np.linspace(begin, end, CHORDS + 1)


def score_moves(run: Trajectories, seed: int) -> dict[str, float]:
    """Action, straightness gap and Monge gap of a run; NaN where noise or growth leaves none."""
    # With noise no times lie between the ends.
    if run.n_times == 2 or grew(run):
        return NO_MOVES
    return cost_of_moves(run, seed)


def residual_spread(process: Diffusion, run: Trajectories) -> float:
    r"""How far a flow with a potential is from least action, in units of its kinetic energy.

    The standard deviation over cells of the Hamilton-Jacobi residual
    :math:`r = \partial_t s + \tfrac12 |\nabla s|^2`, as its root mean square over time. The
    gradient of ``r`` is the acceleration of a cell: the spread is zero where all move in straight
    lines at constant speed. What is the same for all cells of a time moves none of them, and
    does not count.

    Parameters
    ----------
    process : Diffusion
    run : Trajectories
        Of the process.

    Returns
    -------
    float
        NaN where the process has no potential, or has noise or growth, which add terms to ``r``.
    """
    if run.n_times == 2 or grew(run):
        return math.nan
    is_alive = run.status == 0
    states = run.states[is_alive]
    if len(states) == 0 or process.potential(run.times[0], states[:1, 0]) is None:
        return math.nan
    weights = run.weights[is_alive, 0].double()
    share = weights / weights.sum()
    variances = []
    energies = []
    for k, t in enumerate(run.times):
        residual, energy = _residual(process, t, states[:, k])
        centred = residual - (share * residual).sum()
        variances.append((share * centred.square()).sum())
        energies.append((share * energy).sum())
    variance = torch.stack(variances).mean()
    mean_energy = torch.stack(energies).mean()
    return float(variance.sqrt() / mean_energy)


def _residual(process: Diffusion, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """``∂s/∂t + ½|∇s|²`` and its second term, ``(n,)`` each, in double precision."""
    residuals = []
    energies = []
    device = next(process.parameters(), x).device
    for rows in x.detach().to(device).split(_ROWS):
        state = rows.requires_grad_()
        times = t.to(device).expand(len(rows)).clone().requires_grad_()
        with torch.enable_grad():
            s = process.potential(times, state)
            assert s is not None
            change, gradient = torch.autograd.grad(s.sum(), (times, state))
        # In double precision: squares of energies leave single precision in small units.
        energy = 0.5 * gradient.double().square().sum(1)
        residuals.append(change.double() + energy)
        energies.append(energy)
    return torch.cat(residuals).to(x.device), torch.cat(energies).to(x.device)
