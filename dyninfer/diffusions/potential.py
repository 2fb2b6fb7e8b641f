"""A diffusion whose drift is the gradient of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.diffusions.diffusion import Diffusion, Time, batch_times
from dyninfer.learning.networks import PotentialNetwork


class PotentialDiffusion(Diffusion):
    """Drift ∇s, noise σ and growth λs of one potential ``s(t, x)``.

    Parameters
    ----------
    network : PotentialNetwork
        The potential.
    sigma : float
        Noise amplitude σ; 0 for a deterministic flow.
    growth_penalty : float, optional
        λ of the growth rate λs; None conserves mass.

    See Also
    --------
    dyninfer.diffusions.ScaledDiffusion : the same in the units of data.
    """

    constant_noise = True

    def __init__(
        self,
        network: PotentialNetwork,
        sigma: float = 0.0,
        growth_penalty: float | None = None,
    ):
        super().__init__()
        self.network = network
        self.sigma, self.growth_penalty = float(sigma), growth_penalty

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``∇s``."""
        s = self.network.derivatives(batch_times(t, x), x)
        return s.gradient

    def diffusion(self, t: Time, x: Tensor) -> Tensor | None:
        """σ as a scalar, or None where there is no noise."""
        # None, and not zero: solvers of ordinary equations take it then.
        if not self.sigma:
            return None
        return torch.full((), self.sigma, dtype=x.dtype, device=x.device)

    def growth(self, t: Time, x: Tensor) -> Tensor | None:
        """``λ s``."""
        if self.growth_penalty is None:
            return None
        return self.growth_penalty * self.potential(t, x)

    def potential(self, t: Time, x: Tensor) -> Tensor:
        """``s(t, x)``; without growth it is known up to a function of time."""
        return self.network(batch_times(t, x), x)

    def drift_and_growth(self, t: Time, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Both fields from one pass through the network."""
        s = self.network.derivatives(batch_times(t, x), x)
        if self.growth_penalty is None:
            return s.gradient, None
        return s.gradient, self.growth_penalty * s.value

    def divergence(self, t: Time, x: Tensor) -> Tensor:
        """Exact divergence of the drift, ``Δs``."""
        # All axes at once: with many features, this is what takes memory.
        axes = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return self.network.curvature(batch_times(t, x), x, axes)
