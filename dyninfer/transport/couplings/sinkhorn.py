"""Sinkhorn's iteration for balanced and unbalanced entropic transport, in potentials."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.learning.warn import warn
from dyninfer.transport.couplings.problem import TransportProblem

# Of the mean cost: below it the rounding of potentials alone is a hundredth of ε. Not larger, as a
# few outliers may raise the mean by many orders.
LEAST_EPSILON = 1e-14


class LogSums:
    r"""Log-sums of the rows of a plan for potentials ``p`` that change.

    .. math:: L_i(p) = \log \sum_j w_j\, e^{(p_j - c_{ij})/\varepsilon}

    The kernel is kept with rows normalised at some ``p`` and is built anew only once ``p`` has
    moved from there by 20 ε: until then a sum is one product with a vector, 20 times faster than
    exponentials, and nothing underflows however far a sample lies.
    """

    reach = 20.0

    def __init__(self, cost: Tensor, log_weight: Tensor):
        self.cost = cost
        self.log_weight = log_weight
        # No ε is zero: the first call builds the kernel.
        self.eps = 0.0
        self.built_at = log_weight

    def __call__(self, p: Tensor, eps: float) -> Tensor:
        """Log-sums ``(n,)`` at potentials ``(m,)``."""
        offset = p - self.built_at
        distance = float(offset.abs().max())
        # Farther, exp(offset / ε) would lose the small entries of the kernel beside the large.
        if eps != self.eps or distance > self.reach * eps:
            self._build(p, eps)
            return self.base
        growth = (offset / eps).exp()
        sums = self.kernel @ growth
        return self.base + sums.log()

    def _build(self, p: Tensor, eps: float) -> None:
        column = p / eps + self.log_weight
        z = column - self.cost / eps
        # The largest entry of a row is made one, so that its exponentials neither vanish nor
        # overflow.
        top = z.amax(1, keepdim=True)
        kernel = z.sub_(top).exp_()
        total = kernel.sum(1, keepdim=True)
        self.kernel = kernel.div_(total)
        log_sums = top + total.log()
        self.base = log_sums[:, 0]
        self.built_at = p
        self.eps = eps


@dataclass(frozen=True)
class SinkhornSolution:
    """Potentials of an entropic plan, and how far the iteration came.

    Attributes
    ----------
    problem : TransportProblem
    f, g : tensors ``(n,)``, ``(m,)``
        Potentials.
    epsilon, mass_penalty : float
        ε and ρ, in the unit of the cost.
    steps : int
        Steps at the last ε.
    change : float
        Largest change of a potential in the last step, in ε: about the relative error of margins.
    converged : bool
    """

    problem: TransportProblem
    f: Tensor
    g: Tensor
    epsilon: float
    mass_penalty: float
    steps: int
    change: float
    converged: bool

    @property
    def log_plan(self) -> ndarray:
        """Log of the plan ``(n, m)``."""
        cost, a, b = _tensors(self.problem)
        eps = self.epsilon
        scaled_f = self.f / eps
        rows = scaled_f + a.log()
        scaled_g = self.g / eps
        columns = scaled_g + b.log()
        potentials = rows[:, None] + columns
        log_plan = potentials - cost / eps
        return log_plan.numpy()

    @property
    def dual_gap(self) -> float:
        """Value of the plan less that of the potentials: zero at the optimum, but for rounding.

        With conserved mass the plan's margins are only nearly right, and so is the gap.
        """
        cost, a, b = self.problem
        f = self.f.numpy()
        g = self.g.numpy()
        rho = self.mass_penalty
        plan = np.exp(self.log_plan)
        rows = plan.sum(1)
        columns = plan.sum(0)
        # ⟨c, π⟩ + ε KL(π | a ⊗ b) less its conjugate is ⟨f, π1⟩ + ⟨g, πᵀ1⟩ at this plan.
        of_rows = rows @ f
        of_columns = columns @ g
        value = float(of_rows + of_columns)
        if np.isinf(rho):
            row_value = a @ f
            column_value = b @ g
            dual_value = float(row_value + column_value)
            return value - dual_value
        row_gap = _conjugate_gap(rows, a, f / rho)
        column_gap = _conjugate_gap(columns, b, g / rho)
        return value + rho * (row_gap + column_gap)

    def warn_unless_converged(self) -> None:
        """Say that the margins are not those of the samples, where they are not."""
        if not self.converged:
            warn(
                f"Sinkhorn's iteration stopped after {self.steps} steps with margins "
                f"{self.change:.2g} (relative) from converged; raise the regularization",
                UserWarning,
            )


def sinkhorn(
    problem: TransportProblem,
    epsilon: float,
    mass_penalty: float = np.inf,
    *,
    tolerance: float = 1e-2,
    max_steps: int = 3000,
) -> SinkhornSolution:
    r"""Solve entropic optimal transport.

    .. math:: \min_\pi \langle c, \pi\rangle + \varepsilon\, \mathrm{KL}(\pi | a \otimes b)
        + \rho\, \mathrm{KL}(\pi 1 | a) + \rho\, \mathrm{KL}(\pi^\top 1 | b)

    Sinkhorn's iteration, ε falling to its value by halves; where mass may change, the optimal shift
    of the two potentials after every step makes the number of steps independent of ρ (Séjourné,
    Vialard, Peyré 2022, arXiv 2201.00730). At 1024 x 1024 and ε of a hundredth of the mean cost:
    0.15 CPU-seconds.

    Parameters
    ----------
    problem : TransportProblem
        The cost may hold infinities, but none that fill a row or a column.
    epsilon : float
        ε, in the unit of the cost.
    mass_penalty : float
        ρ in the same unit; infinite, the default, conserves mass.
    tolerance : float
        Change of a potential, in ε, below which the iteration has converged.
    max_steps : int
        Most steps at the last ε.

    Raises
    ------
    ValueError
        If ε is below 1e-14 of the mean cost, which double precision does not resolve.
    """
    c, a, b = _tensors(problem)
    log_a = a.log()
    log_b = b.log()
    iteration = _Iteration(c, log_a, log_b, mass_penalty)
    # From the mean cost down: a small ε alone needs as many steps as costs are larger than it.
    finite_costs = c[c.isfinite()]
    mean_cost = float(finite_costs.mean())
    if epsilon < LEAST_EPSILON * mean_cost:
        share = epsilon / mean_cost
        raise ValueError(
            f"entropy is priced at {share:.2g} of the mean cost, less than Sinkhorn's iteration "
            f"resolves ({LEAST_EPSILON:g}); raise the regularization (or sigma), or use a coupling "
            "without entropy, such as OTCoupling"
        )
    eps = max(mean_cost, epsilon)
    while eps > epsilon:
        # On the way, a rough solution is start enough for the next ε.
        iteration.run(eps, 0.1, 300)
        eps = max(eps / 2, epsilon)
    steps, change = iteration.run(epsilon, tolerance, max_steps)
    return SinkhornSolution(
        problem=problem,
        f=iteration.f,
        g=iteration.g,
        epsilon=epsilon,
        mass_penalty=mass_penalty,
        steps=steps,
        change=change,
        converged=change < tolerance,
    )


class _Iteration:
    """The two potentials, improved in turn."""

    def __init__(self, cost: Tensor, log_a: Tensor, log_b: Tensor, mass_penalty: float):
        self.log_a = log_a
        self.log_b = log_b
        self.mass_penalty = mass_penalty
        self.rows = LogSums(cost, log_b)
        transposed = cost.T.contiguous()
        self.columns = LogSums(transposed, log_a)
        self.f = torch.zeros_like(log_a)
        self.g = torch.zeros_like(log_b)

    def run(self, eps: float, tolerance: float, max_steps: int) -> tuple[int, float]:
        """Iterate at one ε; returns the steps made and the last change, in ε."""
        change = np.inf
        for step in range(1, max_steps + 1):
            change = self._step(eps)
            if change < tolerance:
                return step, change
        return max_steps, change

    def _step(self, eps: float) -> float:
        before = self.f
        damping = 1 + eps / self.mass_penalty
        factor = -eps / damping
        best_f = self.rows(self.g, eps)
        self.f = factor * best_f
        best_g = self.columns(self.f, eps)
        self.g = factor * best_g
        if np.isfinite(self.mass_penalty):
            shift = self._shift()
            self.f = self.f + shift
            self.g = self.g - shift
        difference = self.f - before
        change = float(difference.abs().max())
        return change / eps

    def _shift(self) -> Tensor:
        """Best constant to move from one potential to the other: it settles the total mass."""
        rho = self.mass_penalty
        log_a = self.log_a - self.f / rho
        log_b = self.log_b - self.g / rho
        left = torch.logsumexp(log_a, 0)
        right = torch.logsumexp(log_b, 0)
        return 0.5 * rho * (left - right)


def _tensors(problem: TransportProblem) -> tuple[Tensor, Tensor, Tensor]:
    """Cost and weights in double precision."""
    cost = torch.as_tensor(problem.cost, dtype=torch.float64)
    a = torch.as_tensor(problem.a, dtype=torch.float64)
    b = torch.as_tensor(problem.b, dtype=torch.float64)
    return cost, a, b


def _conjugate_gap(margin: ndarray, weights: ndarray, potential: ndarray) -> float:
    """Divergence of a margin from the weights, plus its convex conjugate at a potential."""
    log_ratio = np.log(margin / weights)
    entropy = margin * log_ratio
    densities = entropy - margin + weights
    divergence = densities.sum()
    conjugate = weights @ np.expm1(-potential)
    return float(divergence + conjugate)


def rows_to(log_plan: ndarray, weights: ndarray) -> ndarray:
    """Scale the rows of a log-plan to ``weights``; a row of no mass stays so."""
    plan = torch.as_tensor(log_plan)
    total = torch.logsumexp(plan, 1).nan_to_num(neginf=0.0)
    normalised = plan - total[:, None]
    log_weights = np.log(weights)
    return normalised.numpy() + log_weights[:, None]
