"""What is learned, and what solvers consume."""

from dyninfer.processes.diffusion import Diffusion

__all__ = ["Diffusion"]
