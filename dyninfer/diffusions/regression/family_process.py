"""A diffusion with one drift for every environment."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.data.words import listed, quoted
from dyninfer.diffusions.diffusion import Diffusion, Time
from dyninfer.diffusions.regression.libraries import Functions


class FamilyDiffusion(Diffusion):
    """``dX = Φ(X) W_e dt + σ dW`` for environments ``e``; without one, the drift of the family.

    Parameters
    ----------
    functions : Functions
        Φ, of scaled states.
    names : sequence of str
        Environments.
    n_families, n_features : int
    """

    constant_noise = True

    def __init__(
        self,
        functions: Functions,
        names: Sequence[str],
        n_families: int,
        n_features: int,
    ):
        super().__init__()
        self.functions = functions
        self.names = tuple(names)
        n_functions = len(functions)
        self.family_weights = _zeros(n_families, n_functions, n_features)
        self.environment_weights = _zeros(len(names), n_functions, n_features)
        self.squared_noise = _zeros(n_features)
        self._own: Tensor | None = None

    def given(self, condition: Any) -> Self:
        """Return the process of one environment; a ValueError names those that there are."""
        name = str(condition)
        if name not in self.names:
            raise ValueError(
                f"no environment is named {quoted(name)}; there are {listed(self.names)}; of a new "
                "one, adapt(paths) gives the process"
            )
        number = self.names.index(name)
        return self.with_weights(self.environment_weights[number])

    def with_weights(self, weights: Tensor) -> Self:
        """Return the process with coefficients ``(m, d)`` of its own."""
        process = copy.copy(self)
        process._own = weights
        return process

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``Φ(x) W``, shape ``(n, d)``."""
        weights = self._own
        if weights is None:
            weights = self._family()
        columns = self.functions(x)
        return columns @ weights.to(columns)

    def diffusion(self, t: Time, x: Tensor) -> Tensor:
        """σ, shape ``(d,)``."""
        return self.squared_noise.sqrt()

    def learn(self, means: ndarray, own: ndarray, noise: ndarray) -> None:
        """Take over coefficients ``(k, m, d)`` and ``(e, m, d)``, and squared noise ``(d,)``."""
        # Rounded to single precision: the last bits of LAPACK depend on where arrays lie.
        pairs = [
            (self.family_weights, means),
            (self.environment_weights, own),
            (self.squared_noise, noise),
        ]
        with torch.no_grad():
            for weights, values in pairs:
                rounded = torch.as_tensor(values).float()
                weights.copy_(rounded)

    def _family(self) -> Tensor:
        n_families = len(self.family_weights)
        if n_families > 1:
            raise ValueError(
                f"environments belong to {n_families} families, so they share no drift; "
                "name an environment: process.given(name), or simulate(..., condition=name)"
            )
        return self.family_weights[0]


def _zeros(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape, dtype=torch.float64))
