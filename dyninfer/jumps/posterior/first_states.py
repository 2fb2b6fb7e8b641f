"""The distribution of first states in the coordinates of a fit, known or learned."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from torch import Tensor

from dyninfer.jumps.posterior.hidden_emissions import covariance_of

# Expected paths that begin in a state, at least: a logit has an end.
_LEAST_PATHS = 1e-8


class FirstStates:
    """Weights of first states: as they are given, or by logits of which the first is 0.

    Parameters
    ----------
    known : Tensor, ``(S,)``, optional
        Weights that are not fitted.
    n_states, n_paths : int
        Numbers of states and of paths.
    """

    def __init__(self, known: Tensor | None, n_states: int, n_paths: int):
        self.known = None if known is None else known.double().numpy()
        self.n_states = n_states
        self.n_paths = n_paths

    @property
    def size(self) -> int:
        """Number of logits."""
        return self.n_states - 1 if self.known is None else 0

    def weights(self, logits: ndarray) -> ndarray:
        """Weights ``(S,)``."""
        if self.known is not None:
            return self.known
        every = np.append(0.0, logits)
        odds = np.exp(every - every.max())
        return odds / odds.sum()

    def slope(self, logits: ndarray, first: ndarray) -> ndarray:
        """Slope in the logits, of expected numbers of paths ``(S,)`` that begin in a state."""
        return self._of_logits(first - self.n_paths * self.weights(logits))

    def maximised(self, first: ndarray) -> ndarray:
        """Logits of the shares of expected numbers of paths."""
        log_first = np.log(np.maximum(first, _LEAST_PATHS))
        return self._of_logits(log_first - log_first[0])

    def information(self, logits: ndarray) -> ndarray:
        """Curvature in the logits if the states were known."""
        shares = self._of_logits(self.weights(logits))
        return self.n_paths * covariance_of(shares)

    def _of_logits(self, of_states: ndarray) -> ndarray:
        """Numbers of the states that have a logit."""
        return of_states[self.n_states - self.size :]
