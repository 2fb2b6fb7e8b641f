"""Matrix exponentials of many generators, each for some times, and their adjoints."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray

from dyninfer.jumps.likelihood.spectral import divided_differences
from dyninfer.jumps.process.chain import transition_matrix

_EPS = float(np.finfo(np.float64).eps)
# Digits that the rarest transition of a matrix must keep.
_RELATIVE_ERROR = 1e-8


class Transitions:
    """Transition probabilities of generators ``(D, S, S)`` after waiting times, and their adjoint.

    By eigenvectors; a matrix of its own wherever those would lose the digits of a rare transition.

    Parameters
    ----------
    generators : array ``(D, S, S)``
        Rates.
    row : array ``(G,)`` int64
        Generator of each waiting time.
    gaps : array ``(G,)``
        Waiting times.
    is_reachable : array ``(S, S)`` bool
        Transitions that jumps can make.
    """

    def __init__(
        self, generators: ndarray, row: ndarray, gaps: ndarray, is_reachable: ndarray
    ) -> None:
        self.generators = generators
        self.row = row
        self.gaps = gaps
        self.p = np.zeros((len(gaps), *generators.shape[1:]))
        self.w, self.v = np.linalg.eig(generators)
        try:
            self.inverse = np.linalg.inv(self.v)
        except np.linalg.LinAlgError:
            # One of them has too few eigenvectors.
            self.is_exact = np.ones(len(gaps), dtype=bool)
            self.inverse = np.zeros_like(self.v)
        else:
            self.is_exact = self._by_eigenvectors(is_reachable)
        if self.is_exact.any():
            p = self._by_matrices(torch.from_numpy(generators))
            self.p[self.is_exact] = p.numpy()

    def slope(self, slope_p: ndarray) -> ndarray:
        """Slope ``(D, S, S)`` in the generators of what has the slopes ``(G, S, S)``."""
        slope = np.zeros_like(self.generators)
        usable = ~self.is_exact
        if usable.any():
            slope += self._through_eigenvectors(slope_p[usable], usable)
        if self.is_exact.any():
            slope += self._through_matrices(slope_p[self.is_exact])
        return slope

    def _through_eigenvectors(self, slope_p: ndarray, usable: ndarray) -> ndarray:
        """Slope ``(D, S, S)`` of the waiting times ``usable`` ``(G,)``; see ``Spectrum.slope``."""
        row = self.row[usable]
        inner = self.v[row].mT @ slope_p @ self.inverse[row].mT
        inner = inner * divided_differences(self.w[row], self.gaps[usable])
        total = np.zeros(self.generators.shape, dtype=inner.dtype)
        np.add.at(total, row, inner)
        slope = self.inverse.mT @ total @ self.v.mT
        return slope.real

    def _through_matrices(self, slope_p: ndarray) -> ndarray:
        """Slope ``(D, S, S)`` of the waiting times that have matrices of their own."""
        generators = torch.from_numpy(self.generators)
        generators.requires_grad_()
        weight = torch.from_numpy(slope_p)
        with torch.enable_grad():
            p = self._by_matrices(generators)
            (slope,) = torch.autograd.grad(p, generators, weight)
        return slope.numpy()

    def _by_eigenvectors(self, is_reachable: ndarray) -> ndarray:
        """Fill in what eigenvectors give, and say where ``(G,)`` they lose digits."""
        n_states = self.generators.shape[-1]
        largest = np.abs(self.inverse).max((1, 2))
        error = _EPS * n_states * largest
        exponents = self.w[self.row] * self.gaps[:, None]
        scaled = self.v[self.row] * np.exp(exponents)[:, None]
        p = scaled @ self.inverse[self.row]
        positive = np.maximum(p.real, 0.0)
        self.p = positive * is_reachable
        smallest = self.p.min((1, 2), initial=1.0, where=is_reachable)
        loses_digits = error[self.row] > _RELATIVE_ERROR * smallest
        is_wait = self.gaps > 0
        return is_wait & loses_digits

    def _by_matrices(self, generators: torch.Tensor) -> torch.Tensor:
        """Probabilities of those that eigenvectors are not right for ``(exact, S, S)``."""
        row = torch.from_numpy(self.row[self.is_exact])
        gaps = torch.from_numpy(self.gaps[self.is_exact])
        return transition_matrix(generators[row], gaps)
