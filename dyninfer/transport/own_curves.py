"""Interpolants of the user's own: curves that are no combination of their end points."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dyninfer.learning.scaling import Scaling
from dyninfer.transport.interpolants import Interpolant, derivative

# Relative to the spread of the data: what single precision and a sine of π leave of zero.
_TOLERANCE = 1e-3
# Pairs that are looked at.
_N_PAIRS = 64
Line = Callable[[Tensor], tuple[Tensor, Tensor]]


def own_line(interpolant: Interpolant, scaling: Scaling, part: Tensor, gap: Tensor) -> Line:
    """Function that gives ``I`` and ``∂I/∂t`` through knots ``(n, 2, d)``, all in scaled units.

    Parameters
    ----------
    interpolant : Interpolant
        In the units of the data.
    scaling : Scaling
    part : tensor ``(n,)``
        Part of its interval that every time lies at.
    gap : tensor ``(n,)``
        Length of the interval.
    """

    def line(knots: Tensor) -> tuple[Tensor, Tensor]:
        ends = scaling.user_states(knots)
        first, last = ends.unbind(1)
        t = part.to(ends)
        position = interpolant.position(t, first, last)
        velocity = interpolant.velocity(t, first, last)
        displacement = scaling.displacements(velocity)
        rate = displacement / gap[:, None]
        return scaling.states(position), rate.to(knots)

    return line


def check_own_curve(interpolant: Interpolant, scaling: Scaling, knots: Tensor) -> None:
    """Raise a ValueError where a curve does not join its samples, or its velocity is another's.

    Parameters
    ----------
    interpolant : Interpolant
    scaling : Scaling
    knots : tensor ``(n, 2, d)``
        Coupled samples in scaled units.
    """
    # In double precision: what is compared may lie far from zero.
    ends = scaling.user_states(knots[:_N_PAIRS].double())
    first, last = ends.unbind(1)
    name = type(interpolant).__name__
    parts = torch.linspace(0, 1, len(ends)).to(ends)
    position = interpolant.position(parts, first, last)
    if not isinstance(position, Tensor) or position.shape != first.shape:
        position_kind = type(position).__name__
        if isinstance(position, Tensor):
            position_kind = f"shape {tuple(position.shape)}"
        raise ValueError(
            f"{name}.position must return a tensor of shape {tuple(first.shape)} for as many "
            f"pairs; it returned {position_kind}"
        )
    # Features may be measured in very different units.
    length = scaling.scale.to(ends)
    cases = ((0.0, first, "x0"), (1.0, last, "x1"))
    for time, end, word in cases:
        times = torch.full_like(parts, time)
        at_end = interpolant.position(times, first, last)
        misses = (at_end - end).abs() / length
        miss = float((misses).max())
        if not miss <= _TOLERANCE:
            raise ValueError(
                f"{name}.position at t = {time:g} is not {word} (off by {miss:.2g} standard "
                "deviations), so that its density would miss the snapshot; make it end there"
            )
    velocity = interpolant.velocity(parts, first, last)
    expected = derivative(interpolant, parts, first, last)
    error = (velocity - expected).abs() / length
    sizes = expected.abs() / length
    size = 1 + float((sizes).max())
    largest = float(error.max())
    most = _TOLERANCE * size
    if not largest <= most:
        raise ValueError(
            f"{name}.velocity is not the derivative of its position in t; leave it out, and it is "
            "found by differentiation"
        )
