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
    total = off.sum(-1)
    return off - torch.diag_embed(total)


def off_diagonal(matrix: Tensor) -> Tensor:
    """The matrix ``(..., S, S)`` with zeros on its diagonal."""
    return matrix - torch.diag_embed(diagonal(matrix))


def diagonal(matrix: Tensor) -> Tensor:
    """Diagonal ``(..., S)`` of matrices ``(..., S, S)``."""
    return torch.diagonal(matrix, dim1=-2, dim2=-1)


def exit_rates(generator: Tensor) -> Tensor:
    """Jumps out of each state per time unit ``(..., S)``."""
    return -diagonal(generator)


def identity(like: Tensor) -> Tensor:
    """Unit matrix ``(S, S)`` of the size, dtype and device of ``like``."""
    size = like.shape[-1]
    return torch.eye(size, dtype=like.dtype, device=like.device)


def is_diagonal(like: Tensor) -> Tensor:
    """Which entries ``(S, S)`` bool lie on the diagonal of ``like``."""
    size = like.shape[-1]
    return torch.eye(size, dtype=torch.bool, device=like.device)


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
    device = generator.device
    dt = torch.as_tensor(dt, dtype=generator.dtype, device=device)
    a = generator * dt[..., None, None]
    exits = exit_rates(a.detach())
    fastest = exits.amax(-1)
    n_squarings = _squarings(fastest)
    part = 2**n_squarings
    q = fastest[..., None, None] / part
    eye = identity(a)
    positive = a / part + q * eye
    scale = torch.exp(-q)
    p = scale * _exponential(positive, eye)
    for _ in range(n_squarings):
        p = p @ p
        # Rows sum to one; left alone, rounding errors of the sums double with every squaring.
        row_sum = p.detach().sum(-1, keepdim=True)
        p = p / row_sum
    return p


def _squarings(exit_rate: Tensor) -> int:
    """How often to halve the matrix so that its largest exit rate is at most a half."""
    if not exit_rate.numel():
        return 0
    # Rates that overflowed are infinite, of which there is no logarithm to round.
    largest = float(exit_rate.amax().nan_to_num(posinf=1e300))
    if largest <= 0:
        return 0
    doublings = math.log2(largest)
    halvings = math.ceil(doublings) + 1
    return min(max(0, halvings), _MOST_SQUARINGS)


def _exponential(a: Tensor, eye: Tensor) -> Tensor:
    """Taylor's polynomial of degree 16, in six products of matrices."""
    c = _TAYLOR
    a2 = a @ a
    a3 = a2 @ a
    a4 = a2 @ a2
    total = c[16] * a4
    # Horner's rule in the fourth power: four terms of the polynomial at a time.
    for k in (12, 8, 4, 0):
        c0, c1, c2, c3 = c[k : k + 4]
        low = c0 * eye + c1 * a
        high = c2 * a2 + c3 * a3
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
    a = _reordered(generator, order)
    inflows = []
    # The last state leaves the chain first; its visits become jumps between the others.
    for k in range(size - 1, 0, -1):
        entering = a[..., :k, k]
        leaving = a[..., k, :k]
        inflow = entering / leaving.sum(-1, keepdim=True)
        rows = inflow.unsqueeze(-1)
        columns = leaving.unsqueeze(-2)
        detours = rows * columns
        smaller = a[..., :k, :k]
        a = smaller + detours
        inflows.append(inflow)
    weights = torch.ones_like(a[..., 0])
    for inflow in reversed(inflows):
        entering_mass = weights * inflow
        weight = entering_mass.sum(-1, keepdim=True)
        weights = torch.cat([weights, weight], dim=-1)
    total = weights.sum(-1, keepdim=True)
    distribution = weights / total
    # The order swaps two states, so it is its own inverse.
    return distribution.gather(-1, order)


def _recurrent_first(generator: Tensor) -> Tensor:
    """Order ``(..., S)`` of the states that puts a recurrent one first.

    The state that is eliminated last must be one that is never left for good.
    """
    size = generator.shape[-1]
    is_recurrent = recurrent(generator)
    # The first one, as argmax takes the first of equals.
    home = is_recurrent.int().argmax(-1, keepdim=True)
    order = torch.arange(size, device=generator.device)
    order = order.expand_as(is_recurrent)
    is_home = order == home
    swapped = torch.where(is_home, 0, order)
    return torch.where(order == 0, home, swapped)


def _reordered(matrix: Tensor, order: Tensor) -> Tensor:
    """The matrix ``(..., S, S)`` with its rows and columns in an order ``(..., S)``."""
    rows = order.unsqueeze(-1).expand_as(matrix)
    columns = order.unsqueeze(-2).expand_as(matrix)
    by_row = matrix.gather(-2, rows)
    return by_row.gather(-1, columns)


