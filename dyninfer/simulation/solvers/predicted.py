"""Number of steps that Tsitouras' pair would take, as a function that can be made smaller."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dyninfer.simulation.solvers.tsit5 import Tsit5
from dyninfer.simulation.solvers.tsit5_control import (
    INTEGRAL,
    PROPORTIONAL,
    SAFETY,
    weighted_sum,
)
from dyninfer.simulation.solvers.tsit5_tableau import ERROR, A, C

Velocity = Callable[[Tensor, Tensor], Tensor]

# Error over the tolerance at which the control of the step neither lengthens nor shortens it.
SETTLED_ERROR = SAFETY ** (1 / (PROPORTIONAL - INTEGRAL))
# Of the span: a trial, from which the length is found that the solver would take.
TRIAL_STEP = 0.1
# No step leaves the span, as those of the second half go back in time.
LONGEST_STEP = 0.5
# A trial in a steep field may end so far out that its error says little.
SHORTEST_STEP = 1e-3
# Over the tolerance: less is rounding, whose root of order five would have no finite slope.
LEAST_ERROR = 1e-6


def predicted_steps(velocity: Velocity, t: Tensor, x: Tensor) -> Tensor:
    r"""Steps in which :class:`Tsit5` would cross the span if all of it were like these points.

    One embedded step of length ``h`` has an error that grows as ``h⁵``. So at a tolerance of one

    .. math:: n = \frac1h \Big(\frac{|err(h)|}{tol}\Big)^{1/5}

    steps would be needed, and its mean over time is the number of steps of a whole run (after Pal
    et al. 2021, arXiv 2105.03918, who penalise the error itself). The length is that which the
    solver would choose at this point. The tolerance is the default one; others multiply the
    number by a constant. Growth of weights is not counted.

    Parameters
    ----------
    velocity : callable, ``(t (n,), x (n, d)) -> (n, d)``
        In scaled units: times from 0 to 1, and states of unit spread around zero.
    t : Tensor, ``(n,)``
    x : Tensor, ``(n, d)``

    Returns
    -------
    Tensor, ``(n,)``
        With a gradient for what the velocity was made of.
    """
    forward = torch.ones_like(t)
    direction = torch.where(t < 0.5, forward, -forward)
    with torch.no_grad():
        trial = _steps(velocity, t, x, TRIAL_STEP * direction)
        h = (1 / trial).clamp(SHORTEST_STEP, LONGEST_STEP)
    return _steps(velocity, t, x, h * direction)


def _steps(velocity: Velocity, t: Tensor, x: Tensor, h: Tensor) -> Tensor:
    """Number of steps ``(n,)`` by the error of one of length ``h`` ``(n,)``."""
    column = h[:, None]
    slopes = [velocity(t, x)]
    # The last stage is the end of the step.
    end = x
    for c, a in zip(C, A, strict=True):
        mean_slope = weighted_sum(a, slopes)
        end = torch.addcmul(x, column, mean_slope)
        slopes.append(velocity(t + c * h, end))
    gap = column * weighted_sum(ERROR, slopes)
    # The tolerance must not learn: the error would look smaller beside larger states.
    size = torch.maximum(x.abs(), end.detach().abs())
    tolerance = Tsit5.atol + Tsit5.rtol * size
    square = (gap / tolerance).square().mean(1)
    square = square.clamp(min=LEAST_ERROR**2) / SETTLED_ERROR**2
    # The fifth root of the error, which is the root of its square.
    return square**0.1 / h.abs()
