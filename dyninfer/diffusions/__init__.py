"""Processes that move by a drift and a diffusion."""

from dyninfer.diffusions.diffusion import Diffusion
from dyninfer.diffusions.potential import PotentialDiffusion

__all__ = ["Diffusion", "PotentialDiffusion"]
