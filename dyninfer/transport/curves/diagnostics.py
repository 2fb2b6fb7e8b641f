"""What a learned potential and a density curve say about each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.own_networks import OwnPotential
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch


def diagnose(
    network: PotentialNetwork | OwnPotential,
    curve: LearnedCurve,
    batch: PairBatch,
    directions: Tensor | None,
    scaling: Scaling,
    bins: int = 20,
) -> pd.DataFrame:
    """Averages over samples of the curve by time, in the user's units; totals are in ``attrs``.

    Parameters
    ----------
    network : PotentialNetwork or OwnPotential
        The potential, in scaled units.
    curve : LearnedCurve
    batch : PairBatch
        Uniform in time.
    directions : tensor, optional
        Along which the Laplacian is summed, as for :meth:`PotentialNetwork.derivatives`.
    scaling : Scaling
    bins : int
        Rows of the table.
    """
    time = batch.time.cpu().numpy()
    row = (time * bins).astype(int)
    # The last moment belongs to the last row.
    row = row.clip(0, bins - 1)
    count = np.bincount(row, minlength=bins)
    count = count.clip(min=1)
    mean = {}
    densities = _densities(network, curve, batch, directions)
    for name, density in densities.items():
        values = density.detach().double().cpu().numpy()
        total = np.bincount(row, values, bins)
        mean[name] = total / count
    # Of the moving mass, where the energies are of all.
    mass = np.maximum(mean["mass"], 1e-12)
    residual = mean["residual"] / mass
    residual_square = mean["residual_square"] / mass
    residual_variance = residual_square - residual**2
    residual_variance = np.maximum(residual_variance, 0)
    residual_std = np.sqrt(residual_variance)
    speed = np.sqrt(mean["speed_square"] / mass)
    acceleration = np.sqrt(mean["acceleration_square"] / mass)
    energy = scaling.energy_unit
    duration = scaling.duration
    middle = (np.arange(bins) + 0.5) / bins
    table = pd.DataFrame({"time": scaling.user_times(middle)})
    table["mass"] = mean["mass"]
    table["kinetic"] = mean["kinetic"] * energy
    table["growth"] = mean["growth"] * energy
    table["potential"] = mean["potential"] * energy
    table["residual_mean"] = residual * energy
    table["residual_std"] = residual_std * energy
    length = scaling.unit
    table["speed"] = speed * length / duration
    table["acceleration"] = acceleration * length / duration**2
    action = table["kinetic"] + table["growth"] - table["potential"]
    action_unit = energy * duration
    dual_value = mean["dual"].mean() * action_unit
    pair_action = mean["pair_action"].mean() * action_unit
    table.attrs["action"] = float(action.mean() * duration)
    table.attrs["dual_value"] = float(dual_value)
    # With noise, the pairs' paths are bridges, and their action is of their means alone.
    table.attrs["pair_action"] = None
    if not curve.lagrangian.sigma:
        table.attrs["pair_action"] = float(pair_action)
    return table


def _densities(
    network: PotentialNetwork | OwnPotential,
    curve: LearnedCurve,
    batch: PairBatch,
    directions: Tensor | None,
) -> dict[str, Tensor]:
    """What is averaged, at every sample ``(n,)``, in scaled units and times its mass."""
    lagrangian = curve.lagrangian
    with torch.no_grad():
        point = curve.point(batch)
        pair_action = curve.pair_action(batch)
    x = point.state.requires_grad_()
    weight = point.weight
    s = network.derivatives(batch.time, x, directions, batch.pairs.code)
    H = lagrangian.hamiltonian(batch.time, x, s)
    residual = s.time + H
    squared_speed = s.gradient.square().sum(1)
    kinetic = 0.5 * squared_speed
    # Along a ray, d/dt ∇s is the gradient of ∂s/∂t + ½|∇s|².
    free_residual = s.time + kinetic
    total = free_residual.sum()
    (acceleration,) = torch.autograd.grad(total, x)
    growth = torch.zeros_like(weight)
    potential = torch.zeros_like(weight)
    penalty = lagrangian.growth_penalty
    if penalty is not None:
        growth = 0.5 * penalty * s.value.square()
    if lagrangian.potential is not None:
        potential = lagrangian.energy(batch.time, x)
    # d/dt of E[w s] along the curve stands for the boundary terms and ∂s/∂t of the dual problem.
    along_paths = (s.gradient * point.velocity).sum(1)
    advance = along_paths * weight
    if curve.weighted:
        advance = advance + point.weight_rate * s.value
    energy = kinetic + growth + potential
    dual = advance - weight * energy
    squared_residual = residual.square()
    squared_acceleration = acceleration.square().sum(1)
    return {
        "mass": weight,
        "kinetic": weight * kinetic,
        "growth": weight * growth,
        "potential": weight * potential,
        "residual": weight * residual,
        "residual_square": weight * squared_residual,
        "speed_square": weight * squared_speed,
        "acceleration_square": weight * squared_acceleration,
        "dual": dual,
        "pair_action": pair_action,
    }
