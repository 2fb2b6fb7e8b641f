"""A diffusion whose drift is the gradient of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.diffusions.diffusion import Diffusion, batch_times
from dyninfer.learning.networks import Derivatives, PotentialNetwork
from dyninfer.learning.scaling import Scaling


class PotentialDiffusion(Diffusion):
    """Drift ∇s, noise σ and growth λs of one potential ``s(t, x)``, in the user's units.

    Parameters
    ----------
    network : PotentialNetwork
        Potential ``u(τ, z)`` in scaled units.
    scaling : Scaling
        How times and states are scaled. With one common scale ``c`` and duration ``T``, ``s = c² u / T``.
    sigma : float
        Noise amplitude σ, in state units per square root of time (in standard deviations where every feature has its own
        scale); 0 for a deterministic flow.
    growth_penalty : float, optional
        λ of the growth rate λs; None conserves mass.
    """

    def __init__(
        self,
        network: PotentialNetwork,
        scaling: Scaling,
        sigma: float = 0.0,
        growth_penalty: float | None = None,
    ):
        super().__init__()
        self.network = network
        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.as_tensor(scaling.shift, dtype=torch.float64))
        self.register_buffer("scale", torch.as_tensor(scaling.scale, dtype=torch.float64))
        self.start, self.duration, self.unit = scaling.start, scaling.duration, scaling.unit
        self.one_scale = bool((scaling.scale == scaling.unit).all())
        self.sigma, self.growth_penalty = float(sigma), growth_penalty

    def drift(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``∇s`` (with a scale for every feature, the gradient in the metric of standard deviations)."""
        return self._velocity(self._derivatives(t, x), x)

    def diffusion(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """σ as a scalar, or one value per feature where every feature has its own scale."""
        if not self.sigma:
            return None
        if self.one_scale:
            return torch.full((), self.sigma, dtype=x.dtype, device=x.device)
        return (self.sigma * self.scale).to(x)

    def growth(self, t: Tensor | float, x: Tensor) -> Tensor | None:
        """``λ s``, per time unit."""
        return None if self.growth_penalty is None else self.growth_penalty * self.potential(t, x)

    def potential(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``s(t, x)``; without growth it is known up to a function of time."""
        return self.network(*self._scaled(t, x)).to(x.dtype) * (self.unit**2 / self.duration)

    def drift_and_growth(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Both fields from one pass through the network."""
        s = self._derivatives(t, x)
        rate = self.growth_penalty
        growth = (
            None if rate is None else s.value.to(x.dtype) * (rate * self.unit**2 / self.duration)
        )
        return self._velocity(s, x), growth

    def divergence(self, t: Tensor | float, x: Tensor) -> Tensor:
        """Exact divergence of the drift, ``Δs``."""
        tau, z = self._scaled(t, x)
        axes = torch.eye(x.shape[1], dtype=z.dtype, device=x.device)
        return self.network.curvature(tau, z, axes).to(x.dtype) / self.duration

    def _scaled(self, t: Tensor | float, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scaled time and state, in the precision of the network; results return to that of ``x``."""
        tau = (batch_times(t, x) - self.start) / self.duration
        z = (x - self.shift.to(x)) / self.scale.to(x)
        return tau.to(self.shift.dtype), z.to(self.shift.dtype)

    def _derivatives(self, t: Tensor | float, x: Tensor) -> Derivatives:
        return self.network.derivatives(*self._scaled(t, x))

    def _velocity(self, s: Derivatives, x: Tensor) -> Tensor:
        return s.gradient.to(x.dtype) * (self.scale / self.duration).to(x)
