"""What a learned potential and a density curve say about each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch


def diagnose(
    network: PotentialNetwork,
    curve: LearnedCurve,
    batch: PairBatch,
    directions: Tensor | None,
    scaling: Scaling,
    bins: int = 20,
) -> pd.DataFrame:
    """Averages over samples of the curve by time, in the user's units; totals are in ``attrs``.

    Parameters
    ----------
    network : PotentialNetwork
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
    densities = _densities(network, curve, batch, directions)
    row = np.clip((batch.time.cpu().numpy() * bins).astype(int), 0, bins - 1)
    count = np.maximum(np.bincount(row, minlength=bins), 1)
    means = {}
    for name, values in densities.items():
        means[name] = np.bincount(row, values.detach().double().cpu().numpy(), bins) / count
    # Of the moving mass, where the others are of all.
    mass = np.maximum(means["mass"], 1e-12)
    residual = means["residual"] / mass
    variance = np.maximum(means["residual_square"] / mass - residual**2, 0)
    edges = np.linspace(0, 1, bins + 1)
    length, duration, energy = scaling.unit, scaling.duration, scaling.energy_unit
    table = pd.DataFrame(
        {
            "time": scaling.user_times(0.5 * (edges[1:] + edges[:-1])),
            "mass": means["mass"],
            "kinetic": means["kinetic"] * energy,
            "growth": means["growth"] * energy,
            "potential": means["potential"] * energy,
            "residual_mean": residual * energy,
            "residual_std": np.sqrt(variance) * energy,
            "speed": np.sqrt(means["speed_square"] / mass) * length / duration,
            "acceleration": np.sqrt(means["acceleration_square"] / mass) * length / duration**2,
        }
    )
    action = means["kinetic"] + means["growth"] - means["potential"]
    pair_action = float(means["pair_action"].mean() * energy * duration)
    table.attrs = {
        "action": float(action.mean() * energy * duration),
        "dual_value": float(means["dual"].mean() * energy * duration),
        # With noise, the pairs' paths are bridges, and their action is of their means alone.
        "pair_action": None if curve.lagrangian.sigma else pair_action,
    }
    return table


def _densities(
    network: PotentialNetwork, curve: LearnedCurve, batch: PairBatch, directions: Tensor | None
) -> dict[str, Tensor]:
    """What is averaged, at every sample ``(n,)``, in scaled units and times its mass."""
    lagrangian = curve.lagrangian
    with torch.no_grad():
        point = curve.point(batch)
        pair_action = curve.pair_action(batch)
    x = point.state.requires_grad_()
    weight = point.weight
    s = network.derivatives(batch.time, x, directions)
    residual = s.time + lagrangian.hamiltonian(batch.time, x, s)
    kinetic = 0.5 * s.gradient.square().sum(1)
    # Along a ray, d/dt ∇s is the gradient of ∂s/∂t + ½|∇s|².
    (acceleration,) = torch.autograd.grad((s.time + kinetic).sum(), x)
    growth = potential = torch.zeros_like(weight)
    if lagrangian.growth_penalty is not None:
        growth = 0.5 * lagrangian.growth_penalty * s.value.square()
    if lagrangian.potential is not None:
        potential = lagrangian.potential(batch.time, x)
    # d/dt of E[w s] along the curve stands for the boundary terms and ∂s/∂t of the dual problem.
    advance = (s.gradient * point.velocity).sum(1) * weight
    if curve.weighted:
        advance = advance + point.weight_rate * s.value
    return {
        "mass": weight,
        "kinetic": weight * kinetic,
        "growth": weight * growth,
        "potential": weight * potential,
        "residual": weight * residual,
        "residual_square": weight * residual.square(),
        "speed_square": weight * s.gradient.square().sum(1),
        "acceleration_square": weight * acceleration.square().sum(1),
        "dual": advance - weight * (kinetic + growth + potential),
        "pair_action": pair_action,
    }
