"""A diffusion whose drift and squared noise amplitude are sums over libraries of functions."""

from __future__ import annotations

import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.diffusions.regression.libraries import Functions, Monomials


class LibraryDiffusion(Diffusion):
    """``dX = Φ(X) W dt + √(Ψ(X) V) dW``, independent noise in every feature.

    Parameters
    ----------
    drift_functions, noise_functions : Functions
        Φ and Ψ, of scaled states.
    n_features : int
        How many features the libraries move.
    """

    # Which those are; of a particle with inertia, its velocities alone.
    moving = slice(None)

    def __init__(self, drift_functions: Functions, noise_functions: Functions, n_features: int):
        super().__init__()
        self.drift_functions = drift_functions
        self.noise_functions = noise_functions
        self.drift_weights = _zeros(drift_functions, n_features)
        self.noise_weights = _zeros(noise_functions, n_features)
        # A solver may then take noise to be additive.
        if isinstance(noise_functions, Monomials):
            self.constant_noise = noise_functions.degree == 0

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``Φ(x) W``, shape ``(n, d)``."""
        columns = self.drift_functions(x)
        return columns @ self.drift_weights.to(columns)

    def diffusion(self, t: Time, x: Tensor) -> Tensor:
        """``√(Ψ(x) V)``, shape ``(n, d)``, or ``(d,)`` where it is constant; at least 0."""
        weights = self.noise_weights
        if self.constant_noise:
            variance = weights[0]
        else:
            columns = self.noise_functions(x)
            variance = columns @ weights.to(columns)
        return variance.clamp(min=0).sqrt()

    def learn(self, drift: ndarray, noise: ndarray) -> None:
        """Take over weights ``(m, d)``."""
        # Rounded to single precision: the last bits of LAPACK depend on where arrays lie.
        drift_weights = torch.as_tensor(drift).float()
        noise_weights = torch.as_tensor(noise).float()
        with torch.no_grad():
            self.drift_weights.copy_(drift_weights)
            self.noise_weights.copy_(noise_weights)


def _zeros(functions: Functions, n_features: int) -> nn.Parameter:
    n_functions = len(functions)
    weights = torch.zeros(n_functions, n_features, dtype=torch.float64)
    return nn.Parameter(weights)
