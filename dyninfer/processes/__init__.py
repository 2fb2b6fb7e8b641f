"""What is learned, and what solvers consume."""

from dyninfer.processes.diffusion import Diffusion
from dyninfer.processes.potential import PotentialDiffusion

__all__ = ["Diffusion", "PotentialDiffusion"]
