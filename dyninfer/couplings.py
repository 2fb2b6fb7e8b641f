"""Couplings: who at one time is paired with whom at the next."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dyninfer.settings import Settings

Solve = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


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

        def exact(
            cost: np.ndarray, a: np.ndarray, b: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            plan = ot.emd(a, b, cost, numItermax=10_000_000)
            i, j = np.nonzero(plan)
            return i, j, plan[i, j]

        return _balanced(*_blockwise(exact, x, y, a, b, self.batch_size, seed))


@dataclass(kw_only=True, repr=False, eq=False)
class UnbalancedOTCoupling(Coupling):
    """Unbalanced entropic transport: far mass is not carried but destroyed and created.

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

    def plan(self, x: np.ndarray, y: np.ndarray, a: np.ndarray, b: np.ndarray, seed: int) -> Plan:
        """See :meth:`Coupling.plan`."""
        import ot

        rng = np.random.default_rng(seed)
        tail_a, tail_b = np.zeros(len(x)), np.zeros(len(y))

        def unbalanced(
            cost: np.ndarray, a: np.ndarray, b: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            unit = float(np.average(cost, weights=np.outer(a, b))) or 1.0
            plan = ot.unbalanced.sinkhorn_unbalanced(
                a,
                b,
                cost / unit,
                self.regularization,
                self.mass_penalty,
                method="sinkhorn_stabilized",
                numItermax=2000,
            )
            flat = np.flatnonzero(plan)
            pick = flat[_spread(plan.ravel()[flat], 8 * sum(plan.shape), rng)]
            i, j = np.unravel_index(pick, plan.shape)
            return i, j, np.full(len(i), plan.sum() / len(i))

        source, target, mass = _blockwise(unbalanced, x, y, a, b, self.batch_size, seed)
        mass = mass / mass.sum()
        np.add.at(tail_a, source, mass)
        np.add.at(tail_b, target, mass)
        log_source, log_target = (
            np.log(w[k] / t[k]) for w, t, k in ((a, tail_a, source), (b, tail_b, target))
        )
        # Samples that no pair was drawn for carry no weight: the rest is normalised to the whole.
        log_source -= np.log(np.sum(mass * np.exp(log_source)))
        log_target -= np.log(np.sum(mass * np.exp(log_target)))
        return Plan(source, target, mass, log_source, log_target)


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
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve block by block over random parts of both samples; rows are returned in the numbering of the whole."""
    rng = np.random.default_rng(seed)
    blocks = max(1, -(-max(len(x), len(y)) // size))
    blocks = min(blocks, len(x), len(y))
    found = []
    for rows, columns in zip(
        np.array_split(rng.permutation(len(x)), blocks),
        np.array_split(rng.permutation(len(y)), blocks),
        strict=True,
    ):
        part_a, part_b = a[rows], b[columns]
        if part_a.sum() <= 0 or part_b.sum() <= 0:
            continue
        cost = _squared_distances(x[rows], y[columns])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # POT warns about every block; what matters is checked below
            i, j, mass = solve(cost, part_a / part_a.sum(), part_b / part_b.sum())
        if len(i) == 0 or not np.isfinite(mass).all():
            raise ValueError(
                "optimal transport failed on these samples; check them for extreme values or rescale them"
            )
        found.append((rows[i], columns[j], mass * part_a.sum()))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    x, y = x.astype(np.float64), y.astype(np.float64)
    cost = (x**2).sum(1)[:, None] + (y**2).sum(1)[None] - 2 * x @ y.T
    return np.maximum(cost, 0, out=cost)


def _spread(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """``n`` indices drawn by weight, systematically (every index within one of its expected count), in random order."""
    level = (np.arange(n) + rng.random()) / n
    cumulative = np.cumsum(weights)
    index = np.searchsorted(cumulative, level * cumulative[-1], side="right").clip(0, len(weights) - 1)
    return rng.permutation(index)
