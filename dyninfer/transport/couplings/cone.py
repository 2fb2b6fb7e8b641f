"""Transport on the cone: the Hellinger-Kantorovich (Wasserstein-Fisher-Rao) problem."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dyninfer.transport.couplings.base import BlockCoupling, require_positive
from dyninfer.transport.couplings.blocks import squared_distances
from dyninfer.transport.couplings.draws import unbalanced_pairs
from dyninfer.transport.couplings.plan import Plan
from dyninfer.transport.couplings.sinkhorn import entropic_plan, rows_to


@dataclass(kw_only=True, repr=False, eq=False)
class ConeCoupling(BlockCoupling):
    r"""Optimal pairs where moving costs ``|v|²/2`` and growing at rate ``g`` costs ``g²/(2λ)``.

    .. math:: \mathrm{HK}^2 = \min_\pi \langle c, \pi\rangle + \mathrm{KL}(\pi 1|\mu) + \mathrm{KL}(\pi^\top 1|\nu), \quad
        c = -2\log\cos\min(\theta, \tfrac\pi2), \quad \theta = \tfrac{\sqrt\lambda}{2} |x-y|

    (Liero, Mielke, Savaré 2018, arXiv 1508.07941). The least action over the time T between the samples is ``2 HK²/(λT)``. Samples
    farther than ``θ = π/2`` from all others are destroyed or created in place, see :class:`Plan`.

    The pairs are drawn half by the plan's rows and half by its columns. A pair with the share ``π`` of the plan begins with mass
    ``π dμ/dπ₁ ∝ mass · exp(log_source)`` and ends with ``π dν/dπ₂ ∝ mass · exp(log_target)``: these, and θ, determine its path. The
    plan is found for total masses one; other totals ``m₀, m₁`` multiply π by ``√(m₀m₁)`` and the two ends by ``m₀`` and ``m₁``, and
    change nothing else.

    With ``sigma`` the entropic term is that of the Schrödinger problem, ε = σ²λT/2 in the units of ``c``: for small λ the
    Schrödinger bridge, for small σ the problem above, and between them an approximation of both.

    A block of 1024 takes 0.2 to 0.5 CPU-seconds.

    Parameters
    ----------
    growth_penalty : float
        λ, in inverse squared units of the samples.
    sigma : float
        Noise amplitude σ, in units of the samples per square root of time; 0 for the problem without noise.
    duration : float, optional
        Time T between the samples; only needed with ``sigma``. None takes one.
    regularization : float
        Entropic regularisation where ``sigma`` is 0, in units of the mean of ``min(c, 1)``; what bias it has is then
        polished away.
    """

    growth_penalty: float = 1.0
    sigma: float = 0.0
    duration: float | None = None
    regularization: float = 0.005

    draws = 16  # pairs drawn per sample, from either end
    polish = 10  # steps of the unregularised problem after the entropic one

    def check(self) -> None:
        """Raise a ValueError naming a setting that cannot be."""
        super().check()
        require_positive(
            self, growth_penalty=self.growth_penalty, regularization=self.regularization
        )
        if self.duration is not None:
            require_positive(self, duration=self.duration)
        if not (np.isfinite(self.sigma) and self.sigma >= 0):
            raise ValueError(
                f"ConeCoupling.sigma must be finite and not negative, found {self.sigma}"
            )

    def solve(
        self, cost: np.ndarray, a: np.ndarray, b: np.ndarray, rng: np.random.Generator
    ) -> Plan:
        """See :meth:`BlockCoupling.solve`."""
        n, m = cost.shape
        plan = self._dense(
            cone_cost(cost, self.growth_penalty), a, b, self.polish, self.regularization
        )
        # One more row and column for what comes from nowhere and goes there.
        wide = np.zeros((n + 1, m + 1))
        wide[:n, :m] = plan
        gone, new = wide.copy(), wide.copy()
        gone[:n, m] = plan.sum(1) == 0
        new[n, :m] = plan.sum(0) == 0
        a, b = np.append(a, 0.0), np.append(b, 0.0)
        with np.errstate(divide="ignore"):
            by_row, by_column = rows_to(np.log(gone), a), rows_to(np.log(new.T), b).T
            found = unbalanced_pairs(by_row, by_column, a, b, self.draws * (n + m), rng)
        source = np.where(found.source < n, found.source, cost.argmin(0)[found.target % m])
        target = np.where(found.target < m, found.target, cost.argmin(1)[found.source % n])
        return found._replace(source=source, target=target)

    def value(
        self,
        x: np.ndarray,
        y: np.ndarray,
        a: np.ndarray | None = None,
        b: np.ndarray | None = None,
        masses: tuple[float, float] = (1.0, 1.0),
    ) -> float:
        """HK² between two weighted samples, from above and within 0.3 %, to rounding where samples are single points.

        Solved as a whole: memory and time grow with ``n m`` (1024 x 1024: one CPU-second).

        Parameters
        ----------
        x, y : arrays ``(n, d)``, ``(m, d)``
        a, b : arrays ``(n,)``, ``(m,)``, optional
            Weights, each summing to one; uniform if absent.
        masses : pair of floats
            Total masses.
        """
        self.check()
        a, b = (np.full(len(s), 1 / len(s)) if w is None else w for s, w in ((x, a), (y, b)))
        x, a, y, b = x[a > 0], a[a > 0], y[b > 0], b[b > 0]
        cost = cone_cost(squared_distances(x, y), self.growth_penalty)
        plan = self._dense(cost, a, b, 10 * self.polish, 0.2 * self.regularization)
        unit = _primal(cost, plan, a, b)
        # Scaling either sample scales the plan, and the minimum is m₀ + m₁ − 2 |π|.
        return float(masses[0] + masses[1] - np.sqrt(masses[0] * masses[1]) * (2 - unit))

    def _dense(
        self, cost: np.ndarray, a: np.ndarray, b: np.ndarray, polish: int, regularization: float
    ) -> np.ndarray:
        """Plan ``(n, m)``: zero in the rows and columns of samples that nothing can reach."""
        plan = np.zeros(cost.shape)
        rows, columns = (np.flatnonzero(np.isfinite(cost).any(k)) for k in (1, 0))
        if len(rows) == 0:
            return plan
        inside = np.ix_(rows, columns)
        c, u, v = cost[inside], a[rows], b[columns]
        if self.sigma:
            eps = 0.5 * self.sigma**2 * self.growth_penalty * (self.duration or 1.0)
            plan[inside] = np.exp(entropic_plan(c, u, v, eps, 1.0))
        else:
            unit = float(u @ np.minimum(c, 1.0) @ v) / (u.sum() * v.sum())
            # An error of the margins costs half its square: it must stay small beside the transport.
            tolerance = min(1e-2, 0.03 * np.sqrt(unit))
            log_start = entropic_plan(
                c,
                u,
                v,
                regularization * (unit or 1.0),
                1.0,
                tolerance=tolerance or 1e-2,
                strict=False,
            )
            start = np.exp(log_start)
            plan[inside] = _polished(start, c, u, v, polish)
        return plan


def cone_cost(squared: np.ndarray, growth_penalty: float) -> np.ndarray:
    """Cost ``−2 log cos θ`` of pairs at given squared distances; infinite from ``θ = π/2`` on."""
    theta = 0.5 * np.sqrt(growth_penalty * squared)
    near = theta < 0.5 * np.pi
    return np.where(near, -2 * np.log(np.cos(np.where(near, theta, 0.0))), np.inf)


def _polished(
    plan: np.ndarray, cost: np.ndarray, a: np.ndarray, b: np.ndarray, steps: int
) -> np.ndarray:
    """Descend without entropy: majorisation-minimisation (Chapel et al. 2021, arXiv 2106.04145), never upwards."""
    kernel = np.exp(-0.5 * cost)
    tiny = np.finfo(float).tiny
    for _ in range(steps):
        rows = np.sqrt(a / np.maximum(plan.sum(1), tiny))
        columns = np.sqrt(b / np.maximum(plan.sum(0), tiny))
        plan = plan * kernel * rows[:, None] * columns
    return plan


def _primal(cost: np.ndarray, plan: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    def kl(p: np.ndarray, q: np.ndarray) -> float:
        return float(np.sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0.0) - p + q))

    moved = float(np.sum(plan * np.where(np.isfinite(cost), cost, 0.0)))
    return moved + kl(plan.sum(1), a) + kl(plan.sum(0), b)
