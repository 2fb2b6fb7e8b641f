"""Closed forms that the estimators are held against, with their derivations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GaussianBridge:
    """Density of ``x_t = (1 − t) x0 + t x1``, independent ``x0 ~ N(0, I)`` and ``x1 ~ N(m, r² I)``: ``N(t m, v_t I)``.

    With ``v_t = (1−t)² + t² r²`` and ``y = x − t m``:

    * plain: ``∇s = m + (v'/2v) y``, because an isotropic Gaussian is stretched by its standard deviation;
    * entropic: noise spreads the density by ``σ²/2 Δ``, so the drift must hold against it: ``∇s = m + ((v' − σ²)/2v) y``;
    * unbalanced with unit mass: ``s = a + b·y + ½ C |y|²`` with ``b = m/(1 + λv)``, ``C = (v'/2v)/(1 + λv/2)`` and
      ``a = (d C − d v'/2v)/λ`` solves ``∂q + ∇·(q∇s) = λ s q`` term by term in powers of y.

    The least action is ``−½ ∫ E[|∇s|² + λ s²] dt``.
    """

    shift: tuple[float, ...] = (2.0, 0.0)
    ratio: float = 0.5

    def sample(self, t: Tensor, n: int) -> Tensor:
        m = torch.tensor(self.shift)
        x0, x1 = torch.randn(n, len(m)), m + self.ratio * torch.randn(n, len(m))
        return torch.lerp(x0, x1, t[:, None].to(x0))

    def _parts(self, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        m = torch.tensor(self.shift)
        v = (1 - t) ** 2 + t**2 * self.ratio**2
        rate = (-2 * (1 - t) + 2 * t * self.ratio**2) / (2 * v)  # v'/2v
        return m, v, rate, x - t[:, None] * m

    def velocity(self, t: Tensor, x: Tensor, sigma: float = 0.0) -> Tensor:
        m, v, rate, y = self._parts(t, x)
        return m + (rate - sigma**2 / (2 * v))[:, None] * y

    def unbalanced(self, t: Tensor, x: Tensor, rate_of_growth: float) -> tuple[Tensor, Tensor]:
        """Potential and its gradient."""
        m, v, rate, y = self._parts(t, x)
        b = m / (1 + rate_of_growth * v)[:, None]
        c = rate / (1 + rate_of_growth * v / 2)
        d = len(m)
        a = (d * c - d * rate) / rate_of_growth
        s = a + (b * y).sum(1) + 0.5 * c * y.square().sum(1)
        return s, b + c[:, None] * y

    def points(self, n: int = 20_000, seed: int = 1) -> tuple[Tensor, Tensor]:
        """Fresh times and samples to test on."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            t = torch.rand(n)
            return t, self.sample(t, n)

    def least_action(self, sigma: float = 0.0, growth_penalty: float | None = None) -> float:
        t, x = self.points(400_000)
        if growth_penalty is None:
            return -0.5 * float(self.velocity(t, x, sigma).square().sum(1).mean())
        s, gradient = self.unbalanced(t, x, growth_penalty)
        return -0.5 * float((gradient.square().sum(1) + growth_penalty * s.square()).mean())


def relative_error(found: Tensor, true: Tensor) -> float:
    """``E|found − true|² / E|true|²``."""
    return float((found - true).square().sum() / true.square().sum())
