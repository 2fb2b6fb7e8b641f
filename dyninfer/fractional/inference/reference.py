"""A nonlinear equation frozen along its likely path: what the guide may know of its fields."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


class Frozen(NamedTuple):
    """Fields linearised about a path ``x̂``, coordinate by coordinate.

    ``f(t, x) ≈ f̂ + J (x − x̂)`` and ``g(t, x) ≈ ĝ``. The fields carry gradients, for the draws
    that they shape decide how near the bound comes to the evidence; ``x̂`` does not.

    Attributes
    ----------
    push : Tensor, ``(P, L − 1, d)``
        ``f̂ − J x̂``, per time unit; 0 without a drift.
    slope : Tensor, ``(P, L − 1, d)``
        ``J``, the diagonal of the Jacobian where it is negative, else 0.
    amplitude : Tensor, ``(P, L − 1, d)``, or None
        ``ĝ``.
    """

    push: Tensor
    slope: Tensor
    amplitude: Tensor | None

    @classmethod
    def along(
        cls,
        path: Tensor,
        times: Tensor,
        drift: Field | None,
        amplitude: Field | None,
    ) -> Frozen:
        """Freeze at states ``(P, L − 1, d)`` and times ``(P, L − 1)``."""
        x = path.detach().flatten(0, 1)
        t = times.flatten()
        push = torch.zeros_like(x)
        slope = torch.zeros_like(x)
        if drift is not None:
            value, slope = _with_slope(drift, t, x)
            # A drift that drives apart says too much of where a path ends.
            slope = slope.clamp(max=0)
            push = value - slope * x
        scale = None
        if amplitude is not None:
            scale = amplitude(t, x).view_as(path)
        return cls(
            push=push.view_as(path),
            slope=slope.view_as(path),
            amplitude=scale,
        )


def _with_slope(field: Field, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A field and the diagonal of its Jacobian, ``(n, d)`` each."""
    is_learning = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        value = field(t, x)
        if not value.requires_grad:
            # A constant.
            return value, torch.zeros_like(value)
        n_states = x.shape[1]
        slopes = [_slope(value, x, i, is_learning) for i in range(n_states)]
    slope = torch.stack(slopes, dim=1)
    if is_learning:
        return value, slope
    return value.detach(), slope


def _slope(value: Tensor, x: Tensor, i: int, is_learning: bool) -> Tensor:
    """``∂f_i/∂x_i``, ``(n,)``."""
    (column,) = torch.autograd.grad(
        value[:, i].sum(),
        x,
        retain_graph=True,
        create_graph=is_learning,
        allow_unused=True,
    )
    if column is None:
        return torch.zeros_like(x[:, i])
    return column[:, i]
