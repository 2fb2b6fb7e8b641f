"""Blocks: parts of two samples, composed as the whole, small enough to be coupled at once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from dyninfer.learning.random import numpy_stream
from dyninfer.learning.warn import warn
from dyninfer.metrics.simplex import best_plan
from dyninfer.transport.couplings.balance import balanced_order
from dyninfer.transport.couplings.problem import TransportProblem, failed, squared_distances

# Numbers of samples up to this take half the memory.
LARGEST_INT32 = np.iinfo(np.int32).max


class Block(NamedTuple):
    """Part of two samples: rows of either, and their weights, summing to one."""

    rows: ndarray
    columns: ndarray
    a: ndarray
    b: ndarray

    def problem(self, x: ndarray, y: ndarray) -> TransportProblem:
        """Transport problem with squared distances; a ValueError where they cannot be squared."""
        sources = x[self.rows]
        targets = y[self.columns]
        cost = squared_distances(sources, targets)
        if not np.isfinite(cost).all():
            raise failed()
        # Where all costs have vanished, any plan would be the best.
        if not cost.any():
            differs = sources != targets[0]
            if differs.any():
                raise failed()
        return TransportProblem(cost, self.a, self.b)


class Cut:
    """Two weighted samples, cut into random blocks of equal mass.

    A block has at most ``size`` samples a side, and a few more on its borders. Where the states are
    given, every block is composed as the whole; see :func:`balanced_order`.

    Parameters
    ----------
    a, b : arrays ``(n,)``, ``(m,)``
        Weights of both samples, each summing to one.
    size : int
    rng : numpy.random.Generator
    states : pair of arrays ``(n, d)``, ``(m, d)``, optional
    """

    def __init__(
        self,
        a: ndarray,
        b: ndarray,
        size: int,
        rng: Generator,
        states: tuple[ndarray, ndarray] | None = None,
    ):
        n_samples = max(len(a), len(b))
        self.n_blocks = n_blocks(n_samples, size)
        x, y = states or (None, None)
        self.left = _Line(a, self.n_blocks, rng, x)
        self.right = _Line(b, self.n_blocks, rng, y)

    def block(self, number: int) -> Block:
        """One of the blocks, counted from 0."""
        return self.between(number, number + 1)

    def blocks(self) -> list[Block]:
        """All of them."""
        return [self.block(number) for number in range(self.n_blocks)]

    def between(self, first: float, last: float) -> Block:
        """Part of the samples between two places, counted in blocks from 0."""
        rows, a = self.left.between(first, last)
        columns, b = self.right.between(first, last)
        return Block(rows, columns, a, b)


def n_blocks(n_samples: int, size: int) -> int:
    """Number of blocks of a size that so many samples are cut into, on the side with more."""
    return max(1, math.ceil(n_samples / size))


def cut(a: ndarray, b: ndarray, size: int, rng: Generator) -> list[Block]:
    """All blocks of a :class:`Cut` that does not look at the states."""
    return Cut(a, b, size, rng).blocks()


def warn_if_small(
    x: ndarray, y: ndarray, a: ndarray, b: ndarray, size: int, seed: int
) -> tuple[float, float, float] | None:
    """Warn where larger blocks would bring partners much closer.

    Compares exact pairs within small parts of the samples and within one that is at least four
    times larger; this costs one block of 1024 samples, or of half the size.

    Returns
    -------
    floats or None
        Mean squared distance in small blocks, in a large one, and of random pairs; None where one
        block holds everything.
    """
    n = max(len(x), len(y))
    if n <= size:
        return None
    half = size // 2
    large = min(n, max(1024, half))
    # Two or three samples have no quarter.
    small = max(1, min(size, large // 4))
    rng = numpy_stream(seed, "block size")
    whole, *_ = cut(a, b, large, rng)
    problem = whole.problem(x, y)
    parts = cut(whole.a, whole.b, small, rng)
    # As many small blocks as together hold a thousand samples: their mean is then known well.
    n_parts = max(1, 1024 // small)
    costs = [_least_cost(problem, part) for part in parts[:n_parts]]
    in_small = float(np.mean(costs))
    in_large = _least_cost(problem)
    random = problem.mean_cost
    # Ordinary data gain 3 to 7 % of this from 256 to 1024 samples, in 2 to 50 dimensions.
    if in_small - in_large > 0.1 * random:
        wide = max(size, large // 2)
        enough = min(n, 4 * wide)
        warn(
            f"batch_size={size} is small for these {n} samples: partners lie at a mean squared "
            f"distance of {in_small:.3g} in blocks of {small}, of {in_large:.3g} in a block of "
            f"{large}, and of {random:.3g} at random; raise batch_size to {enough} or more",
            UserWarning,
        )
    return in_small, in_large, random


def _least_cost(problem: TransportProblem, part: Block | None = None) -> float:
    """Cost of the optimal plan, of the whole problem or of a part of it."""
    cost, a, b = problem
    if part is not None:
        inside = np.ix_(part.rows, part.columns)
        cost = np.ascontiguousarray(cost[inside])
        a = part.a
        b = part.b
    return best_plan(cost, a, b).cost


class _Line:
    """Samples in random order on a line, on which a block has the length one.

    A sample on the border of two stretches is in both, so that the stretches together have the
    weights of the whole to the last digit.
    """

    def __init__(
        self, weights: ndarray, n_blocks: int, rng: Generator, states: ndarray | None = None
    ):
        positive = np.flatnonzero(weights > 0)
        if states is None or n_blocks == 1:
            self.order = rng.permutation(positive)
        else:
            size = len(positive) // n_blocks
            points = states
            # Else a copy of all states would be made for nothing.
            if len(positive) < len(weights):
                points = states[positive]
            places = balanced_order(points, size, rng)
            self.order = positive[places]
        # Little is kept of every sample: there may be ten million.
        if len(weights) < LARGEST_INT32:
            self.order = self.order.astype(np.int32)
        self.weights = weights
        self.block_weight = n_blocks / weights.sum()
        self.end = np.cumsum(weights[self.order] * self.block_weight)
        self.end[-1] = n_blocks

    def between(self, first: float, last: float) -> tuple[ndarray, ndarray]:
        """Rows of a stretch, and their weights, summing to one."""
        # One sample more at either side, whose overlap tells whether it is inside.
        after = np.searchsorted(self.end, first, side="right")
        # A sample begins where the one before ends, and the first at zero.
        before = np.searchsorted(self.end[:-1], last) + 1
        first_near = max(int(after) - 1, 0)
        near = slice(first_near, before + 1)
        end = self.end[near]
        begin_of_first = self.end[first_near - 1] if first_near else 0.0
        begin = np.append(begin_of_first, end[:-1])
        rows = self.order[near].astype(np.int64)
        length = self.weights[rows] * self.block_weight
        first_inside = np.maximum(begin, first)
        last_inside = np.minimum(end, last)
        overlap = last_inside - first_inside
        # A sample that is wholly inside keeps its weight free of rounding.
        is_after = begin >= first
        is_before = end <= last
        is_inside = is_after & is_before
        share = np.where(is_inside, length, overlap)
        # Less is the rounding of the sum, and would be a pair of its own.
        is_part = share > 1e-12
        share = share[is_part]
        return rows[is_part], share / share.sum()
