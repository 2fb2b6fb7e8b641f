"""Couplings: who at one time is paired with whom at the next."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dyninfer.settings import Settings

# (cost, a, b) -> rows, columns, mass, and whatever else belongs to the pairs
Solve = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, ...]]


class Plan(NamedTuple):
    """Pairs of a coupling between two samples, as lists.

    The pairs, drawn by ``mass`` and weighted by ``exp(log_source)``, reproduce the first sample; weighted by
    ``exp(log_target)`` they reproduce the second. Both are zero where the coupling conserves mass.
    """

    source: np.ndarray  # (pairs,) row of the first sample
    target: np.ndarray  # (pairs,) row of the second sample
    mass: np.ndarray  # (pairs,) summing to one
    log_source: np.ndarray  # (pairs,)
    log_target: np.ndarray  # (pairs,)


@dataclass(kw_only=True, repr=False, eq=False)
class Coupling(Settings):
    """Base of couplings."""

    @abstractmethod
    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """Pair two weighted samples.

        Parameters
        ----------
        x, y : arrays ``(n, d)``, ``(m, d)``
        a, b : arrays ``(n,)``, ``(m,)``
            Weights, each summing to one.
        seed : int
        """


@dataclass(kw_only=True, repr=False, eq=False)
class IndependentCoupling(Coupling):
    """Pairs drawn independently of each other: ``pairs_per_sample`` random partners for every sample."""

    pairs_per_sample: int = 16

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rng = np.random.default_rng(seed)
        repeats = self.pairs_per_sample
        n = max(len(x), len(y))
        source, target = (np.concatenate([_spread(w, n, rng) for _ in range(repeats)]) for w in (a, b))
        return _balanced(source, target, np.ones(len(source)))


@dataclass(kw_only=True, repr=False, eq=False)
class OTCoupling(Coupling):
    """Exact optimal transport with squared Euclidean cost, within blocks of at most ``batch_size`` samples a side.

    Blocks are random parts of both samples. One block gives the optimal plan itself; several give its minibatch
    approximation, which is solved once, before training, and not at every step.
    """

    batch_size: int = 2048

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        import ot

        def exact(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
            plan = ot.emd(a, b, cost, numItermax=10_000_000)
            i, j = np.nonzero(plan)
            return i, j, plan[i, j]

        return _balanced(*_blockwise(exact, x, y, a, b, self.batch_size, seed))


@dataclass(kw_only=True, repr=False, eq=False)
class UnbalancedOTCoupling(Coupling):
    """Unbalanced entropic transport: far mass is not carried but destroyed and created.

    The pairs are drawn half by the source's partners and half by the target's, so that cells which vanish and cells which
    appear are among them; their weights are below two and reproduce both samples.

    Parameters
    ----------
    mass_penalty : float
        Price of a change of mass (Kullback-Leibler), in units of the mean squared distance between the samples; large
        values approach mass conservation.
    regularization : float
        Entropic regularisation in the same unit.
    batch_size : int
        Samples a side in a block, as in :class:`OTCoupling`.
    """

    mass_penalty: float = 1.0
    regularization: float = 0.01
    batch_size: int = 1024

    draws = 16  # pairs drawn per sample, from either end

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        rng = np.random.default_rng(seed)

        def unbalanced(cost: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
            unit = float(a @ cost @ b) or 1.0
            log_a, log_b = _unbalanced_partners(cost / unit, a, b, self.regularization, self.mass_penalty)
            n = self.draws * (len(a) + len(b))
            ends = zip(_pairs(log_a, n, rng), _pairs(log_b.T, n, rng)[::-1], strict=True)
            rows, columns = (np.concatenate(parts) for parts in ends)
            born = log_b[rows, columns] - log_a[rows, columns]  # log-weight gained on the way
            mass = np.full(len(rows), 1 / len(rows))
            log_source, log_target = np.log(2) - np.logaddexp(0, born), np.log(2) - np.logaddexp(0, -born)
            return (
                rows,
                columns,
                mass,
                _fitted(log_source, rows, mass, a),
                _fitted(log_target, columns, mass, b),
            )

        source, target, mass, log_source, log_target = _blockwise(
            unbalanced, x, y, a, b, self.batch_size, seed
        )
        return Plan(source, target, mass / mass.sum(), log_source, log_target)


COUPLINGS: dict[str, type[Coupling]] = {
    "independent": IndependentCoupling,
    "ot": OTCoupling,
    "unbalanced": UnbalancedOTCoupling,
}


def as_coupling(coupling: str | Coupling) -> Coupling:
    """Turn a name or a coupling into a coupling; a ValueError lists the names."""
    if isinstance(coupling, Coupling):
        return coupling
    if coupling not in COUPLINGS:
        raise ValueError(
            f"coupling {coupling!r} is not known; choose one of {', '.join(COUPLINGS)}, or give a Coupling"
        )
    return COUPLINGS[coupling]()


def sample_chains(plans: list[Plan], sizes: list[int], n: int, seed: int) -> np.ndarray:
    """Chains of rows ``(n, K)`` through ``K`` samples, each step drawn from the plan's row of the one before."""
    rng = np.random.default_rng(seed)
    rows = plans[0].source[_spread(plans[0].mass, n, rng)]
    chain = [rows]
    for plan, size in zip(plans, sizes, strict=False):
        order = np.argsort(plan.source, kind="stable")
        source, mass = plan.source[order], plan.mass[order]
        total = np.bincount(source, weights=mass, minlength=size)
        before = np.concatenate([[0.0], np.cumsum(total)])
        level = before[rows] + rng.random(n) * total[rows]
        pick = np.searchsorted(np.cumsum(mass), level, side="right").clip(0, len(mass) - 1)
        rows = plan.target[order][pick]
        chain.append(rows)
    return np.stack(chain, 1)


