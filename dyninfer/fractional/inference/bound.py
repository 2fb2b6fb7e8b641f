"""The evidence lower bound of a path: guided noise, weighed against the prior's step by step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dyninfer.fractional.families import Families
from dyninfer.fractional.inference.equation import Control, Equation
from dyninfer.fractional.inference.guide import PseudoObservations
from dyninfer.fractional.inference.guided import GuidedEquation, Steering
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.learning.random import stream

Likelihood = Callable[[Tensor], Tensor]


class Readout(NamedTuple):
    """How the state is observed where its coordinates are not the features.

    Attributes
    ----------
    pseudo : PseudoObservations
        What the guide takes the state to be observed as.
    likelihood : callable, ``(n_samples, P, L, d) -> (n_samples, P)``
        ``log p(o | x)``.
    """

    pseudo: PseudoObservations
    likelihood: Likelihood


class Guided(NamedTuple):
    """Paths drawn near their posterior.

    Attributes
    ----------
    path_weights : Tensor, ``(n_samples, P)``
        ``log p(path) − log q(path)``: minus the mean is the divergence of the draws from the prior.
    fits : Tensor, ``(n_samples, P)``
        ``log p(o | path)``.
    states : Tensor, ``(n_samples, P, L, d)``
        At the times of the series.
    """

    path_weights: Tensor
    fits: Tensor
    states: Tensor

    @property
    def log_weights(self) -> Tensor:
        """``log p(o, path) − log q(path)``.

        The mean is the bound, the log mean exponential the likelihood.
        """
        return self.path_weights + self.fits

    @property
    def bound(self) -> Tensor:
        """Evidence lower bound of every path ``(P,)``."""
        return self.log_weights.mean(0)

    def tempered(self, path_weight: float) -> Tensor:
        """Log-weights whose mean is ``E_q[log p(o | path)] − w KL(q ‖ p)``."""
        return path_weight * self.path_weights + self.fits

    @property
    def log_likelihood(self) -> Tensor:
        """Importance-weighted log-likelihood ``(P,)``; it tends to the truth from below."""
        log_total = self.log_weights.logsumexp(0)
        n_draws = len(self.log_weights)
        return log_total - math.log(n_draws)


def guided_paths(
    equation: Equation,
    series: Series,
    n_samples: int,
    *,
    control: Control | None = None,
    readout: Readout | None = None,
    n_steps: int = 4,
    seed: int = 0,
) -> Guided:
    r"""Draw paths of an equation towards what is observed of them, with their weights.

    Between two times lie ``n_steps`` steps; the memory is stepped exactly, the drift by Euler's
    rule and the amplitude by Heun's, so a path is a function of standard normals ``ε``, those of
    the start included: ``q(X_0)`` and ``q(Y_0)`` are inferred. ``q`` draws each ``ε`` from its
    distribution given all that is observed later, as a linear equation has it: the prior's, with
    ``f`` linearised and ``g`` frozen along the linear equation's posterior mean. The residual
    control ``u`` shifts ``ε`` further along the Brownian motion. Whatever guides, weights are those
    of what was drawn.

    With mean and variance of a step both guided, the bound has no gap of the grid: without ``f``,
    ``g`` and ``u`` every weight is the evidence itself. For short steps ``Σ KL(q(ε) ‖ N(0, I))`` is
    Girsanov's ``½ E ∫ |u* + u|² dt``, with nothing divided by the diffusion.

    Parameters
    ----------
    equation : Equation
    series : Series
        Standardised.
    n_samples : int
        Draws per path.
    control : Control, optional
    readout : Readout, optional
        By default the coordinates are observed themselves, with the prior's normal noise.
    n_steps : int
    seed : int

    Returns
    -------
    Guided
        With gradients in the parameters of the prior, of all fields and of the likelihood.
    """
    prior = equation.prior
    if readout is None:
        pseudo = PseudoObservations.of(prior, series)
        readout = Readout(pseudo, lambda x: normal_fit(prior, series, x))
    guide = GuidedEquation(equation, series, readout.pseudo, n_steps)
    steering = None
    if control is not None:
        steering = Steering(control, guide.fine.times, n_steps)
    generator = stream(seed, "guided paths", device=series.times.device)
    states, weights = guide.draw(n_samples, generator, steering)
    at_times = states[:, :, ::n_steps]
    return Guided(
        path_weights=weights,
        fits=readout.likelihood(at_times),
        states=at_times,
    )


def normal_fit(prior: LinearPrior, series: Series, means: Tensor) -> Tensor:
    """``log N(o; means, R)`` of a series, summed over it: ``(..., P)`` of ``(..., P, L, F)``."""
    return observed_fit(prior, series, means, Families())


def observed_fit(prior: LinearPrior, series: Series, readout: Tensor, families: Families) -> Tensor:
    """``log p(o | readout)`` of a series, summed over it: ``(..., P)`` of ``(..., P, L, F)``."""
    log_density = families.log_density(series.values, readout, prior.log_noise)
    # Of what is missing nothing is said.
    observed = log_density * series.mask
    return observed.sum((-1, -2))
