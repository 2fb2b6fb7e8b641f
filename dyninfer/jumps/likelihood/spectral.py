"""Matrix exponentials of one generator for many times, by its eigenvalues, and their adjoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

_EPS = float(np.finfo(np.float64).eps)
# Digits that the rarest transition must keep.
_RELATIVE_ERROR = 1e-8


@dataclass(frozen=True, eq=False)
class Spectrum:
    r"""A generator in its eigenvectors: :math:`Q = V \, \mathrm{diag}(w) \, V^{-1}`.

    Attributes
    ----------
    w : array ``(S,)``
        Eigenvalues, real or complex.
    v, inverse : array ``(S, S)``
        Eigenvectors in columns, and the inverse of that matrix.
    error : float
        About the absolute error of a transition probability.
    """

    w: ndarray
    v: ndarray
    inverse: ndarray
    error: float

    @classmethod
    def of(cls, generator: ndarray) -> Spectrum | None:
        """Decompose a generator ``(S, S)``; None where it has too few eigenvectors."""
        w, v = np.linalg.eig(generator)
        if w.dtype == np.float64:
            # None grows, whatever rounding says; where rates are huge it would overflow.
            w = np.minimum(w, 0.0)
        try:
            inverse = np.linalg.inv(v)
        except np.linalg.LinAlgError:
            return None
        # Eigenvectors have the length 1, so that the inverse alone says how far they are apart.
        error = _EPS * len(w) * np.abs(inverse).max()
        return cls(w, v, inverse, error)

    def keeps_digits_of(self, smallest: float) -> bool:
        """Whether the smallest transition probability is right to eight digits."""
        return self.error <= _RELATIVE_ERROR * smallest

    def transitions(self, times: ndarray) -> ndarray:
        """Transition probabilities ``(G, S, S)`` after times ``(G,)``."""
        e = np.exp(times[:, None, None] * self.w)
        scaled = self.v * e
        p = scaled @ self.inverse
        return np.maximum(p.real, 0.0)

    def slope(self, slope_p: ndarray, times: ndarray) -> ndarray:
        r"""Slope ``(S, S)`` in the generator of what has the slopes ``(G, S, S)`` in transitions.

        The adjoint of the Fréchet derivative,
        :math:`V^{-T} \sum_t \big[(V^T G_t V^{-T}) \circ \Phi_t\big] V^T`, where
        :math:`\Phi_t` are divided differences of :math:`e^{t w}` (Najfeld and Havel 1995, Adv.
        Appl. Math. 16, 321).
        """
        inner = self.v.T @ slope_p @ self.inverse.T
        inner = inner * divided_differences(self.w, times)
        total = inner.sum(0)
        slope = self.inverse.T @ total @ self.v.T
        return slope.real


def divided_differences(w: ndarray, times: ndarray) -> ndarray:
    """``(e^{t w_k} − e^{t w_l}) / (w_k − w_l)`` ``(G, S, S)``, or its limit for equal ones.

    ``w`` is ``(S,)``, or ``(G, S)`` where every time has its own.
    """
    of_row = w[..., :, None]
    of_column = w[..., None, :]
    # From the slower of the two downwards, so that nothing overflows.
    is_row_slower = of_row.real >= of_column.real
    slower = np.where(is_row_slower, of_row, of_column)
    faster = np.where(is_row_slower, of_column, of_row)
    difference = faster - slower
    t = times[:, None, None]
    is_equal = difference == 0
    divisor = difference + is_equal
    ratio = np.expm1(t * difference) / divisor
    ratio = ratio + t * is_equal
    return np.exp(t * slower) * ratio
