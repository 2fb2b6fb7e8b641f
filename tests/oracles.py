"""Closed forms that the estimators are held against, with their derivations."""

from __future__ import annotations

import math
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
        z = torch.randn(
            n, self.first[1].shape[1], generator=torch.Generator().manual_seed(seed + 2)
        )
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


def root(matrix: Tensor) -> Tensor:
    """Square root of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ (values.clamp_min(0).sqrt()[:, None] * vectors.T)


def exact_gaussian(mean: Tensor, covariance: Tensor, n: int, seed: int) -> Tensor:
    """``n`` normal samples moved so that their mean and covariance are the given ones to rounding."""
    d = len(mean)
    z = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    z = z - z.mean(0)
    z = z @ torch.linalg.inv(root(z.T @ z / n))
    return (mean.double() + z @ root(covariance.double())).float()


@dataclass(frozen=True)
class GaussianFlow:
    """Least-action path from ``N(m0, S0)`` to ``N(m1, S1)`` in unit time, of cells that diffuse with noise σ (0: transport).

    Static problem (Janati et al. 2020, arXiv 2006.02572): the two ends have the covariance
    ``C = ½ (S0^½ D S0^-½ − σ² I)``, ``D = (4 S0^½ S1 S0^½ + σ⁴ I)^½``; for σ = 0 that is ``S0 A`` with the map
    ``A = S0^-½ (S0^½ S1 S0^½)^½ S0^-½``. Given its ends, a cell is a Brownian bridge, so everything is Gaussian:
    ``S_t = (1−t)² S0 + t² S1 + t(1−t)(C + Cᵀ + σ² I)`` and the drift is ``(E[x_1 | x_t] − x_t)/(1 − t)`` with
    ``Cov(x_1, x_t) = t S1 + (1−t) Cᵀ``.
    """

    m0: Tensor
    m1: Tensor
    s0: Tensor
    s1: Tensor
    sigma: float = 0.0

    def samples(self, n: int) -> list[Tensor]:
        return [exact_gaussian(self.m0, self.s0, n, 1), exact_gaussian(self.m1, self.s1, n, 2)]

    @property
    def coupling(self) -> Tensor:
        half, one = root(self.s0), torch.eye(len(self.m0))
        d = root(4 * half @ self.s1 @ half + self.sigma**4 * one)
        return 0.5 * (half @ d @ torch.linalg.inv(half) - self.sigma**2 * one)

    def mean(self, t: float) -> Tensor:
        return torch.lerp(self.m0, self.m1, t)

    def covariance(self, t: float) -> Tensor:
        c, one = self.coupling, torch.eye(len(self.m0))
        return (
            (1 - t) ** 2 * self.s0 + t**2 * self.s1 + t * (1 - t) * (c + c.T + self.sigma**2 * one)
        )

    def drift(self, t: float, x: Tensor) -> Tensor:
        y = x - self.mean(t)
        ahead = t * self.s1 + (1 - t) * self.coupling.T  # Cov(x_1, x_t)
        expected = self.m1 + y @ torch.linalg.solve(self.covariance(t), ahead.T)
        return (expected - x) / (1 - t)

    def action(self, n: int = 2000) -> float:
        """``½ ∫ E|drift|² dt``, by the midpoint rule."""
        total = 0.0
        for t in (torch.arange(n) + 0.5) / n:
            s, rate = self.covariance(float(t)), self._gain(float(t))
            total += (
                0.5 * float((self.m1 - self.m0).square().sum() + (rate @ s @ rate.T).trace()) / n
            )
        return total

    def _gain(self, t: float) -> Tensor:
        """Matrix G of the drift ``m' + G y``."""
        ahead = t * self.s1 + (1 - t) * self.coupling.T
        one = torch.eye(len(self.m0))
        return (torch.linalg.solve(self.covariance(t), ahead.T).T - one) / (1 - t)

    def divergence_from(self, x: Tensor, t: float) -> float:
        """Kullback-Leibler divergence of the Gaussian fitted to samples from the one at time t."""
        x = x.double()
        y, s = x - x.mean(0), self.covariance(t).double()
        ratio = torch.linalg.solve(s, y.T @ y / (len(x) - 1))
        gap = (x.mean(0) - self.mean(t)).double()
        far = float(gap @ torch.linalg.solve(s, gap))
        return 0.5 * (float(ratio.trace() - torch.logdet(ratio)) - len(gap) + far)


