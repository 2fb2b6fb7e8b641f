"""Cells that move, divide and die: the individual side of a population with growth."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.random import stream, subseed, uniforms
from dyninfer.simulators.base import Simulator, check_draw

Field = Callable[[float, Tensor], Tensor]
Rates = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class BranchingPopulation(Simulator):
    """A progenitor population that commits to one of two fates with different growth rates.

    A cell moves by ``dX = −speed ∇V dt + σ dW`` with ``V = ½ (x₁ − 2)² − ½ (x₁ − 1) x₂² + ¼ x₂⁴ + ½
    |x_rest|²``: x₁ is maturation, and where it passes 1 the valley splits into an upper and a lower
    fate at ``(3, ±√2)``. A cell divides at rate b(x) and dies at rate d(x); both change smoothly
    from the lower to the upper fate as x₂ changes sign. Cells are independent, so the expected
    density obeys ``∂ρ/∂t = −∇·(drift ρ) + ½ σ² Δρ + (b − d) ρ``: this is :meth:`process`.

    Parameters
    ----------
    birth_upper, birth_lower : float
        Division rates of the two fates, per unit of time.
    death_upper, death_lower : float
        Death rates of the two fates, per unit of time.
    speed : float
        Rate of descent in the landscape, per unit of time; positive.
    sigma : float
        Noise, in state units per square root of time; positive.
    switch : float
        Width in x₂ over which the rates change; positive.
    initial_std : float
        Founders start at ``N(0, initial_std² I)``.
    dimension : int
        Number of coordinates, at least 2.
    dt : float
        Time step of the simulation. For constant rates, counts are exact at any step; motion and
        varying rates have a second-order error in the step.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.simulators.BranchingPopulation().snapshots([0, 1], 50).samples[0].shape
    (50, 2)
    """

    birth_upper: float = 0.8
    birth_lower: float = 0.4
    death_upper: float = 0.1
    death_lower: float = 0.3
    speed: float = 1.0
    sigma: float = 0.4
    switch: float = 0.3
    initial_std: float = 0.15
    dimension: int = 2
    dt: float = 0.02

    grows = True

    def _check(self) -> None:
        self._check_not_negative(
            "birth_upper", "birth_lower", "death_upper", "death_lower", "initial_std"
        )
        self._check_positive("speed", "sigma", "switch", "dt")
        if self.dimension < 2:
            raise ValueError(f"dimension must be at least 2, found {self.dimension!r}")

    def process(self) -> Diffusion:
        """Return the expected density as a weighted diffusion.

        Its drift is the gradient of its potential.
        """
        return Diffusion(
            drift=self.drift,
            diffusion=self.sigma,
            growth=self.growth,
            potential=self.potential,
        )

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``−speed ∇V``, shape ``(n, d)``."""
        maturation = x[:, :1]
        fate = x[:, 1:2]
        rest = x[:, 2:]
        square = fate.square()
        along = maturation - 2 - square / 2
        across = fate * (square - maturation + 1)
        slope = torch.cat([along, across, rest], dim=1)
        return -self.speed * slope

    def potential(self, t: Time, x: Tensor) -> Tensor:
        """``−speed V``, shape ``(n,)``."""
        maturation = x[:, 0]
        fate = x[:, 1]
        others = x[:, 2:]
        square = fate.square()
        along = (maturation - 2).square()
        # One valley before the fork at maturation 1, and two after it.
        steepness = maturation - 1
        across = square.square() / 2 - steepness * square
        rest = others.square().sum(-1)
        energy = (along + across + rest) / 2
        return -self.speed * energy

    def rates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Division and death rates of cells at ``x``, each ``(n,)``, per time unit."""
        fate = x[:, 1]
        upper = torch.sigmoid(fate / self.switch)
        lower = 1 - upper
        birth_above = upper * self.birth_upper
        birth_below = lower * self.birth_lower
        birth = birth_above + birth_below
        death_above = upper * self.death_upper
        death_below = lower * self.death_lower
        death = death_above + death_below
        return birth, death

    def growth(self, t: Time, x: Tensor) -> Tensor:
        """Net growth ``b(x) − d(x)``, shape ``(n,)``."""
        birth, death = self.rates(x)
        return birth - death

    def founders(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` cells from the initial distribution, ``(n, d)`` float32."""
        check_draw(n, seed)
        g = stream(seed, "founders")
        noise = torch.randn(n, self.dimension, generator=g, dtype=torch.float32)
        return self.initial_std * noise

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Grow a culture from ``n`` founders: all cells alive at ``t``, ``(n_t, d)`` float32."""
        cells, _ = self.grow(t, n, seed)
        return cells

    def grow(self, t: float, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Grow a culture from ``n`` founders until time ``t``.

        Returns
        -------
        cells : Tensor, ``(n_t, d)`` float32
            All cells alive at ``t``.
        clone : Tensor, ``(n_t,)`` int64
            Number of the founder each cell descends from.
        """
        check_draw(n, seed, t)
        culture_seed = subseed(seed, "culture")
        founders = self.founders(n, culture_seed)
        g = stream(seed, "growth")
        return branch(self.drift, self.sigma, self.rates, founders, t, self.dt, g)

    def count_mean(self, t: float) -> float:
        """Expected cells per founder for constant rates, ``e^{(b−d)t}``."""
        birth, death = self._constant_rates()
        return math.exp((birth - death) * t)

    def count_variance(self, t: float) -> float:
        """Variance of the cells per founder for constant rates.

        ``(b+d)/(b−d) e^{(b−d)t} (e^{(b−d)t} − 1)``, and ``2bt`` where ``b = d``.
        """
        birth, death = self._constant_rates()
        # The limit of what follows, which would be 0/0.
        if birth == death:
            return 2 * birth * t
        mean = self.count_mean(t)
        net = birth - death
        turnover = (birth + death) / net
        return turnover * mean * (mean - 1)

    def _constant_rates(self) -> tuple[float, float]:
        birth_is_constant = self.birth_upper == self.birth_lower
        death_is_constant = self.death_upper == self.death_lower
        if not birth_is_constant or not death_is_constant:
            raise ValueError(
                "the count has a closed form for constant rates only; "
                "set birth_upper = birth_lower and death_upper = death_lower"
            )
        return self.birth_upper, self.death_upper


