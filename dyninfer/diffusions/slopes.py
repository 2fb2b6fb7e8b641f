"""How a field changes from place to place: its divergence, and in two dimensions its curl."""

from __future__ import annotations

import torch
from torch import Tensor

_DIRECTIONS = 16  # coordinates differentiated together


def exact_trace(v: Tensor, x: Tensor) -> Tensor:
    """Sum of ``∂v_i/∂x_i`` ``(n,)``, a few coordinates at a time in one batched backward pass.

    Parameters
    ----------
    v : Tensor ``(n, d)``
        A field at ``x``, with its graph.
    x : Tensor ``(n, d)``
    """
    n, d = x.shape
    total = x.new_zeros(n, dtype=torch.float64)
    if not v.requires_grad:
        return total
    for first in range(0, d, _DIRECTIONS):
        last = min(first + _DIRECTIONS, d)
        columns = torch.arange(first, last, device=x.device)
        one_hot = torch.nn.functional.one_hot(columns, d)
        unit_vectors = one_hot.to(v)
        # One for every point: (direction, n, d).
        basis = unit_vectors[:, None].expand(-1, n, -1)
        (slopes,) = torch.autograd.grad(
            v, x, basis, retain_graph=True, is_grads_batched=True, allow_unused=True
        )
        if slopes is None:
            return total
        # Of the slopes of a coordinate, the one along itself.
        own_columns = columns[:, None, None].expand(-1, n, 1)
        own = slopes.gather(2, own_columns).squeeze(2)
        total += own.double().sum(0)
    return total


def curl(v: Tensor, x: Tensor) -> Tensor:
    """Rotation ``∂v_1/∂x_0 − ∂v_0/∂x_1`` ``(n,)`` of a field in two dimensions.

    Parameters
    ----------
    v : Tensor ``(n, 2)``
        A field at ``x``, with its graph.
    x : Tensor ``(n, 2)``
    """
    total = x.new_zeros(len(x), dtype=torch.float64)
    if not v.requires_grad:
        return total
    for component, coordinate, sign in ((1, 0, 1), (0, 1, -1)):
        along = v[:, component].sum()
        (slopes,) = torch.autograd.grad(along, x, retain_graph=True, allow_unused=True)
        if slopes is not None:
            total += sign * slopes[:, coordinate].double()
    return total
