"""A diffusion whose drift is the gradient of a network."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.data.conditions import ConditionCode
from dyninfer.diffusions.conditioned import ConditionedDiffusion
from dyninfer.diffusions.conditioned_growth import GrowthByCondition
from dyninfer.diffusions.diffusion import Motion, Time, batch_times
from dyninfer.diffusions.growth import BoundedGrowth
from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.own_networks import OwnPotential


class PotentialDiffusion(ConditionedDiffusion):
    """Drift ∇s, noise σ and growth λs of one potential ``s(t, x)``, and the score of another.

    Parameters
    ----------
    network : PotentialNetwork or OwnPotential
        The potential.
    sigma : float
        Noise amplitude σ; 0 for a deterministic flow.
    growth_penalty : float, optional
        λ of the growth rate λs; None conserves mass.
    law : BoundedGrowth or GrowthByCondition, optional
        What is known of the growth rate, and its bounds; None leaves it λ times the network.
    code : ConditionCode, optional
        Code of the conditions that the network was told; see :meth:`given`.
    second : PotentialNetwork or OwnPotential, optional
        ψ, the logarithm of the density up to a function of time: ∇ψ is the score. With noise, it
        is what runs the process backward, or with other noise.

    See Also
    --------
    dyninfer.diffusions.ScaledDiffusion : the same in the units of data.
    """

    constant_noise = True

    def __init__(
        self,
        network: PotentialNetwork | OwnPotential,
        sigma: float = 0.0,
        growth_penalty: float | None = None,
        law: BoundedGrowth | GrowthByCondition | None = None,
        code: ConditionCode | None = None,
        second: PotentialNetwork | OwnPotential | None = None,
    ):
        super().__init__(code, law)
        self.network = network
        self.second = second
        self.sigma = float(sigma)
        self.growth_penalty = growth_penalty

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``∇s``."""
        times = batch_times(t, x)
        code = self._code(x)
        s = self.network.derivatives(times, x, c=code)
        return s.gradient

    def diffusion(self, t: Time, x: Tensor) -> Tensor | None:
        """σ as a scalar, or None where there is no noise."""
        # None, and not zero: solvers of ordinary equations take it then.
        if not self.sigma:
            return None
        return x.new_full((), self.sigma)

    def score(self, t: Time, x: Tensor) -> Tensor | None:
        """``∇ψ``, or None where no second potential was learned."""
        if self.second is None:
            return None
        times = batch_times(t, x)
        code = self._code(x)
        psi = self.second.derivatives(times, x, c=code)
        return psi.gradient

    def growth(self, t: Time, x: Tensor) -> Tensor | None:
        """``λ s``, within the bounds."""
        if self.growth_penalty is None:
            return None
        times = batch_times(t, x)
        code = self._code(x)
        value = self.network(times, x, code)
        return self._bounded_rate(times, value)

    def potential(self, t: Time, x: Tensor) -> Tensor:
        """``s(t, x)``; without growth it is known up to a function of time."""
        times = batch_times(t, x)
        code = self._code(x)
        s = self.network(times, x, code)
        if self.law is None or self.growth_penalty is None:
            return s
        # What all states share moves nothing, but growth is read off the potential.
        mean_growth = self.law.mean(times)
        return s + mean_growth / self.growth_penalty

    def drift_and_growth(self, t: Time, x: Tensor) -> Motion:
        """Both fields from one pass through the network."""
        times = batch_times(t, x)
        code = self._code(x)
        s = self.network.derivatives(times, x, c=code)
        if self.growth_penalty is None:
            return s.gradient, None
        rate = self._bounded_rate(times, s.value)
        return s.gradient, rate

    def divergence(self, t: Time, x: Tensor) -> Tensor:
        """Exact divergence of the drift, ``Δs``."""
        # All axes at once: with many features, this is what takes memory.
        d = x.shape[1]
        axes = torch.eye(d).to(x)
        times = batch_times(t, x)
        code = self._code(x)
        return self.network.curvature(times, x, axes, code)

    def settle_growth(
        self, time: Tensor, state: Tensor, weight: Tensor | None, code: Tensor | None
    ) -> None:
        """Set mean and bounds of the growth by weighted samples ``(n, d)`` of the density.

        ``code`` ``(n, m)`` holds the conditions of the samples, where there are conditions.
        """
        if self.growth_penalty is None:
            return
        with torch.no_grad():
            potential = self.network(time, state, code)
            rate = self.growth_penalty * potential
        self.settle_law(time, rate, weight, code)

    def _bounded_rate(self, times: Tensor, s: Tensor) -> Tensor:
        """Growth rate for values of the network ``(n,)``."""
        assert self.growth_penalty is not None
        rate = self.growth_penalty * s
        if self.law is None:
            return rate
        return self.law(times, rate)
