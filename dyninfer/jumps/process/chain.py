"""What a generator implies: transition probabilities, stationary distribution, passages, fluxes.

All functions take generators ``(..., S, S)`` (rows sum to zero, ``Q[i, j]`` is the rate of the jump
from ``i`` to ``j``), broadcast over the leading dimensions and are differentiable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TAYLOR = [1 / math.factorial(k) for k in range(17)]
_MOST_SQUARINGS = 60  # 2^60 jumps in one step: beyond, float64 has no digits left for the rest


def with_diagonal(rates: Tensor) -> Tensor:
    """Generator ``(..., S, S)`` of jump rates.

    Whatever the diagonal was, it becomes minus the sum of its row.
    """
    off = off_diagonal(rates)
    return off - torch.diag_embed(off.sum(-1))


def off_diagonal(matrix: Tensor) -> Tensor:
    """The matrix ``(..., S, S)`` with zeros on its diagonal."""
    return matrix - torch.diag_embed(torch.diagonal(matrix, dim1=-2, dim2=-1))


def transition_matrix(generator: Tensor, dt: Tensor | float) -> Tensor:
    """Transition probabilities ``exp(Q dt)``, accurate in every entry relative to its own size.

    With ``q`` the largest exit rate, ``exp(Q dt) = e^{−q dt} exp((Q + q I) dt)`` has no negative
    term anywhere, so that nothing cancels: probabilities of many rare jumps keep their digits,
    where a general matrix exponential leaves rounding noise of 1e-17. Taylor's polynomial of degree
    16 by Paterson and Stockmeyer, then squaring.

    Parameters
    ----------
    generator : Tensor, ``(..., S, S)``
        Rates per time unit.
    dt : Tensor ``(...)`` or float
        Elapsed times, not negative; broadcast against the generators.

    Returns
    -------
    Tensor, ``(..., S, S)``
        Row ``i`` is the distribution after ``dt`` of a path that starts in ``i``.
    """
    dt = torch.as_tensor(dt, dtype=generator.dtype, device=generator.device)
    a = generator * dt[..., None, None]
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    exit_rates = -torch.diagonal(a.detach(), dim1=-2, dim2=-1)
    q = exit_rates.amax(-1)[..., None, None]
    n_squarings = _squarings(q)
    q = q / 2**n_squarings
    p = torch.exp(-q) * _exponential(a / 2**n_squarings + q * eye, eye)
    for _ in range(n_squarings):
        p = p @ p
        # Rows sum to one; left alone, rounding errors of the sums double with every squaring.
        p = p / p.detach().sum(-1, keepdim=True)
    return p


def _squarings(q: Tensor) -> int:
    """How often to halve the matrix so that its largest exit rate is at most a half."""
    if not q.numel():
        return 0
    # Rates that overflowed are infinite, of which there is no logarithm to round.
    largest = float(q.amax().nan_to_num(posinf=1e300))
    if largest <= 0:
        return 0
    return min(max(0, math.ceil(math.log2(largest)) + 1), _MOST_SQUARINGS)


def _exponential(a: Tensor, eye: Tensor) -> Tensor:
    """Taylor's polynomial of degree 16, in six products of matrices."""
    c = _TAYLOR
    a2 = a @ a
    a3 = a2 @ a
    a4 = a2 @ a2
    total = c[16] * a4
    for k in (12, 8, 4, 0):
        low = c[k] * eye + c[k + 1] * a
        high = c[k + 2] * a2 + c[k + 3] * a3
        total = total + low + high
        if k > 0:
            total = a4 @ total
    return total


def stationary_distribution(generator: Tensor) -> Tensor:
    """Stationary distribution ``(..., S)`` of generators with one closed class.

    States outside of it have probability 0. Elimination by Grassmann, Taksar and Heyman (1985,
    Oper. Res. 33, 1107), which subtracts nothing: every probability is right relative to its own
    size, however far the rates are spread.
    """
    size = generator.shape[-1]
    order = _recurrent_first(generator)
    rows = order[..., :, None].expand(generator.shape)
    columns = order[..., None, :].expand(generator.shape)
    a = generator.gather(-2, rows).gather(-1, columns)
    inflows = []
    for k in range(size - 1, 0, -1):
        inflow = a[..., :k, k] / a[..., k, :k].sum(-1, keepdim=True)
        a = a[..., :k, :k] + inflow[..., :, None] * a[..., k, None, :k]
        inflows.append(inflow)
    weights = torch.ones_like(a[..., 0])
    for inflow in reversed(inflows):
        new = (weights * inflow).sum(-1, keepdim=True)
        weights = torch.cat([weights, new], dim=-1)
    distribution = weights / weights.sum(-1, keepdim=True)
    # The order swaps two states, so it is its own inverse.
    return distribution.gather(-1, order)


