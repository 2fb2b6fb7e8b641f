"""Regression of increments: equations from densely observed paths, by least squares.

Here belong libraries of functions, increments of paths, their regression, and the cures of finite
steps and of noisy observations. What trains a network, or fits a likelihood beyond Gaussian steps,
belongs elsewhere.
"""

from dyninfer.diffusions.regression.increments import Increments
from dyninfer.diffusions.regression.libraries import (
    Bins,
    Library,
    OwnFunctions,
    Polynomials,
    library_of,
)
from dyninfer.diffusions.regression.process import LibraryDiffusion

__all__ = [
    "Bins",
    "Increments",
    "Library",
    "LibraryDiffusion",
    "OwnFunctions",
    "Polynomials",
    "library_of",
]
