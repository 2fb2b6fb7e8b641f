"""What is learned, and what solvers consume."""

from dyninfer.processes.diffusion import Diffusion
from dyninfer.processes.fractional import FractionalDiffusion
from dyninfer.processes.interpolated import InterpolatedDiffusion
from dyninfer.processes.jump import MarkovJump
from dyninfer.processes.potential import PotentialDiffusion

__all__ = ["Diffusion", "FractionalDiffusion", "InterpolatedDiffusion", "MarkovJump", "PotentialDiffusion"]