def dirac_action(distance: float, m0: float, m1: float, penalty: float) -> float:
    """Free Wasserstein-Fisher-Rao action between two point masses: ``(2/λ)(m0 + m1 − 2 √(m0 m1) cos θ)``."""
    return (
        2 / penalty * (m0 + m1 - 2 * math.sqrt(m0 * m1) * math.cos(dirac_angle(distance, penalty)))
    )


def dirac_mass(t: Tensor, distance: float, m0: float, m1: float, penalty: float) -> Tensor:
    """Mass along that geodesic: the square of a straight line's distance from the tip of the cone."""
    cosine = math.cos(dirac_angle(distance, penalty))
    return (1 - t) ** 2 * m0 + t**2 * m1 + 2 * t * (1 - t) * math.sqrt(m0 * m1) * cosine


def dirac_angle(distance: float, penalty: float) -> float:
    """``θ = √λ |x1 − x0| / 2``, at most a right angle."""
    return min(0.5 * math.sqrt(penalty) * distance, 0.5 * math.pi)


def fisher_rao_share(t: Tensor, p0: float, p1: float) -> Tensor:
    """Share of one of two clusters too far apart for transport, total mass prescribed: ``sin²`` of a straight line."""
    f0, f1 = (math.asin(math.sqrt(p)) for p in (p0, p1))
    return ((1 - t) * f0 + t * f1).sin().square()


def fisher_rao_action(p0: float, p1: float, penalty: float) -> float:
    """``(2/λ)(f1 − f0)²``, ``f = arcsin √p``."""
    return 2 / penalty * (math.asin(math.sqrt(p1)) - math.asin(math.sqrt(p0))) ** 2


def grid_bridge(V, sigma: float, first, last, t: float, grid) -> Tensor:
    """Density on a grid at part ``t`` (in 256ths) of unit time of the 1-D Schrödinger bridge in the potential ``V(x)``.

    The reference has the generator ``½σ² Δ + V/σ²`` (Feynman-Kac). With its kernel ``K_t`` the density is
    ``q_t = (K_t φ)(K_{1−t} ψ)``, where ``φ K_1 ψ = q_0`` and ``ψ K_1 φ = q_1`` fix φ and ψ: Sinkhorn's iteration.
    The kernel is a product of steps of half a potential, a normal and half a potential: all entries are positive, and none is rounding.
    """
    x = torch.as_tensor(grid, dtype=torch.float64)
    h, dt = float(x[1] - x[0]), 1 / 256
    half = (0.5 * dt * V(x) / sigma**2).exp()
    spread = sigma * math.sqrt(dt)
    walk = (
        (-((x[:, None] - x) ** 2) / (2 * spread**2)).exp() * h / (spread * math.sqrt(2 * math.pi))
    )
    step = half[:, None] * walk * half

    def kernel(time: float) -> Tensor:
        return torch.linalg.matrix_power(step, round(time / dt))

    q0, q1 = (torch.as_tensor(q(x), dtype=torch.float64) for q in (first, last))
    whole, psi = kernel(1.0), torch.ones_like(x)
    for _ in range(500):
        phi = q0 / (whole @ psi).clamp_min(1e-300)
        psi = q1 / (whole @ phi).clamp_min(1e-300)
    density = (kernel(t) @ phi) * (kernel(1 - t) @ psi)
    return density / (density.sum() * h)


def gaussian_density(x: Tensor) -> Tensor:
    """Density of the standard normal in one dimension."""
    return torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