def _recurrent_first(generator: Tensor) -> Tensor:
    """Order ``(..., S)`` of the states that puts a recurrent one first.

    The state that is eliminated last must be one that is never left for good.
    """
    size = generator.shape[-1]
    is_recurrent = recurrent(generator)
    # The first one, as argmax takes the first of equals.
    home = is_recurrent.int().argmax(-1)[..., None]
    order = torch.arange(size, device=generator.device).expand_as(is_recurrent)
    swapped = torch.where(order == home, 0, order)
    return torch.where(order == 0, home, swapped)


def mean_first_passage(generator: Tensor, target: Tensor) -> Tensor:
    """Mean time ``(..., S)`` until a state of the mask ``target`` ``(..., S)`` is entered.

    It is 0 inside of it, and infinite for a state from which the target may never be reached.
    """
    shape = torch.broadcast_shapes(generator.shape[:-1], target.shape)
    generator, target = generator.expand(*shape, shape[-1]), target.expand(shape)
    # Paths end where they enter the target.
    stopped = generator * ~target[..., None]
    reach = reachable(stopped)
    reaches_target = (reach & target[..., None, :]).any(-1)
    is_trap = ~reaches_target
    never = (reach & is_trap[..., None, :]).any(-1)
    is_fixed = target | never
    eye = torch.eye(shape[-1], dtype=generator.dtype, device=generator.device)
    # Q τ = −1 outside of the target, τ = 0 inside; over the exit rates, so that no unit matters.
    exit_rates = -torch.diagonal(generator, dim1=-2, dim2=-1)
    exit_rates = torch.where(is_fixed, 1.0, exit_rates)
    matrix = torch.where(is_fixed[..., None], eye, generator / exit_rates[..., None])
    right = (is_fixed.to(generator) - 1) / exit_rates
    passage_time = torch.linalg.solve(matrix, right[..., None])[..., 0]
    return passage_time.masked_fill(never, torch.inf)


def first_passage_matrix(generator: Tensor) -> Tensor:
    """Mean first-passage times ``(..., S, S)`` from row to column; 0 on the diagonal."""
    targets = torch.eye(generator.shape[-1], dtype=torch.bool, device=generator.device)
    return mean_first_passage(generator[..., None, :, :], targets).transpose(-1, -2)


def stationary_fluxes(generator: Tensor) -> Tensor:
    """Stationary jumps per time unit ``π_i Q_ij`` ``(..., S, S)``; 0 on the diagonal."""
    return stationary_distribution(generator)[..., :, None] * off_diagonal(generator)


def entropy_production_rate(generator: Tensor) -> Tensor:
    """``Σ_ij π_i Q_ij ln(π_i Q_ij / (π_j Q_ji))`` ``(...)`` in nats per time unit.

    A pair without flux either way counts as 0; a jump that is never undone makes the rate infinite.
    """
    forth = stationary_fluxes(generator)
    back = forth.transpose(-1, -2)
    is_one_way = (forth > 0) & (back == 0)
    is_two_way = (forth > 0) & (back > 0)
    # A ratio of 1 counts as 0, and leaves no NaN in the gradient.
    above = torch.where(is_two_way, forth, 1.0)
    below = torch.where(is_two_way, back, 1.0)
    production = forth * (above / below).log()
    is_infinite = is_one_way.any(-1).any(-1)
    return production.sum((-1, -2)).masked_fill(is_infinite, torch.inf)


def reachable(generator: Tensor) -> Tensor:
    """Whether the column's state can be reached from the row's ``(..., S, S)`` bool.

    Every state reaches itself.
    """
    size = generator.shape[-1]
    eye = torch.eye(size, dtype=torch.bool, device=generator.device)
    reach = (off_diagonal(generator.detach()) > 0) | eye
    # Squaring doubles the number of jumps: log2(S) squarings reach everything.
    for _ in range(max(1, math.ceil(math.log2(max(size, 2))))):
        reach = (reach.float() @ reach.float()) > 0
    return reach


def recurrent(generator: Tensor) -> Tensor:
    """Whether a state lies in a closed class ``(..., S)`` bool.

    Then it can be reached from all that it reaches.
    """
    reach = reachable(generator)
    return (~reach | reach.transpose(-1, -2)).all(-1)


def n_closed_classes(generator: Tensor) -> Tensor:
    """Number of closed communicating classes ``(...)``, at least 1."""
    reach = reachable(generator)
    together = reach & reach.transpose(-1, -2)
    numbers = torch.arange(generator.shape[-1], device=generator.device)
    is_first_of_class = together.int().argmax(-1) == numbers
    return (recurrent(generator) & is_first_of_class).sum(-1)
