"""What a run of Tsitouras' pair holds: clock, tolerances, live paths, and a step that is tried."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from dyninfer.simulation.equation import Rate
from dyninfer.simulation.solvers.task import LogWeights, Task

MIN_STEP = 1e-10  # of the span: below it a path has failed
ROUNDINGS = 4  # of the states: the least error of a step that tells anything


@dataclass(frozen=True)
class Clock:
    """Time of the run against elapsed time: where it starts, its sign, outputs and stops."""

    start: float
    sign: float
    outputs: Tensor  # elapsed time at each output, float64
    span: float  # elapsed time at the last output
    stops: Tensor  # elapsed times at which a step must end; the last is the span

    @classmethod
    def of(cls, times: Tensor, breaks: Tensor | None, device: torch.device) -> Clock:
        """Clock of a start and output times, in either direction, past breaks of the process.

        Times come on the CPU: what is read here once would be waited for on a device.
        """
        start = times[0]
        ahead = times[1:] - start
        sign = math.copysign(1.0, ahead[-1])
        outputs = ahead.abs()
        end = outputs[-1:]
        stops = end
        if breaks is not None:
            since_start = breaks.to(start) - start
            stops = sign * since_start
            # What is closer to an end than rounding would leave no step.
            least = MIN_STEP * end
            most = end - least
            is_inside = (stops > least) & (stops < most)
            inner = stops[is_inside]
            stops = torch.cat([inner.sort().values, end])
        own_outputs = outputs.to(device)
        return cls(float(start), sign, own_outputs, float(end), stops.to(device))

    def next_stop(self, elapsed: Tensor) -> Tensor:
        """Elapsed time of the first stop ahead of each path ``(n,)``, which is before the end."""
        ahead = torch.searchsorted(self.stops, elapsed, right=True)
        return self.stops[ahead]

    def time(self, elapsed: Tensor) -> Tensor:
        """Time of the process, float64."""
        return self.start + self.sign * elapsed


@dataclass(frozen=True)
class Run:
    """What stays the same while a batch of paths is run."""

    task: Task
    rtol: float
    atol: float
    clock: Clock
    interpolant: Tensor  # coefficients of the powers of θ for every stage (stage, 4), float64

    def rates(self, elapsed: Tensor, x: Tensor) -> Rate:
        """Velocity and growth at an elapsed time of each path."""
        equation = self.task.equation
        time = equation.time(self.clock.time(elapsed), x)
        return equation.rates(time, x)

    def tolerance(self, before: Tensor, after: Tensor) -> Tensor:
        """``atol unit + rtol size`` of states ``(n, d)``."""
        scale = self.task.scale
        largest = _larger(before, after)
        before_from_origin = before - scale.origin
        after_from_origin = after - scale.origin
        from_origin = _larger(before_from_origin, after_from_origin)
        size = torch.minimum(largest, from_origin)
        atol = size.new_full((), self.atol)
        relative = self.rtol * size
        tolerance = torch.addcmul(relative, scale.unit, atol)
        # Below the rounding of the states themselves there is nothing to control.
        rounding = ROUNDINGS * torch.finfo(size.dtype).eps
        return torch.maximum(tolerance, rounding * largest)

    def weight_tolerance(self, before: Tensor, after: Tensor) -> Tensor:
        """``atol + rtol max(|before|, |after|)`` of log-weights, which have no unit."""
        largest = _larger(before, after)
        return largest.mul_(self.rtol).add_(self.atol)

    def signed(self, h: Tensor, x: Tensor) -> Tensor:
        """Steps ``(n, 1)`` with the sign of the run, in the precision of the states."""
        signed = (self.clock.sign * h).to(x.dtype)
        return signed[:, None]


@dataclass
class Live:
    """The paths that are still on their way, one row each."""

    index: Tensor  # row in the batch
    elapsed: Tensor  # time since the start, float64 and never negative
    h: Tensor  # next step, float64
    error: Tensor  # of the last accepted step, over the tolerance
    retrying: Tensor  # whether the last step was rejected
    x: Tensor
    f: Tensor  # velocity at x
    w: LogWeights
    r: Tensor | None  # growth at x

    def going(self, span: float) -> Tensor:
        """Rows that have neither arrived nor failed."""
        is_before_end = self.elapsed < span
        is_moving = self.h > MIN_STEP * span
        return torch.nonzero(is_before_end & is_moving).squeeze(1)

    def select(self, rows: Tensor) -> Live:
        """Leave the other paths behind."""
        selected: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                value = value[rows]
            selected[field.name] = value
        return Live(**selected)


@dataclass
class Trial:
    """A step that is tried: its length, its end, and the slopes of its seven stages."""

    h: Tensor  # float64
    signed: Tensor  # (n, 1)
    x: Tensor
    w: LogWeights
    slopes: list[Tensor]
    growths: list[Tensor]


def _larger(before: Tensor, after: Tensor) -> Tensor:
    """Elementwise the larger of two sizes."""
    return torch.maximum(before.abs(), after.abs())