def branch(
    drift: Field,
    sigma: float,
    rates: Rates,
    founders: Tensor,
    t: float,
    dt: float,
    g: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Move, divide and remove cells from time 0 to ``t``; all cells are stepped together.

    Motion is Heun's method, of weak order 2 for noise that does not depend on the state. Over a
    step a cell leaves a number of descendants drawn from the exact distribution of the birth-death
    process with the mean of its rates before and after.

    Parameters
    ----------
    drift : callable, ``(t, x) -> (n, d)``
        Velocity of the mean.
    sigma : float
        Noise amplitude.
    rates : callable, ``(n, d) -> (n,), (n,)``
        Division and death rates.
    founders : Tensor, ``(n, d)``
        Cells at time 0.
    t, dt : float
        Final time and largest step.
    g : torch.Generator
        Source of all randomness.

    Returns
    -------
    cells : Tensor, ``(n_t, d)``
        Cells alive at ``t``.
    clone : Tensor, ``(n_t,)`` int64
        Row of the founder of each cell.
    """
    x = founders
    clone = torch.arange(len(founders))
    if t == 0:
        return x, clone
    # A hair less, so that rounding in t / dt does not add a step.
    steps = t / dt - 1e-9
    n_steps = max(1, math.ceil(steps))
    h = t / n_steps
    deviation = sigma * math.sqrt(h)
    for k in range(n_steps):
        time = k * h
        # The same noise in both stages: with a noise that does not depend on the state, the
        # average of the two slopes is then of second order.
        normals = torch.randn(x.shape, generator=g, dtype=x.dtype)
        noise = deviation * normals
        slope = drift(time, x)
        predicted = x + h * slope + noise
        slope_after = drift(time + h, predicted)
        twice_slope = slope + slope_after
        change = h * twice_slope / 2
        after = x + change + noise
        birth, death = rates(x)
        birth_after, death_after = rates(after)
        mean_birth = (birth + birth_after) / 2
        mean_death = (death + death_after) / 2
        mean_events = mean_birth + mean_death
        if not bool(mean_events.isfinite().all()):
            raise ValueError(
                f"the cells diverged by time {time:g}: steps of {h:g} are too large "
                "for these rates and this speed; make dt smaller"
            )
        offspring = birth_death_offspring(mean_birth, mean_death, h, g)
        x = after.repeat_interleave(offspring, dim=0)
        clone = clone.repeat_interleave(offspring)
    return x, clone


def birth_death_offspring(birth: Tensor, death: Tensor, h: float, g: torch.Generator) -> Tensor:
    """Draw the descendants ``(n,)`` after time ``h`` of single cells with the given rates ``(n,)``.

    The count is 0 with probability ``α = d r``, else geometric from 1 on with ratio ``β = b r``,
    where ``r = (E − 1) / (bE − d)`` and ``E = e^{(b−d)h}`` (Kendall 1948, Annals of Mathematical
    Statistics 19, 1).
    """
    # float64, for the exponents of rare events.
    birth = birth.double()
    death = death.double()
    # (E − 1) / (bE − d) with both sides divided by (b − d) h; stays finite where b = d.
    net = (birth - death) * h
    is_balanced = net.abs() < 1e-8
    relative_growth = torch.expm1(net) / net
    quotient = torch.where(is_balanced, 1.0, relative_growth)
    span = h * quotient
    growth = birth * span
    r = span / (1 + growth)
    alpha = death * r
    beta = birth * r
    u, v = uniforms(g, 2, len(birth))
    # The rest of a geometric count, by inverting its distribution function.
    log_above = torch.log1p(-v)
    more = log_above / torch.log(beta)
    count = 1 + more.floor().long()
    return torch.where(u < alpha, 0, count)