def _balanced(source: np.ndarray, target: np.ndarray, mass: np.ndarray) -> Plan:
    zero = np.zeros(len(source))
    return Plan(source, target, mass / mass.sum(), zero, zero)


def _blockwise(
    solve: Solve, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, size: int, seed: int
) -> tuple[np.ndarray, ...]:
    """Solve block by block over random parts of both samples; rows are returned in the numbering of the whole."""
    rng = np.random.default_rng(seed)
    blocks = max(1, -(-max(len(x), len(y)) // size))
    found = []
    for (rows, part_a), (columns, part_b) in zip(
        _equal_parts(a, blocks, rng), _equal_parts(b, blocks, rng), strict=True
    ):
        cost = _squared_distances(x[rows], y[columns])
        i, j, mass, *more = solve(cost, part_a, part_b) if np.isfinite(cost).all() else (np.zeros(0),) * 3
        if len(i) == 0 or not np.isfinite(mass).all():
            raise ValueError(
                "optimal transport failed on these samples; check them for extreme values or rescale them"
            )
        found.append((rows[i], columns[j], mass, *more))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _equal_parts(
    weights: np.ndarray, parts: int, rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut a sample into random parts of equal mass: rows and their weights, summing to one.

    A sample on the border of two parts is in both, so that the parts together have the weights of the whole to the last digit.
    """
    order = rng.permutation(np.flatnonzero(weights > 0))
    share = weights[order] * (parts / weights.sum())
    end = np.cumsum(share)
    end[-1] = parts
    begin = np.concatenate([[0.0], end[:-1]])
    found = []
    for k in range(parts):
        cut = np.minimum(end, k + 1) - np.maximum(begin, k)
        inside = np.where((begin >= k) & (end <= k + 1), share, cut)
        rows = np.flatnonzero(inside > 1e-12)
        found.append((order[rows], inside[rows] / inside[rows].sum()))
    return found


def _unbalanced_partners(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, regularization: float, mass_penalty: float
) -> tuple[np.ndarray, np.ndarray]:
    """Log of the unbalanced plan with its rows normalised to ``a``, and with its columns normalised to ``b``.

    Sinkhorn's iteration with log-sums (scaling kernels underflow as soon as a sample lies far away), the regularisation
    falling to its value by halves, and the optimal shift of the two potentials after every step (Séjourné, Vialard, Peyré 2022,
    arXiv 2201.00730).
    """
    import torch

    # float32 resolves the exponents to better than the tolerance, twice as fast.
    c, log_a, log_b = (torch.as_tensor(v, dtype=torch.float32) for v in (cost, np.log(a), np.log(b)))
    f, g = torch.zeros_like(log_a), torch.zeros_like(log_b)
    eps = max(1.0, regularization)
    while True:
        z, damp = c / eps, -eps * mass_penalty / (mass_penalty + eps)
        for _ in range(300):
            before = f
            f = damp * torch.logsumexp((g / eps + log_b) - z, 1)
            g = damp * torch.logsumexp((f / eps + log_a)[:, None] - z, 0)
            mass_a, mass_b = (
                torch.logsumexp(v, 0) for v in (log_a - f / mass_penalty, log_b - g / mass_penalty)
            )
            shift = 0.5 * mass_penalty * (mass_a - mass_b)
            f, g = f + shift, g - shift
            if (f - before).abs().max() < (0.01 if eps == regularization else 0.1) * eps:
                break
        if eps == regularization:
            break
        eps = max(eps / 2, regularization)
    f, g, log_a, log_b, z = (v.double() for v in (f, g, log_a, log_b, z))
    by_row = log_a[:, None] + torch.log_softmax((g / eps + log_b) - z, 1)
    by_column = log_b + torch.log_softmax((f / eps + log_a)[:, None] - z, 0)
    return by_row.numpy(), by_column.numpy()


def _pairs(log_plan: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs from a plan, every row within two of its expected count."""
    flat = _spread(np.exp(log_plan).ravel(), n, rng, even=False)
    rows, columns = np.unravel_index(flat, log_plan.shape)
    return rows, columns


def _fitted(log_weight: np.ndarray, rows: np.ndarray, mass: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Log-weights corrected for the luck of the draw, so that the weighted pairs reproduce ``wanted`` exactly."""
    drawn = np.bincount(rows, weights=mass * np.exp(log_weight), minlength=len(wanted))
    fitted = log_weight + np.log(wanted[rows]) - np.log(np.maximum(drawn[rows], np.finfo(float).tiny))
    return fitted - np.log(
        np.sum(mass * np.exp(fitted))
    )  # a sample too light to be drawn leaves its share to the rest


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(np.float64), y.astype(np.float64)
    cost = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.maximum(cost, 0, out=cost)


def _spread(weights: np.ndarray, n: int, rng: np.random.Generator, *, even: bool = True) -> np.ndarray:
    """``n`` indices drawn by weight, one from each n-th of the whole, in random order.

    Evenly spaced draws give every index within one of its expected count; where the weights have a period (rows of a plan),
    each draw must fall at random within its part.
    """
    level = (np.arange(n) + (rng.random() if even else rng.random(n))) / n
    cumulative = np.cumsum(weights)
    index = np.searchsorted(cumulative, level * cumulative[-1], side="right").clip(0, len(weights) - 1)
    return rng.permutation(index)
