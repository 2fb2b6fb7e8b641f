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


@dataclass(frozen=True)
class MixtureBridge:
    """Density of ``x_t = α x0 + β x1 + γ z`` for independent Gaussian mixtures with isotropic components.

    With components ``p_i N(m_i, u_i I)`` and ``q_j N(n_j, v_j I)``, ρ_t is the mixture over pairs of weight ``p_i q_j``, mean
    ``α m_i + β n_j`` and variance ``C_ij = α² u_i + β² v_j + γ²``. A Gaussian pair is carried by ``b_ij = m_ij' + ½ C_ij'/C_ij y``,
    ``y = x − m_ij``, and the fields of the mixture are averages over the responsibilities of the pairs; ``η = −γ s``.
    ``coefficients(t)`` gives α, β, γ and their derivatives; γγ' must be given as the product, which is finite.
    """

    first: tuple[Tensor, Tensor, Tensor]  # weights (I,), means (I, d), variances (I,)
    last: tuple[Tensor, Tensor, Tensor]

    def sample(self, end: int, n: int, seed: int) -> Tensor:
        weights, means, variances = self.last if end else self.first
        g = torch.Generator().manual_seed(seed)
        k = torch.multinomial(weights, n, replacement=True, generator=g)
        return means[k] + variances[k].sqrt()[:, None] * torch.randn(n, means.shape[1], generator=g)

    def sample_at(self, coefficients, t: float, n: int, seed: int) -> Tensor:
        a, b, gamma = (float(v) for v in coefficients(t)[:3])
        z = torch.randn(n, self.first[1].shape[1], generator=torch.Generator().manual_seed(seed + 2))
        return a * self.sample(0, n, seed) + b * self.sample(1, n, seed + 1) + gamma * z

    def log_density(self, x: Tensor, end: int) -> Tensor:
        weights, means, variances = self.last if end else self.first
        y = x[:, None].double() - means.double()
        d = x.shape[1]
        logs = -0.5 * y.square().sum(2) / variances - 0.5 * d * torch.log(2 * torch.pi * variances)
        return torch.logsumexp(logs + weights.log(), 1)

    def fields(self, coefficients, t: float, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Velocity, score and denoiser at one time."""
        a, b, gamma, a1, b1, product = (float(v) for v in coefficients(t))
        (p, m, u), (q, n, v) = self.first, self.last
        mean = (a * m[:, None] + b * n[None]).flatten(0, 1)
        moved = (a1 * m[:, None] + b1 * n[None]).flatten(0, 1)
        variance = (a * a * u[:, None] + b * b * v[None] + gamma**2).flatten()
        half_rate = (a * a1 * u[:, None] + b * b1 * v[None] + product).flatten()
        y = x[:, None].double() - mean
        d = x.shape[1]
        logs = -0.5 * y.square().sum(2) / variance - 0.5 * d * variance.log()
        share = torch.softmax(logs + (p[:, None] * q[None]).flatten().log(), 1)[:, :, None]
        velocity = (share * (moved + (half_rate / variance)[:, None] * y)).sum(1)
        score = (share * -y / variance[:, None]).sum(1)
        return velocity.float(), score.float(), -gamma * score.float()
