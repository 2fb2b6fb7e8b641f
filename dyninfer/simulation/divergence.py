"""The divergence of a velocity along paths: exact, or by random signs that ride along."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.slopes import exact_trace
from dyninfer.learning.random import subseed
from dyninfer.simulation.equation import Equation, Rate, Rates
from dyninfer.simulation.noise import PathNoise


def random_signs(points: Tensor, n_probes: int, seed: int) -> Tensor:
    """Signs ``(n, n_probes · d)``; those of a point depend on its number and the seed alone."""
    width = n_probes * points.shape[1]
    own_seed = subseed(seed, "signs")
    noise = PathNoise(own_seed, 1, width, like=points)
    # Of a single step.
    (normals,) = noise.segment(range(len(points)), 0)
    return normals.sign()


def with_divergence(process: Diffusion, flow: Equation, d: int) -> Rates:
    """Rates of ``(x, signs)`` whose growth is ``growth − ∇·v``.

    The signs ride along as coordinates that stay, so that each point keeps its own.
    """

    def rates(t: Tensor, y: Tensor) -> Rate:
        signs = y[:, d:]
        with torch.enable_grad():
            states = y[:, :d]
            x = states.detach().requires_grad_(True)
            v, growth = flow.rates(t, x)
        divergence = None
        if signs.shape[1] > 0:
            probes = signs.unflatten(1, (-1, d))
            divergence = _hutchinson(v, x, probes)
        elif flow.own_drift:
            divergence = process.divergence(t, x.detach())
        if divergence is None:
            divergence = exact_trace(v, x)
        rate = -divergence
        if growth is not None:
            rate = rate + growth.detach()
        at_rest = torch.zeros_like(signs)
        velocity = torch.cat([v.detach(), at_rest], dim=1)
        return velocity, rate

    return rates


def _hutchinson(v: Tensor, x: Tensor, signs: Tensor) -> Tensor:
    """Mean over random signs ``e`` of ``eᵀ (∂v/∂x) e`` ``(n,)``."""
    total = x.new_zeros(len(x), dtype=torch.float64)
    if not v.requires_grad:
        return total
    for e in signs.unbind(1):
        (slopes,) = torch.autograd.grad(v, x, e, retain_graph=True, allow_unused=True)
        if slopes is None:
            return total
        total += (slopes * e).sum(1).double()
    return total / signs.shape[1]
