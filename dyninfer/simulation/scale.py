"""Size of the states of a run, in which the tolerances of adaptive solvers are measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.simulation.equation import Equation

_FEW = 64  # rows whose velocity says how far a coordinate will move that starts at rest
# What turns back moves a shorter way than its speed would take it over the whole run.
_RETURNS = 50.0


@dataclass(frozen=True)
class Scale:
    """Origin and unit of every coordinate of a run.

    Those of the data that the process was fitted to, or else those of the starting states. They
    belong to the whole run, so that chunks of paths have the same steps.

    Attributes
    ----------
    origin, unit : Tensor, ``(D,)``
        In the precision of the states; units are positive.
    """

    origin: Tensor
    unit: Tensor

    @classmethod
    def of(cls, equation: Equation, states: Tensor, times: Tensor) -> Scale:
        """Scale of an equation that runs from states ``(n, D)`` over ``times``."""
        states = states.detach()
        origin, unit = _of_states(equation, states, times)
        if equation.scaling is not None:
            # What rides along with the states of the data comes after them.
            n_features = equation.scaling.n_features
            origin[:n_features] = equation.scaling.shift
            unit[:n_features] = equation.scaling.scale
        # A unit must not vanish, nor a state in it overflow, where single precision holds less.
        limits = torch.finfo(states.dtype)
        smallest = limits.tiny / limits.eps
        largest = limits.max * limits.eps
        unit = unit.clamp(smallest, largest)
        return cls(origin.to(states), unit.to(states))


def _of_states(equation: Equation, states: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Median and spread of every coordinate ``(D,)`` float64."""
    x = states.double()
    origin = x.median(dim=0).values
    deviations = (x - origin).abs()
    spreads = _typical(deviations)
    sizes = _typical(x.abs())
    unit = _first_positive(*spreads, *sizes)
    # Of a single state, or equal ones, the size is all there is: it counts from zero.
    is_spread = deviations.amax(dim=0) > 0
    origin = torch.where(is_spread, origin, 0.0)
    is_at_rest = unit == 0
    if bool(is_at_rest.any()):
        of_motion = _of_motion(equation, states, times, unit)
        unit = torch.where(is_at_rest, of_motion, unit)
    return origin, unit


def _typical(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Median and mean of every coordinate ``(D,)``.

    The median comes first, as one state that is far out must not loosen the tolerance of all
    others; it is 0 where most states are.
    """
    return sizes.median(dim=0).values, sizes.mean(dim=0)


def _of_motion(equation: Equation, states: Tensor, times: Tensor, unit: Tensor) -> Tensor:
    """Units ``(D,)`` of coordinates that start at zero: how far they move, or what others are."""
    few = states[:_FEW]
    # In the grad mode of the run, as equations keep what they compute once.
    start = equation.time(times[0], few)
    velocity, _ = equation.rates(start, few)
    speeds = velocity.detach().double().abs()
    median, mean = _typical(speeds)
    speed = _first_positive(median, mean)
    duration = (times[-1] - times[0]).abs()
    distance = speed * float(duration) / _RETURNS
    distance = torch.where(distance.isfinite(), distance, 0.0)
    # What does not move either takes the unit of what does.
    largest_unit = unit.max()
    largest_distance = distance.max()
    largest = torch.maximum(largest_unit, largest_distance)
    of_others = largest.expand_as(unit)
    one = torch.ones_like(unit)
    return _first_positive(distance, of_others, one)


def _first_positive(*candidates: Tensor) -> Tensor:
    """Of every coordinate, the first of the candidates that is not zero."""
    result = candidates[0]
    for candidate in candidates[1:]:
        result = torch.where(result > 0, result, candidate)
    return result
