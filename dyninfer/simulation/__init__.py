"""How a process is run: one function, ``simulate``, whatever the process, and its solvers.

Here belong the door (``dispatch``), what a diffusion becomes for a given noise and direction of
time (``equation``), the solvers, grids of times, noise of numbered paths, weights, and the density
of a flow at a point (``log_density``) or of a process with noise (``noisy_density``). What a
process is does not: it lives in ``diffusions``, ``jumps`` and ``fractional``; the latter two bring
the solvers of their own kind.
"""

from dyninfer.simulation import solvers
from dyninfer.simulation.dispatch import Options, run, simulate
from dyninfer.simulation.log_density import log_density, log_density_with_noise
from dyninfer.simulation.runner import run_diffusion, run_equation

__all__ = [
    "Options",
    "log_density",
    "log_density_with_noise",
    "run",
    "run_diffusion",
    "run_equation",
    "simulate",
    "solvers",
]
