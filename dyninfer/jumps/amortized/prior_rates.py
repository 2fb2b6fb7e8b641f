"""Distributions of jump rates: what generators may look like before there are data."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Graphs drawn for each process; the first that leaves no state without a way in or out is taken.
_TRIES = 4


def beta_rates(batch: int, n: int, g: torch.Generator) -> Tensor:
    """Independent Beta(a, b) rates of every jump, on random graphs.

    ``a`` is in {1, 2} and ``b`` in {1, 3, 5, 10}.

    With uniform ``U, V``, ``1 − U^{1/b}`` is Beta(1, b) and ``1 − U^{1/b} V^{1/(b+1)}`` is
    Beta(2, b).
    """
    choices = torch.tensor([1.0, 3.0, 5.0, 10.0], device=g.device)
    b = choices[_integers(4, (batch, n, n), g)]
    two = _integers(2, (batch, n, n), g).bool()
    u, v = _uniform((2, batch, n, n), g)
    rates = 1 - u ** (1 / b) * torch.where(two, v ** (1 / (b + 1)), 1.0)
    return rates * random_graph(batch, n, g)


def log_uniform_rates(batch: int, n: int, g: torch.Generator) -> Tensor:
    """Rates whose logarithms are uniform over two to four decades, on random graphs."""
    decades = 2 + 2 * _uniform((batch, 1, 1), g)
    rates = 10 ** (-decades * _uniform((batch, n, n), g))
    return rates * random_graph(batch, n, g)


def arrhenius_rates(batch: int, n: int, g: torch.Generator) -> Tensor:
    """Rates in detailed balance, ``exp(E_i − B_ij)``.

    Wells ``E``, and a barrier ``B_ij = B_ji`` above both of them.
    """
    spread = 2 * _uniform((batch, 1, 1), g)
    energy = spread * torch.randn(batch, n, 1, generator=g, device=g.device)
    mean_height = 0.5 + _uniform((batch, 1, 1), g)
    height = -mean_height * _uniform((batch, n, n), g).log()
    height = height.triu(1) + height.triu(1).mT
    graph = random_graph(batch, n, g)
    above = (energy.mT - energy).clamp(min=0) + height
    return torch.exp(-above) * graph * graph.mT


def birth_death_rates(batch: int, n: int, g: torch.Generator) -> Tensor:
    """States in a row with log-uniform rates over two decades, jumps to neighbours only."""
    row = torch.arange(n, device=g.device)
    near = (row[:, None] - row).abs() == 1
    return 10 ** (-2 * _uniform((batch, n, n), g)) * near


def ring_rates(batch: int, n: int, g: torch.Generator) -> Tensor:
    """States in a circle that is run through in one direction more than in the other."""
    row = torch.arange(n, device=g.device)
    ahead = ((row[None, :] - row[:, None]) % n == 1).float()
    slower = 10 ** (-3 * _uniform((batch, 1, 1), g))
    # Of two states, each is ahead of the other.
    circle = (ahead + slower * ahead.mT).clamp(max=1)
    return circle * 10 ** (-_uniform((batch, n, n), g))


def metastable_rates(batch: int, n: int, g: torch.Generator) -> Tensor:
    """Two groups of states with one to three decades between the rates within and across them."""
    side = _integers(2, (batch, n), g)
    across = side[:, :, None] != side[:, None, :]
    slower = 10 ** (-1 - 2 * _uniform((batch, 1, 1), g))
    return beta_rates(batch, n, g) * torch.where(across, slower, 1.0)


RATE_DISTRIBUTIONS: dict[str, Callable[[int, int, torch.Generator], Tensor]] = {
    "beta": beta_rates,
    "log-uniform": log_uniform_rates,
    "arrhenius": arrhenius_rates,
    "birth-death": birth_death_rates,
    "ring": ring_rates,
    "metastable": metastable_rates,
}


def random_graph(batch: int, n: int, g: torch.Generator) -> Tensor:
    """Which jumps exist ``(batch, n, n)`` float.

    All of them in half of the graphs, else each with chance one half.
    """
    complete = 1 - torch.eye(n, device=g.device)
    tries = (_uniform((_TRIES, batch, n, n), g) < 0.5) * complete
    can_leave, can_enter = (tries.sum(-1) > 0).all(-1), (tries.sum(-2) > 0).all(-1)
    first = (can_leave & can_enter).int().argmax(0)
    sparse = tries[first, torch.arange(batch, device=g.device)]
    is_complete = _uniform((batch, 1, 1), g) < 0.5
    return torch.where(is_complete, complete, sparse)


def long_run_distribution(rates: Tensor) -> Tensor:
    """Where processes with rates ``(batch, n, n)`` are after a very long time ``(batch, n)``.

    They begin anywhere alike. Found by squaring the matrix of one short step 24 times.
    """
    n = rates.shape[-1]
    # So short that even the fastest state may be stayed in, and nothing oscillates.
    fastest = 1.1 * rates.sum(-1).amax(-1) + 1e-30
    step = rates / fastest[:, None, None]
    p = (step + torch.diag_embed(1 - step.sum(-1))).double()
    for _ in range(24):
        p = p @ p
        # Rounding would add up over the powers.
        p = p / p.sum(-1, keepdim=True)
    return p.sum(-2).float() / n


def near_uniform_distribution(batch: int, n: int, g: torch.Generator) -> Tensor:
    """Dirichlet(50, …, 50) probabilities ``(batch, n)``.

    Each weight is a sum of 50 exponential numbers.
    """
    weights = -_uniform((50, batch, n), g).log().sum(0)
    return weights / weights.sum(-1, keepdim=True)


def log_uniform(low: float, high: float, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    """Numbers whose logarithms are uniform."""
    return torch.exp(math.log(low) + math.log(high / low) * _uniform(shape, g))


def _uniform(shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    # Never zero: logarithms are taken.
    return torch.rand(shape, generator=g, device=g.device).clamp(min=1e-7)


def _integers(below: int, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
    return torch.randint(below, shape, generator=g, device=g.device)
