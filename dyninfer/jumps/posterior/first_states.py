"""The distribution of first states in the coordinates of a fit, known or learned."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from scipy.special import softmax
from torch import Tensor

from dyninfer.jumps.posterior.hidden_emissions import covariance_of

# Expected paths that begin in a state, at least: a logit has an end.
_LEAST_PATHS = 1e-8
# Newton's steps of the first states' part of EM: it is concave, and need not be exact.
_NEWTON_STEPS = 3
# No coordinate moves further in one of them.
_LONGEST = 2.0


class FirstStates:
    """Weights of first states, the same for all paths: given, or by logits of which the first is 0.

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

    @property
    def to_user(self) -> ndarray:
        """Matrix from coordinates to logits where all covariates are 0, and effects per unit."""
        return np.eye(self.size)

    def weights(self, theta: ndarray) -> ndarray:
        """Weights ``(1, S)``, one row for all paths."""
        if self.known is not None:
            return self.known[None]
        return softmax(np.append(0.0, theta))[None]

    def reference(self, theta: ndarray) -> ndarray:
        """Weights ``(S,)`` where all covariates are 0."""
        return self.weights(theta)[0]

    def log_prior(self, theta: ndarray) -> float:
        """Log-density of the coordinates, up to a constant: flat."""
        return 0.0

    def slope(self, theta: ndarray, first: ndarray) -> ndarray:
        """Slope in the logits, of expected numbers of paths ``(1, S)`` that begin in a state."""
        excess = first - self.n_paths * self.weights(theta)
        return self._of_logits(excess[0])

    def maximised(self, theta: ndarray, first: ndarray) -> ndarray:
        """Logits of the shares of expected numbers of paths."""
        log_first = np.log(np.maximum(first[0], _LEAST_PATHS))
        return self._of_logits(log_first - log_first[0])

    def information(self, theta: ndarray) -> ndarray:
        """Curvature in the logits if the states were known."""
        shares = self._of_logits(self.reference(theta))
        return self.n_paths * covariance_of(shares)

    def _of_logits(self, of_states: ndarray) -> ndarray:
        """Numbers of the states that have a logit."""
        return of_states[self.n_states - self.size :]


class CovariateFirstStates(FirstStates):
    r"""Weights of first states of every path, by logits that are linear in covariates.

    The coordinates ``(1 + m, S − 1)`` are the logits at the mean covariates, and below them the
    effects of one standard deviation of each: a multinomial logistic regression on states that are
    hidden.

    Parameters
    ----------
    x : array ``(n, m)``
        Numbers that the covariates of the first observations make.
    n_states : int
    width : float, optional
        Standard deviation of the normal prior of every effect.
    """

    def __init__(self, x: ndarray, n_states: int, width: float | None):
        super().__init__(None, n_states, len(x))
        self.centre = x.mean(0)
        self.scale = x.std(0)
        ones = np.ones((len(x), 1))
        self.z = np.concatenate([ones, (x - self.centre) / self.scale], axis=1)
        precision = 0.0 if width is None else width**-2
        # The logits at the mean covariates have no prior.
        of_rows = precision * np.ones((self.z.shape[1], n_states - 1))
        of_rows[0] = 0.0
        self.precision = of_rows.ravel()

    @property
    def size(self) -> int:
        """Number of logits and effects."""
        return self.z.shape[1] * (self.n_states - 1)

    @property
    def to_user(self) -> ndarray:
        """See :class:`FirstStates`."""
        per_unit = np.diag(np.append(1.0, 1 / self.scale))
        per_unit[0, 1:] = -self.centre / self.scale
        return np.kron(per_unit, np.eye(self.n_states - 1))

    def weights(self, theta: ndarray) -> ndarray:
        """Weights ``(n, S)`` of every path."""
        logits = self.z @ theta.reshape(self.z.shape[1], -1)
        first = np.zeros((len(logits), 1))
        return softmax(np.concatenate([first, logits], axis=1), axis=1)

    def reference(self, theta: ndarray) -> ndarray:
        """Weights ``(S,)`` where all covariates are 0."""
        # The first of the user's coordinates are the logits there.
        logits = (self.to_user @ theta)[: self.n_states - 1]
        return softmax(np.append(0.0, logits))

    def log_prior(self, theta: ndarray) -> float:
        """Log-density of the coordinates, up to a constant."""
        return -float(self.precision @ theta**2) / 2

    def slope(self, theta: ndarray, first: ndarray) -> ndarray:
        """Slope of the log-likelihood with the prior, of chances ``(n, S)`` of first states."""
        excess = (first - self.weights(theta))[:, 1:]
        of_coordinates = self.z.T @ excess
        return of_coordinates.ravel() - self.precision * theta

    def maximised(self, theta: ndarray, first: ndarray) -> ndarray:
        """Coordinates nearer to the largest expected log-likelihood, by Newton's method."""
        for _ in range(_NEWTON_STEPS):
            # A little more than there is: of a state that no path begins in there is nothing.
            matrix = self.information(theta) + _LEAST_PATHS * np.eye(self.size)
            step = np.linalg.solve(matrix, self.slope(theta, first))
            theta = theta + np.clip(step, -_LONGEST, _LONGEST)
        return theta

    def information(self, theta: ndarray) -> ndarray:
        """Curvature if the states were known."""
        shares = self.weights(theta)[:, 1:]
        spread = np.einsum("ns,st->nst", shares, np.eye(shares.shape[1]))
        covariance = spread - np.einsum("ns,nt->nst", shares, shares)
        curvature = np.einsum("ni,nst,nj->isjt", self.z, covariance, self.z, optimize=True)
        return curvature.reshape(self.size, -1) + np.diag(self.precision)
