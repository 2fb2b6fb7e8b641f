"""What a generator implies: transition probabilities, stationary law, passage times, fluxes.

All functions take generators ``(..., S, S)`` (rows sum to zero, ``Q[i, j]`` is the rate of the jump from ``i`` to
``j``), broadcast over the leading dimensions and are differentiable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_TAYLOR = [1 / math.factorial(k) for k in range(17)]
_MOST_SQUARINGS = 60


def with_diagonal(rates: Tensor) -> Tensor:
    """Generator ``(..., S, S)`` of jump rates: whatever the diagonal was, it becomes minus the sum of its row."""
    off = off_diagonal(rates)
    return off - torch.diag_embed(off.sum(-1))


def off_diagonal(matrix: Tensor) -> Tensor:
    """The matrix ``(..., S, S)`` with zeros on its diagonal."""
    return matrix - torch.diag_embed(torch.diagonal(matrix, dim1=-2, dim2=-1))


def transition_matrix(generator: Tensor, dt: Tensor | float) -> Tensor:
    """Transition probabilities ``exp(Q dt)``, accurate in every entry relative to its own size.

    With ``q`` the largest exit rate, ``exp(Q dt) = e^{−q dt} exp((Q + q I) dt)`` has no negative term anywhere, so
    that nothing cancels: probabilities of many rare jumps keep their digits, where a general matrix exponential
    leaves rounding noise of 1e-17. Taylor's polynomial of degree 16 by Paterson and Stockmeyer, then squaring.

    Parameters
    ----------
    generator : Tensor, ``(..., S, S)``
        Rates per time unit.
    dt : Tensor ``(...)`` or float
        Elapsed times, not negative; broadcast against the generators.

    Returns
    -------
    Tensor, ``(..., S, S)``
        Row ``i`` is the law after ``dt`` of a path that starts in ``i``.
    """
    dt = torch.as_tensor(dt, dtype=generator.dtype, device=generator.device)
    a = generator * dt[..., None, None]
    eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)
    q = -torch.diagonal(a.detach(), dim1=-2, dim2=-1).amin(-1)[..., None, None]
    largest = float(q.amax().nan_to_num(posinf=1e300)) if q.numel() else 0.0
    squarings = (
        min(max(0, math.ceil(math.log2(largest)) + 1), _MOST_SQUARINGS) if largest > 0 else 0
    )
    q = q / 2**squarings
    p = torch.exp(-q) * _taylor(a / 2**squarings + q * eye, eye)
    for _ in range(squarings):
        p = p @ p
        # Rows sum to one; left alone, rounding errors of the sums double with every squaring.
        p = p / p.detach().sum(-1, keepdim=True)
    return p


def _taylor(a: Tensor, eye: Tensor) -> Tensor:
    c, a2 = _TAYLOR, a @ a
    a3 = a2 @ a
    a4 = a2 @ a2
    total = c[16] * a4
    for k in (12, 8, 4, 0):
        total = total + (c[k] * eye + c[k + 1] * a + c[k + 2] * a2 + c[k + 3] * a3)
        total = a4 @ total if k else total
    return total


def stationary_law(generator: Tensor) -> Tensor:
    """Stationary law ``(..., S)`` of generators with one closed class; states outside of it have probability 0.

    Elimination by Grassmann, Taksar and Heyman (1985, Oper. Res. 33, 1107), which subtracts nothing: every
    probability is right relative to its own size, however far the rates are spread.
    """
    size = generator.shape[-1]
    home = (
        recurrent(generator).int().argmax(-1)
    )  # the last state left must be one that is never left for good
    order = torch.arange(size, device=generator.device).expand(*generator.shape[:-2], size)
    order = torch.where(
        order == 0, home[..., None], torch.where(order == home[..., None], 0, order)
    )
    rows = order[..., :, None].expand(generator.shape)
    a = generator.gather(-2, rows).gather(-1, order[..., None, :].expand(generator.shape))
    inflow = []
    for k in range(size - 1, 0, -1):
        share = a[..., :k, k] / a[..., k, :k].sum(-1, keepdim=True)
        a = a[..., :k, :k] + share[..., :, None] * a[..., k, None, :k]
        inflow.append(share)
    law = torch.ones_like(a[..., 0])
    for share in reversed(inflow):
        law = torch.cat([law, (law * share).sum(-1, keepdim=True)], dim=-1)
    law = law / law.sum(-1, keepdim=True)
    return law.gather(-1, order)  # the reordering swaps two states, so it is its own inverse


def mean_first_passage(generator: Tensor, target: Tensor) -> Tensor:
    """Mean time ``(..., S)`` until a state of the mask ``target`` ``(..., S)`` is entered; 0 inside of it.

    Infinite for a state from which the target may never be reached.
    """
    shape = torch.broadcast_shapes(generator.shape[:-1], target.shape)
    generator, target = generator.expand(*shape, shape[-1]), target.expand(shape)
    stopped = generator * ~target[..., None]
    reach = reachable(stopped)
    lost = ~(reach & target[..., None, :]).any(-1)
    never = (reach & lost[..., None, :]).any(-1)
    fixed = target | never
    eye = torch.eye(shape[-1], dtype=generator.dtype, device=generator.device)
    matrix = torch.where(fixed[..., None], eye, generator)
    right = torch.where(fixed, torch.zeros_like(matrix[..., 0]), -torch.ones_like(matrix[..., 0]))
    return torch.linalg.solve(matrix, right[..., None])[..., 0].masked_fill(never, torch.inf)


def first_passage_matrix(generator: Tensor) -> Tensor:
    """Mean first-passage times ``(..., S, S)`` from row to column; 0 on the diagonal."""
    each = torch.eye(generator.shape[-1], dtype=torch.bool, device=generator.device)
    return mean_first_passage(generator[..., None, :, :], each).transpose(-1, -2)


def stationary_fluxes(generator: Tensor) -> Tensor:
    """Jumps per time unit ``π_i Q_ij`` ``(..., S, S)`` in the stationary state; 0 on the diagonal."""
    return stationary_law(generator)[..., :, None] * off_diagonal(generator)


def entropy_production_rate(generator: Tensor, law: Tensor | None = None) -> Tensor:
    """``Σ_ij p_i Q_ij ln(p_i Q_ij / (p_j Q_ji))`` ``(...)`` in nats per time unit; ``law`` is ``π`` by default.

    A pair without flux either way counts as 0; a jump that is never undone makes the rate infinite.
    """
    law = stationary_law(generator) if law is None else law
    forth = law[..., :, None] * off_diagonal(generator)
    back = forth.transpose(-1, -2)
    one_way = ((forth > 0) & (back == 0)).any(-1).any(-1)
    both = (forth > 0) & (back > 0)
    ratio = torch.where(both, forth, 1.0) / torch.where(both, back, 1.0)
    return (forth * ratio.log()).sum((-1, -2)).masked_fill(one_way, torch.inf)


def reachable(generator: Tensor) -> Tensor:
    """Whether the column's state can be reached from the row's ``(..., S, S)`` bool; every state reaches itself."""
    size = generator.shape[-1]
    eye = torch.eye(size, dtype=torch.bool, device=generator.device)
    reach = (off_diagonal(generator.detach()) > 0) | eye
    for _ in range(max(1, math.ceil(math.log2(max(size, 2))))):
        reach = (reach.float() @ reach.float()) > 0
    return reach


def recurrent(generator: Tensor) -> Tensor:
    """Whether a state lies in a closed class ``(..., S)`` bool: it can be reached from all that it reaches."""
    reach = reachable(generator)
    return (~reach | reach.transpose(-1, -2)).all(-1)


def n_closed_classes(generator: Tensor) -> Tensor:
    """Number of closed communicating classes ``(...)``, at least 1."""
    reach = reachable(generator)
    together = reach & reach.transpose(-1, -2)
    first = together.int().argmax(-1) == torch.arange(generator.shape[-1], device=generator.device)
    return (recurrent(generator) & first).sum(-1)
