"""An order of samples in which every stretch is composed as the whole."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from dyninfer.learning.slabs import slabs

# Features by which the tree divides: those that vary most, which are few in most data.
MOST_FEATURES = 8
# Samples of a node that say which feature varies most there: of all of them at the root, and of
# few in each of many small nodes, where a wrong answer costs little.
MOST_LOOKED_AT = 4096
LEAST_LOOKED_AT = 32


def balanced_order(points: ndarray, size: int, rng: Generator) -> ndarray:
    """Random order of samples, stretches of which have the composition of all of them.

    A tree halves the samples at the median of the feature that varies most there, down to parts of
    which a stretch of ``size`` samples can have one each. The order goes through all parts again
    and again, a random sample of each at a time, by turns from distant ones: a random stretch holds
    1 to 2 per cent more of one branch than of another, one of these a tenth to a third of that.

    Parameters
    ----------
    points : array ``(n, d)``
    size : int
        Samples in a stretch, about.
    rng : numpy.random.Generator

    Returns
    -------
    array of int ``(n,)``
    """
    n = len(points)
    order = rng.permutation(n)
    # At least 16 samples a part: then few are left over, which no part can place.
    most_parts = max(1, min(size, n // 16))
    depth = most_parts.bit_length() - 1
    n_parts = 2**depth
    n_rounds = n // n_parts
    # The tree wants parts of one size: the few samples left over go anywhere.
    n_placed = n_parts * n_rounds
    placed = order[:n_placed]
    leftover = order[n_placed:]
    parts = _parts(points, placed, depth, rng)
    parts = rng.permuted(parts, axis=1)
    # Another order in every round, or the first part would begin them all.
    shifts = rng.integers(n_parts, size=(n_rounds, 1))
    turns = _distant_first(depth) ^ shifts
    rounds = np.arange(n_rounds)
    sequence = parts[turns, rounds[:, None]].ravel()
    places = rng.integers(n_placed + 1, size=len(leftover))
    return np.insert(sequence, places, leftover)


def _parts(points: ndarray, rows: ndarray, depth: int, rng: Generator) -> ndarray:
    """Rows of ``2**depth`` equal parts of a tree, ``(parts, rows)``, neighbours side by side."""
    # Rows come in random order: the first of them are a sample.
    spread = points[rows[:MOST_LOOKED_AT]].var(0, dtype=np.float64)
    widest = np.argsort(-spread, kind="stable")[:MOST_FEATURES]
    features = np.empty((len(points), len(widest)), points.dtype)
    # Of ten million cells, all features would fill the memory.
    for slab in slabs(len(points)):
        features[slab] = points[slab][:, widest]
    nodes = rows[None]
    for level in range(depth):
        n_looked_at = max(LEAST_LOOKED_AT, MOST_LOOKED_AT >> level)
        values = features[nodes[:, :n_looked_at]]
        variance = values.var(1, dtype=np.float64)
        own_widest = variance.argmax(1)
        along = features[nodes, own_widest[:, None]]
        half = nodes.shape[1] // 2
        # A partition is enough, and takes a third of the time of a sort.
        by_value = np.argpartition(along, half, axis=1)
        halves = np.take_along_axis(nodes, by_value, 1).reshape(-1, 2, half)
        # Halves in random order: a stretch that takes the first of each would take the lower ones.
        turned = rng.random(len(halves)) < 0.5
        halves[turned] = halves[turned, ::-1]
        nodes = halves.reshape(-1, half)
    return nodes


def _distant_first(depth: int) -> ndarray:
    """Numbers below ``2**depth`` by their bits read backwards: successive ones lie far apart."""
    numbers = np.arange(2**depth)
    turned = np.zeros_like(numbers)
    for bit in range(depth):
        digit = numbers >> bit & 1
        turned |= digit << (depth - 1 - bit)
    return turned
