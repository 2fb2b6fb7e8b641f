"""Maximum-likelihood and maximum a posteriori fits of generators, many at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from scipy.stats import norm
from torch import Tensor

from dyninfer.jumps.likelihood.panel import PanelCounts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.optimise import Maximum, floored_inverse, maximise
from dyninfer.jumps.process import MarkovJump

LogDensity = Callable[[Tensor], Tensor]

_FLAT = 1e-2
_AT_ONCE = (
    2**15
)  # transition probabilities computed at once for the curvature: what stays in a cache


@dataclass(frozen=True, eq=False, kw_only=True)
class JumpFit:
    """Fitted generators with what is known of their uncertainty.

    Attributes
    ----------
    scheme : RateScheme
        Which jumps were allowed, and how their rates follow from the parameters.
    theta : Tensor, ``(..., p + r)``
        Parameters of the rates, and after them the ``r`` of the observation model where one was fitted.
    log_likelihood : Tensor, ``(...)``
        At ``theta``, without the prior.
    information : Tensor, ``(..., p + r, p + r)``
        Minus the second derivatives of the log-posterior.
    n_observed : Tensor, ``(...)``
        Observations, as counted by ``bic``.
    converged : Tensor, ``(...)`` bool
        Whether no step would gain more than 1e-4 in log-likelihood outside of flat directions.
    iterations : int
        Steps of BFGS.
    """

    scheme: RateScheme
    theta: Tensor
    log_likelihood: Tensor
    information: Tensor
    n_observed: Tensor
    converged: Tensor
    iterations: int

    @property
    def generator(self) -> Tensor:
        """Generators ``(..., S, S)``."""
        return self.scheme.generator(self.theta[..., : self.scheme.n_parameters])

    def process(self, **keywords: object) -> MarkovJump:
        """Process with the fitted generator; keywords are those of `MarkovJump`."""
        return MarkovJump(self.generator, **keywords)  # type: ignore[arg-type]

    @property
    def covariance(self) -> Tensor:
        """Covariance of ``theta`` ``(..., p + r, p + r)``; along a flat direction the variance is held at 100."""
        size = self.information.shape[-1]
        inverse, _ = floored_inverse(self.information.reshape(-1, size, size), _FLAT)
        return inverse.reshape(self.information.shape)

    @property
    def n_flat(self) -> Tensor:
        """Number of directions ``(...)`` in which the data say nothing: a standard deviation above 10."""
        return (torch.linalg.eigvalsh(self.information) < _FLAT).sum(-1)

    def flat_edges(self, share: float = 0.1) -> Tensor:
        """Jumps ``(..., S, S)`` bool whose log-rate lies along a flat direction, to at least this share."""
        values, vectors = torch.linalg.eigh(self.information)
        p = self.scheme.n_parameters
        along = self.scheme.design.to(vectors) @ vectors[..., :p, :]
        weight = (along.square() * (values < _FLAT)[..., None, :]).sum(-1)
        return self._matrix(weight) > share

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """Bounds of the rates, each ``(..., S, S)`` with zeros on the diagonal: normal in the log-rates."""
        p, design = self.scheme.n_parameters, self.scheme.design.to(self.theta)
        variance = ((design @ self.covariance[..., :p, :p]) * design).sum(-1)
        log_rates = self.scheme.log_rates(self.theta[..., :p])
        half = float(norm.ppf(0.5 + level / 2)) * variance.sqrt()
        return self._matrix((log_rates - half).exp()), self._matrix((log_rates + half).exp())

    @property
    def aic(self) -> Tensor:
        """``2 k − 2 log L`` ``(...)``."""
        return 2 * self.theta.shape[-1] - 2 * self.log_likelihood

    @property
    def bic(self) -> Tensor:
        """``k log n − 2 log L`` ``(...)``."""
        return self.theta.shape[-1] * self.n_observed.log() - 2 * self.log_likelihood

    def _matrix(self, of_edges: Tensor) -> Tensor:
        size, edges = self.scheme.n_states, self.scheme.edges
        full = torch.zeros(
            *of_edges.shape[:-1], size, size, dtype=of_edges.dtype, device=of_edges.device
        )
        full[..., edges[:, 0], edges[:, 1]] = of_edges
        return full


def fit_panel(
    counts: PanelCounts,
    scheme: RateScheme | None = None,
    start: Tensor | None = None,
    prior: LogDensity | None = None,
    max_iter: int = 300,
) -> JumpFit:
    """Fit generators to panels by maximum likelihood, or with a prior to the posterior's maximum.

    Parameters
    ----------
    counts : PanelCounts
        One panel, or a batch of them, each with a fit of its own.
    scheme : RateScheme, optional
        Which jumps are allowed and how their rates hang together; by default all, each with its own rate.
    start : Tensor, ``(..., S, S)``, optional
        Generators to start from; by default the crude ones.
    prior : callable, ``(..., E) -> (...)``, optional
        Log-density of the log-rates of the allowed jumps.
    max_iter : int
        Most steps of BFGS.

    Raises
    ------
    ValueError
        If the data are impossible at the start.

    Examples
    --------
    >>> from dyninfer.jumps import fit_panel, panel_counts
    >>> from dyninfer.data.paths import Paths
    >>> paths = Paths(times=[[0, 1, 2, 3, 4]] * 3, states=[[0, 0, 1, 0, 0], [0, 1, 1, 0, 1], [1, 0, 0, 0, 1]])
    >>> fit_panel(panel_counts(paths)).generator.shape
    torch.Size([2, 2])
    """
    scheme = RateScheme.free(counts.n_states) if scheme is None else scheme
    if start is None:
        start = counts.crude_generator(scheme.allowed.to(counts.pairs.device), least=0.5)
    batch = torch.broadcast_shapes(counts.gaps.shape[:-1], start.shape[:-2])
    theta = scheme.parameters_of(start.to(torch.float64)).expand(*batch, -1)
    likelihood = counts.log_likelihood

    def objective(theta: Tensor) -> Tensor:
        total = likelihood(scheme.generator(theta))
        return total if prior is None else total + prior(scheme.log_rates(theta))

    each = batch.numel() * counts.gaps.shape[-1] * counts.n_states**2
    columns = max(1, _AT_ONCE // (2 * each))
    best = maximise(
        objective, theta.reshape(1, -1) if not batch else theta, max_iter=max_iter, columns=columns
    )
    return finished(
        best, scheme, batch, lambda x: likelihood(scheme.generator(x)), counts.n_observed
    )


def finished(
    best: Maximum, scheme: RateScheme, batch: torch.Size, likelihood: LogDensity, n_observed: Tensor
) -> JumpFit:
    """Put a maximum into words, in the shape of the batch."""
    theta = best.theta.reshape(*batch, -1)
    with torch.no_grad():
        value = likelihood(theta)
    return JumpFit(
        scheme=scheme,
        theta=theta,
        log_likelihood=value,
        information=best.information.reshape(*batch, *best.information.shape[-2:]),
        n_observed=n_observed,
        converged=(best.decrement < 1e-4).reshape(batch),
        iterations=best.iterations,
    )
