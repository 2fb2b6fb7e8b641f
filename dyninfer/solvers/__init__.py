"""How a process is run: one function, ``simulate``, and the likelihood of a flow, ``log_density``."""

from dyninfer.solvers.diffusion import simulate_diffusion
from dyninfer.solvers.dispatch import Options, run, simulate
from dyninfer.solvers.fractional import solve_fractional
from dyninfer.solvers.jump import simulate_events, simulate_jumps
from dyninfer.solvers.likelihood import log_density

__all__ = [
    "Options",
    "log_density",
    "run",
    "simulate",
    "simulate_diffusion",
    "simulate_events",
    "simulate_jumps",
    "solve_fractional",
]
