"""A nonlinear equation frozen along the path that is likely: what its guide may know of drift and amplitude."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


class Frozen(NamedTuple):
    """Fields linearised about a path ``x̂``: ``f(t, x) ≈ f̂ + J (x − x̂)`` coordinate by coordinate, ``g(t, x) ≈ ĝ``.

    The fields carry gradients, for the draws they shape decide how near the bound comes to the evidence; ``x̂`` does not.

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
        cls, path: Tensor, times: Tensor, drift: Field | None, amplitude: Field | None
    ) -> Frozen:
        """Freeze at states ``(P, L − 1, d)`` and times ``(P, L − 1)``."""
        x, t = path.detach().flatten(0, 1), times.flatten()
        push, slope = torch.zeros_like(x), torch.zeros_like(x)
        if drift is not None:
            value, slope = _with_slope(drift, t, x)
            slope = slope.clamp(
                max=0
            )  # a drift that drives apart says too much of where a path ends
            push = value - slope * x
        scale = None if amplitude is None else amplitude(t, x).view_as(path)
        return cls(push.view_as(path), slope.view_as(path), scale)


def _with_slope(field: Field, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A field and the diagonal of its Jacobian, ``(n, d)`` each."""
    learning = torch.is_grad_enabled()
    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        value = field(t, x)
        if not value.requires_grad:  # a constant
            return value, torch.zeros_like(value)
        columns = [
            torch.autograd.grad(
                value[:, i].sum(), x, retain_graph=True, create_graph=learning, allow_unused=True
            )[0]
            for i in range(x.shape[1])
        ]
    slopes = [torch.zeros_like(x[:, i]) if c is None else c[:, i] for i, c in enumerate(columns)]
    return value if learning else value.detach(), torch.stack(slopes, dim=1)
