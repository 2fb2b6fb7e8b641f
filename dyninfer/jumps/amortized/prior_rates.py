"""Distributions of jump rates: what generators may look like before there are data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dyninfer.jumps.amortized.draws import Draws

# Graphs drawn for each process; the first that leaves no state without a way in or out is taken.
_TRIES = 4
# Second parameters of the Beta distributions of the published prior.
_BETA_B = (1.0, 3.0, 5.0, 10.0)
# Of a Dirichlet distribution: enough that no state is far from its share.
_CONCENTRATION = 50
# Squarings of the matrix of one step: 2^24 steps.
_SQUARINGS = 24


def beta_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """Independent Beta(a, b) rates of every jump, on random graphs.

    ``a`` is in {1, 2} and ``b`` in {1, 3, 5, 10}. With uniform ``U, V``, ``1 − U^{1/b}`` is
    Beta(1, b) and ``1 − U^{1/b} V^{1/(b+1)}`` is Beta(2, b).
    """
    shape = batch, n, n
    choices = torch.tensor(_BETA_B, device=draws.device)
    number = draws.integers(len(_BETA_B), *shape)
    b = choices[number]
    u, v = draws.uniform(2, *shape)
    # With a = 1 the first factor stands alone.
    first = u ** (1 / b)
    second = v ** (1 / (b + 1))
    a_is_two = draws.happens(0.5, *shape)
    product = first * second
    power = torch.where(a_is_two, product, first)
    rates = 1 - power
    return rates * random_graph(batch, n, draws)


def log_uniform_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """Rates whose logarithms are uniform over two to four decades, on random graphs."""
    share = draws.uniform(batch, 1, 1)
    decades = 2 + 2 * share
    rates = draws.below_one(decades, batch, n, n)
    return rates * random_graph(batch, n, draws)


def arrhenius_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """Rates in detailed balance, ``exp(E_i − B_ij)``.

    Wells ``E``, and a barrier ``B_ij = B_ji`` above both of them.
    """
    spread = 2 * draws.uniform(batch, 1, 1)
    normal = draws.normal(batch, n, 1)
    energy = spread * normal
    mean_height = 0.5 + draws.uniform(batch, 1, 1)
    u = draws.uniform(batch, n, n)
    exponential = -u.log()
    upper = (mean_height * exponential).triu(1)
    # The same from both sides, above the higher of the two wells.
    height = upper + upper.mT
    climb = (energy.mT - energy).clamp(min=0)
    rates = torch.exp(-(climb + height))
    graph = random_graph(batch, n, draws)
    # A jump that exists can be undone.
    return rates * graph * graph.mT


def birth_death_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """States in a row with log-uniform rates over two decades, jumps to neighbours only."""
    difference = _differences(n, draws)
    is_neighbour = difference.abs() == 1
    rates = draws.below_one(2.0, batch, n, n)
    return rates * is_neighbour


def ring_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """States in a circle, with jumps up to three decades faster one way round than the other."""
    steps = _differences(n, draws) % n
    ahead = (steps == 1).float()
    slower = draws.below_one(3.0, batch, 1, 1)
    back = slower * ahead.mT
    # Of two states, each is ahead of the other.
    circle = (ahead + back).clamp(max=1)
    rates = draws.below_one(1.0, batch, n, n)
    return circle * rates


def _differences(n: int, draws: Draws) -> Tensor:
    """How far the column's place lies ahead of the row's ``(n, n)``."""
    place = torch.arange(n, device=draws.device)
    return place - place.unsqueeze(1)


def metastable_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """Two groups of states with one to three decades between the rates within and across them."""
    group = draws.integers(2, batch, n)
    own = group.unsqueeze(2)
    other = group.unsqueeze(1)
    is_across = own != other
    slower = 0.1 * draws.below_one(2.0, batch, 1, 1)
    factor = torch.where(is_across, slower, 1.0)
    return factor * beta_rates(batch, n, draws)


def absorbing_rates(batch: int, n: int, draws: Draws) -> Tensor:
    """Rates as of :func:`log_uniform_rates`, but one state, or two of four and more, are ends."""
    rates = log_uniform_rates(batch, n, draws)
    # The first in a random order: any state may be an end.
    order = draws.uniform(batch, n).argsort(-1)
    is_first = order == 0
    is_second = order == 1
    has_second = draws.happens(0.5, batch, 1) > 0
    if n < 4:
        has_second = torch.zeros_like(has_second)
    is_end = is_first | (is_second & has_second)
    return rates * ~is_end.unsqueeze(-1)


RATE_DISTRIBUTIONS: dict[str, Callable[[int, int, Draws], Tensor]] = {
    "beta": beta_rates,
    "log-uniform": log_uniform_rates,
    "arrhenius": arrhenius_rates,
    "birth-death": birth_death_rates,
    "ring": ring_rates,
    "metastable": metastable_rates,
    "absorbing": absorbing_rates,
}


def random_graph(batch: int, n: int, draws: Draws) -> Tensor:
    """Which jumps exist ``(batch, n, n)`` float.

    All of them in half of the graphs; in the others, each with probability one half.
    """
    eye = torch.eye(n, device=draws.device)
    complete = 1 - eye
    happens = draws.happens(0.5, _TRIES, batch, n, n)
    tries = happens * complete
    can_leave = tries.sum(-1) > 0
    can_enter = tries.sum(-2) > 0
    is_open = (can_leave & can_enter).all(-1)
    # The first of equals is the greatest: 0 where no try will do.
    first = is_open.int().argmax(0)
    number = torch.arange(batch, device=draws.device)
    sparse = tries[first, number]
    is_complete = draws.happens(0.5, batch, 1, 1)
    return torch.where(is_complete, complete, sparse)


def long_run_distribution(rates: Tensor) -> Tensor:
    """Distributions ``(batch, n)`` of processes with rates ``(batch, n, n)`` after a long time.

    All states are equally likely at first.
    """
    n = rates.shape[-1]
    exits = rates.sum(-1)
    fastest = exits.amax(-1)
    # So short a step that even the fastest state may be stayed in, and nothing oscillates.
    length = 1 / (1.1 * fastest + 1e-30)
    move = rates * length[:, None, None]
    stay = 1 - move.sum(-1)
    p = move + torch.diag_embed(stay)
    p = p.double()
    for _ in range(_SQUARINGS):
        p = p @ p
        # Rounding would add up over the powers.
        total = p.sum(-1, keepdim=True)
        p = p / total
    return p.sum(-2).float() / n


def near_uniform_distribution(batch: int, n: int, draws: Draws) -> Tensor:
    """Dirichlet(50, …, 50) probabilities ``(batch, n)``.

    Each weight is a sum of 50 exponential numbers.
    """
    u = draws.uniform(_CONCENTRATION, batch, n)
    exponential = -u.log()
    weights = exponential.sum(0)
    return weights / weights.sum(-1, keepdim=True)
