"""Processes that move by a drift and a diffusion.

Here belong processes of continuous states, in the user's units or in scaled ones, and, in
``regression``, the least squares of their increments. How they are run belongs to
:mod:`dyninfer.simulation`, and what else they are learned by to the methods.
"""

from dyninfer.diffusions.diffusion import Diffusion
from dyninfer.diffusions.growth import BoundedGrowth
from dyninfer.diffusions.potential import PotentialDiffusion
from dyninfer.diffusions.scaled import ScaledDiffusion, scaling_of

__all__ = ["BoundedGrowth", "Diffusion", "PotentialDiffusion", "ScaledDiffusion", "scaling_of"]
