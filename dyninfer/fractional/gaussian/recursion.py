"""Linear recursions over time, and what a result of them owes to all earlier steps.

On a CPU they go step by step. A device waits for every operation to be started, so there they are
taken in doublings: after ``k`` of them every entry knows the ``2ᵏ`` before it (Hillis and Steele
1986), and ``log₂ L`` operations do the work of ``L``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Of matrices and shifts.
Solver = Callable[[Tensor, Tensor], Tensor]


def follow(matrices: Tensor, shifts: Tensor) -> Tensor:
    """``h_0 = c_0``, ``h_{n+1} = A_n h_n + c_{n+1}``, with gradients in both.

    Parameters
    ----------
    matrices : Tensor, ``(L − 1, P or 1, G, S, S)``
        ``A``.
    shifts : Tensor, ``(L, P, G, S, k)``
        ``c``, in columns.

    Returns
    -------
    Tensor, ``(L, P, G, S, k)``
    """
    n_paths, n_groups = shifts.shape[1:3]
    if len(matrices) and matrices.shape[1] == n_paths:
        columns = shifts.flatten(1, 2)
        entries = _Follow.apply(matrices.flatten(1, 2), columns)
        return entries.unflatten(1, (n_paths, n_groups))
    # One matrix for all paths: they are so many columns, and no copies of it are made.
    by_group = shifts.permute(0, 2, 3, 1, 4)
    entries = _Follow.apply(matrices[:, 0], by_group.flatten(3))
    return entries.view(by_group.shape).permute(0, 3, 1, 2, 4)


def _solver(values: Tensor) -> Solver:
    """How recursions are solved where these values are."""
    if values.device.type == "cpu":
        return by_steps
    return by_doubling


def by_steps(matrices: Tensor, shifts: Tensor) -> Tensor:
    """Entries ``(L, B, S, k)`` of a recursion, one after the other."""
    first, *others = shifts.unbind(0)
    entries = [first]
    for matrix, shift in zip(matrices.unbind(0), others, strict=True):
        entries.append(torch.baddbmm(shift, matrix, entries[-1]))
    return torch.stack(entries)


def by_doubling(matrices: Tensor, shifts: Tensor) -> Tensor:
    """Entries ``(L, B, S, k)`` of a recursion, in ``log₂ L`` doublings."""
    n_times = len(shifts)
    # Nothing comes before the first entry.
    n_batch, size = shifts.shape[1:3]
    nothing = shifts.new_zeros(1, n_batch, size, size)
    ways = torch.cat([nothing, matrices])
    entries = shifts
    reach = 1
    while reach < n_times:
        way = ways[reach:]
        further = entries[reach:] + way @ entries[:-reach]
        entries = torch.cat([entries[:reach], further])
        longer = way @ ways[:-reach]
        ways = torch.cat([ways[:reach], longer])
        reach *= 2
    return entries


class _Follow(torch.autograd.Function):
    """A recursion of matrices ``(L − 1, B, S, S)`` and columns ``(L, B, S, k)``."""

    @staticmethod
    def forward(ctx: Any, matrices: Tensor, shifts: Tensor) -> Tensor:
        """Its entries."""
        ctx.solver = _solver(shifts)
        entries = ctx.solver(matrices, shifts)
        ctx.save_for_backward(matrices, entries)
        return entries

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of the matrices and of the shifts."""
        matrices, entries = ctx.saved_tensors
        of_shifts = _carried_back(ctx.solver, grads[0], matrices)
        of_matrices = of_shifts[1:] @ entries[:-1].mT
        return of_matrices, of_shifts


class KnownSteps(torch.autograd.Function):
    """Entries that are known already, with the gradient that each has through all later ones.

    ``(L, B, S, k)`` entries and ``(L − 1, B, S, S)`` derivatives of every step's end in its
    beginning, which have no gradient themselves.
    """

    @staticmethod
    def forward(ctx: Any, entries: Tensor, derivatives: Tensor) -> Tensor:
        """The entries."""
        ctx.solver = _solver(entries)
        ctx.save_for_backward(derivatives)
        return entries.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        """What the entries mean to a loss, through all that follows from them."""
        (derivatives,) = ctx.saved_tensors
        return _carried_back(ctx.solver, grads[0], derivatives), None


def _carried_back(solver: Solver, grads: Tensor, matrices: Tensor) -> Tensor:
    """Gradients ``(L, B, S, k)`` through all later steps: ``μ_n = g_n + A_nᵀ μ_{n+1}``."""
    onward = solver(matrices.mT.flip(0), grads.flip(0))
    return onward.flip(0)
