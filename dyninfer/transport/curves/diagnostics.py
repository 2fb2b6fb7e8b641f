"""What a learned potential and a density curve say about each other."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch
from dyninfer.transport.curves.optimizer import pair_action


def diagnose(
    network: PotentialNetwork,
    path: LearnedCurve,
    batch: PairBatch,
    directions: Tensor | None,
    scaling: Scaling,
    bins: int = 20,
) -> pd.DataFrame:
    """Averages over samples of the path by time, in the user's units; totals are in ``attrs``.

    Parameters
    ----------
    network : PotentialNetwork
        The potential, in scaled units.
    path : LearnedCurve
    batch : PairBatch
        Uniform in time.
    directions : tensor, optional
        Along which the Laplacian is summed, as for :meth:`PotentialNetwork.derivatives`.
    scaling : Scaling
    bins : int
        Rows of the table.
    """
    lagrangian = path.lagrangian
    with torch.no_grad():
        point = path.point(batch)
        pairs = pair_action(path, batch)
    x = point.state.requires_grad_()
    s = network.derivatives(batch.time, x, directions)
    residual = s.time + lagrangian.hamiltonian(batch.time, x, s)
    half_square = 0.5 * s.gradient.square().sum(1)
    (acceleration,) = torch.autograd.grad((s.time + half_square).sum(), x)
    weight = point.weight
    zero = torch.zeros_like(weight)
    growth = (
        zero
        if lagrangian.growth_penalty is None
        else 0.5 * lagrangian.growth_penalty * s.value.square()
    )
    potential = zero if lagrangian.potential is None else lagrangian.potential(batch.time, x)
    drive = (s.gradient * point.velocity).sum(1) * weight
    if path.weighted:
        drive = drive + point.weight_rate * s.value
    dual = drive - weight * (half_square + growth + potential)
    columns = (
        torch.stack(
            [
                weight,
                weight * half_square,
                weight * growth,
                weight * potential,
                weight * residual,
                weight * residual.square(),
                weight * s.gradient.square().sum(1),
                weight * acceleration.square().sum(1),
                dual,
                pairs,
            ]
        )
        .detach()
        .double()
        .cpu()
        .numpy()
    )
    edges = np.linspace(0, 1, bins + 1)
    row = np.clip((batch.time.cpu().numpy() * bins).astype(int), 0, bins - 1)
    count = np.maximum(np.bincount(row, minlength=bins), 1)
    m, k, g, v, r, rr, speed, bend, dual_at, pairs_at = (
        np.bincount(row, c, bins) / count for c in columns
    )
    length, time = scaling.unit, scaling.duration
    energy = (length / time) ** 2
    total = np.maximum(m, 1e-12)
    table = pd.DataFrame(
        {
            "time": scaling.start + time * 0.5 * (edges[1:] + edges[:-1]),
            "mass": m,
            "kinetic": k * energy,
            "growth": g * energy,
            "potential": v * energy,
            "residual_mean": r / total * energy,
            "residual_std": np.sqrt(np.maximum(rr / total - (r / total) ** 2, 0)) * energy,
            "speed": np.sqrt(speed / total) * length / time,
            "acceleration": np.sqrt(bend / total) * length / time**2,
        }
    )
    table.attrs = {
        "action": float((k + g - v).mean() * energy * time),
        "dual_value": float(dual_at.mean() * energy * time),
        "pair_action": None if lagrangian.sigma else float(pairs_at.mean() * energy * time),
    }
    return table
