"""How a process is run: one function, ``simulate``, and the likelihood of a flow, ``log_density``."""

from dyninfer.simulation.diffusion import simulate_diffusion
from dyninfer.simulation.dispatch import Options, run, simulate
from dyninfer.simulation.likelihood import log_density

__all__ = ["Options", "log_density", "run", "simulate", "simulate_diffusion"]