def mean_first_passage(generator: Tensor, target: Tensor) -> Tensor:
    """Mean time ``(..., S)`` until a state of the mask ``target`` ``(..., S)`` is entered.

    It is 0 inside of it, and infinite for a state from which the target may never be reached.
    """
    leading = generator.shape[:-1]
    shape = torch.broadcast_shapes(leading, target.shape)
    size = shape[-1]
    generator = generator.expand(*shape, size)
    target = target.expand(shape)
    # Paths end where they enter the target.
    outside = ~target.unsqueeze(-1)
    stopped = generator * outside
    reach = reachable(stopped)
    is_trap = ~_reaches(reach, target)
    never = _reaches(reach, is_trap)
    is_fixed = target | never
    # Q τ = −1 outside of the target, τ = 0 inside.
    right = is_fixed.to(generator) - 1
    passage_time = solve_outside(generator, is_fixed, right)
    return passage_time.masked_fill(never, torch.inf)


def _reaches(reach: Tensor, target: Tensor) -> Tensor:
    """Which states ``(..., S)`` may reach one of the mask ``target``."""
    hits = reach & target.unsqueeze(-2)
    return hits.any(-1)


def solve_outside(generator: Tensor, is_fixed: Tensor, right: Tensor) -> Tensor:
    """Solve ``Q u = right`` outside of the states ``is_fixed``, and ``u = right`` inside.

    Parameters
    ----------
    generator : Tensor, ``(..., S, S)``
        ``Q``, of which every state that is not fixed can be left.
    is_fixed : Tensor of bool, ``(..., S)``
        States whose value is given.
    right : Tensor, ``(..., S)``
        Right sides and given values.
    """
    # Over the exit rates: the next jump alone counts, so that no unit of time matters.
    divisor = exit_rates(generator).masked_fill(is_fixed, 1.0)
    jumps = generator / divisor.unsqueeze(-1)
    rows = is_fixed.unsqueeze(-1)
    eye = identity(generator)
    matrix = torch.where(rows, eye, jumps)
    column = (right / divisor).unsqueeze(-1)
    solution = torch.linalg.solve(matrix, column)
    return solution.squeeze(-1)


def first_passage_matrix(generator: Tensor) -> Tensor:
    """Mean first-passage times ``(..., S, S)`` from row to column; 0 on the diagonal."""
    # Every state is a target of its own: one more dimension before those of the states.
    targets = is_diagonal(generator)
    return mean_first_passage(generator.unsqueeze(-3), targets).mT


def stationary_fluxes(generator: Tensor) -> Tensor:
    """Stationary jumps per time unit ``π_i Q_ij`` ``(..., S, S)``; 0 on the diagonal."""
    pi = stationary_distribution(generator)
    return pi.unsqueeze(-1) * off_diagonal(generator)


def entropy_production_rate(generator: Tensor) -> Tensor:
    """``Σ_ij π_i Q_ij ln(π_i Q_ij / (π_j Q_ji))`` ``(...)`` in nats per time unit.

    A pair without flux either way counts as 0; a jump that is never undone makes the rate infinite.
    """
    forth = stationary_fluxes(generator)
    back = forth.mT
    happens = forth > 0
    is_undone = back > 0
    is_two_way = happens & is_undone
    is_one_way = happens & ~is_undone
    # A ratio of 1 counts as 0, and leaves no NaN in the gradient.
    above = torch.where(is_two_way, forth, 1.0)
    below = torch.where(is_two_way, back, 1.0)
    production = forth * (above / below).log()
    total = production.sum((-1, -2))
    one_way_jumps = is_one_way.flatten(-2)
    is_infinite = one_way_jumps.any(-1)
    return total.masked_fill(is_infinite, torch.inf)


def reachable(generator: Tensor) -> Tensor:
    """Whether the column's state can be reached from the row's ``(..., S, S)`` bool.

    Every state reaches itself.
    """
    jumps = off_diagonal(generator.detach()) > 0
    reach = jumps | is_diagonal(generator)
    # Squaring doubles the number of jumps, and no way to a state needs more than S − 1.
    most_jumps = generator.shape[-1] - 1
    for _ in range(most_jumps.bit_length()):
        ways = reach.float()
        reach = ways @ ways > 0
    return reach


def recurrent(generator: Tensor) -> Tensor:
    """Whether a state lies in a closed class ``(..., S)`` bool.

    Then it can be reached from all that it reaches.
    """
    reach = reachable(generator)
    returns = ~reach | reach.mT
    return returns.all(-1)


def n_closed_classes(generator: Tensor) -> Tensor:
    """Number of closed communicating classes ``(...)``, at least 1."""
    reach = reachable(generator)
    together = reach & reach.mT
    # A class is counted at its first state.
    first_of_class = together.int().argmax(-1)
    n_states = generator.shape[-1]
    numbers = torch.arange(n_states, device=generator.device)
    is_first = first_of_class == numbers
    is_counted = is_first & recurrent(generator)
    return is_counted.sum(-1)
