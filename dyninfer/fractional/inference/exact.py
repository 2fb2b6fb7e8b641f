"""The linear Gaussian model, with the interface of the nonlinear one: everything is exact."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dyninfer.fractional.inference.likelihood import exact_log_likelihood, exact_posterior
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series


class ExactModel(nn.Module):
    """A linear prior, drawn from and weighed without error; all standardised."""

    # What the nonlinear model has, and this one has not.
    amplitude = None
    content_dim = 0
    needs_steps = False

    def __init__(self, prior: LinearPrior):
        super().__init__()
        self.prior = prior
        self.latent = prior.latent

    def whole_drift(self, t: Tensor, x: Tensor) -> Tensor:
        """``a − θ x``."""
        return self.prior.drift(t, x)

    def decode(self, x: Tensor, content: Tensor | None = None) -> Tensor:
        """Means of the observations at states ``(..., d)``: ``(..., F)``."""
        return self.prior.decode(x)

    def content(self, series: Series) -> Tensor | None:
        """A linear readout has no content."""
        return None

    def draw(self, series: Series, n_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Posterior states ``(n_samples, P, L, d)``, and their readout ``(n_samples, P, L, F)``."""
        states = exact_posterior(self.prior, series, n_samples, seed)
        return states, self.decode(states)

    @torch.no_grad()
    def log_weights(self, series: Series, n_samples: int, seed: int) -> Tensor:
        """The evidence, which every weight is: ``(1, P)``."""
        return exact_log_likelihood(self.prior, series)[None]
