"""torchsde's methods behind our face."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import torch
import torchsde
from torch import Tensor

from dyninfer.learning.random import mix64
from dyninfer.simulation.equation import Equation
from dyninfer.simulation.task import Task

ITO = ("euler", "milstein", "srk")
STRATONOVICH = ("euler_heun", "heun", "midpoint", "log_ode", "reversible_heun")
LEVY_AREA = {"srk": "space-time", "log_ode": "foster"}
FLAGS = ("adaptive", "adjoint")
PREFIX = "torchsde:"


def is_name(name: str) -> bool:
    """Whether a solver's name asks for torchsde."""
    return name.startswith(PREFIX)


def solver(name: str, equation: Equation) -> Any:
    """Integrator for ``"torchsde:<method>[:adaptive][:adjoint]"``; None where the name is not torchsde's.

    Raises
    ------
    ValueError
        If the method or a flag is unknown, or if a Stratonovich method meets noise that depends on the state.
    """
    if not is_name(name):
        return None
    method, *flags = name.removeprefix(PREFIX).split(":")
    if method not in (*ITO, *STRATONOVICH) or not set(flags) <= set(FLAGS):
        raise ValueError(
            f"solver {name!r} is not of the form 'torchsde:<method>[:adaptive][:adjoint]'; methods are "
            f"{', '.join((*ITO, *STRATONOVICH))}"
        )
    if method in STRATONOVICH and not equation.additive:
        raise ValueError(
            f"solver {name!r} is a Stratonovich method, but the process is an Itô equation whose diffusion depends on "
            f"the state; choose one of {', '.join(PREFIX + m for m in ITO)}"
        )
    return partial(
        integrate, method=method, adaptive="adaptive" in flags, adjoint="adjoint" in flags
    )


def integrate(
    task: Task,
    x: Tensor,
    w: Tensor | None,
    rows: range,
    intervals: range,
    *,
    method: str,
    adaptive: bool,
    adjoint: bool,
) -> tuple[Tensor, Tensor | None]:
    """Run one of torchsde's methods, interval by interval so that outputs are hit exactly.

    The Brownian motion is seeded and knows the step, which torchsde does not do by itself; it depends on the chunk.

    Parameters
    ----------
    task : Task
    x, w : Tensor
        States ``(n, d)`` and log-weights ``(n,)`` or None at the start of the first interval.
    rows, intervals : range
        Numbers of the paths, and of the output intervals to cross.
    method : str
    adaptive : bool
        Choose steps by ``task.rtol`` and ``task.atol``, one for all paths.
    adjoint : bool
        Take gradients by the stochastic adjoint, whose memory does not grow with the steps.

    Returns
    -------
    Tensor, ``(n, interval, d)``
        States at the end of every interval.
    Tensor, ``(n, interval)``, or None
        Log-weights there.
    """
    grid, d = task.grid, x.shape[1]
    elapsed = (
        (grid.times - grid.times[intervals.start])
        .abs()[intervals.start : intervals.stop + 1]
        .tolist()
    )
    sde = _SDE(task, intervals, grows=w is not None, ito=method in ITO)
    y = x if w is None else torch.cat([x, x.new_zeros(len(x), 1)], dim=1)
    brownian = torchsde.BrownianInterval(
        t0=0.0,
        t1=elapsed[-1],
        size=tuple(y.shape),
        dtype=x.dtype,
        device=x.device,
        entropy=mix64(task.seed, rows.start, intervals.start) >> 1,
        dt=float(grid.lengths.abs().min()),
        levy_area_approximation=LEVY_AREA.get(method, "none"),
    )
    call = (
        partial(torchsde.sdeint_adjoint, adjoint_params=sde.trained) if adjoint else torchsde.sdeint
    )
    states = []
    with warnings.catch_warnings():
        if (
            task.equation.additive
        ):  # torchsde is told "diagonal" and would warn of noise that depends on the state
            warnings.filterwarnings("ignore", message="Numerical solution is not guaranteed")
        for begin, end, interval in zip(elapsed[:-1], elapsed[1:], intervals, strict=True):
            ts = torch.tensor([begin, end], dtype=torch.float64, device=x.device)
            # The hair beyond an even share keeps a rounding error from becoming one more, tiny step.
            dt = (end - begin) / grid.substeps[interval] * (1 + 1e-9)
            tolerances = {"rtol": task.rtol, "atol": task.atol}
            y = call(
                sde, y, ts, bm=brownian, method=method, dt=dt, adaptive=adaptive, **tolerances
            )[-1]
            states.append(y)
            if task.tick:
                task.tick()
    path = torch.stack(states, dim=1)
    return path[..., :d], None if w is None else w[:, None] + path[..., d].double()


class _SDE(torch.nn.Module):
    """The equation in elapsed time, with the log-weight as one more coordinate without noise."""

    noise_type = "diagonal"

    def __init__(self, task: Task, intervals: range, grows: bool, ito: bool):
        super().__init__()
        self.sde_type = "ito" if ito else "stratonovich"
        self.equation, self.grows = task.equation, grows
        self.start = float(task.grid.times[intervals.start])
        self.sign = 1.0 if float(task.grid.lengths[0]) > 0 else -1.0
        self.trained = tuple(p for p in task.equation.parameters if p.requires_grad)

    def f(self, elapsed: Tensor, y: Tensor) -> Tensor:
        """Velocity in elapsed time."""
        f, r = self.equation.rates(self._time(elapsed, y), y[:, :-1] if self.grows else y)
        return self.sign * (
            torch.cat([f, r[:, None]], dim=1) if self.grows and r is not None else f
        )

    def g(self, elapsed: Tensor, y: Tensor) -> Tensor:
        """Amplitude of the noise ``(n, d)``."""
        x = y[:, :-1] if self.grows else y
        g = self.equation.amplitude(self._time(elapsed, y), x).expand_as(x)
        return torch.cat([g, torch.zeros_like(y[:, -1:])], dim=1) if self.grows else g

    def _time(self, elapsed: Tensor, y: Tensor) -> Tensor:
        return (self.start + self.sign * elapsed).to(y.dtype)
