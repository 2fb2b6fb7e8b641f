"""Solvers: how finely, and by which rule, a process is run. One idea a file.

Each is a small settings object that states its order, the noise that it can run and in which sense
it converges; :func:`~dyninfer.simulation.simulate` takes one, or its short spelling. Rules of jump
processes and of fractional noise live with their families and are named here; what is common to
all equations (grids, noise of numbered paths, weights) is one room up.
"""

from __future__ import annotations

import importlib
from typing import Any

from dyninfer.simulation.solvers.euler import Euler
from dyninfer.simulation.solvers.euler_maruyama import EulerMaruyama
from dyninfer.simulation.solvers.heun import Heun
from dyninfer.simulation.solvers.runge_kutta_4 import RungeKutta4
from dyninfer.simulation.solvers.solver import Solver, named
from dyninfer.simulation.solvers.sra1 import SRA1
from dyninfer.simulation.solvers.torch_diffeq import TorchDiffEq
from dyninfer.simulation.solvers.torch_sde import TorchSDE
from dyninfer.simulation.solvers.tsit5 import Tsit5

# Solvers of families above this room, which is why they are imported when they are asked for.
_FAMILIES = {
    "Skeleton": "dyninfer.jumps.skeleton",
    "Gillespie": "dyninfer.jumps.gillespie",
    "FractionalEuler": "dyninfer.fractional.solver",
}

__all__ = [
    "SRA1",
    "Euler",
    "EulerMaruyama",
    "FractionalEuler",
    "Gillespie",
    "Heun",
    "RungeKutta4",
    "Skeleton",
    "Solver",
    "TorchDiffEq",
    "TorchSDE",
    "Tsit5",
    "named",
]


def __getattr__(name: str) -> Any:
    if name in _FAMILIES:
        return getattr(importlib.import_module(_FAMILIES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
