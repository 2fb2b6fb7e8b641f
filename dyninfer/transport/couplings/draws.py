"""Drawing pairs from dense plans, and setting their masses right afterwards."""

from __future__ import annotations

import numpy as np
from numpy import ndarray
from numpy.random import Generator

from dyninfer.transport.couplings.plan import NOTHING, Plan

TINY = np.finfo(float).tiny  # keeps a division by no mass finite


def spread(weights: ndarray, n: int, rng: Generator, *, even: bool = True) -> ndarray:
    """``n`` indices drawn by weight, one from each n-th of the whole, in random order.

    Evenly spaced draws give every index within one of its expected count; where the weights have a
    period (rows of a plan), each draw must fall at random within its part.
    """
    # One offset for all, or one for each.
    n_offsets = 1 if even else n
    offset = rng.random(n_offsets)
    number = np.arange(n) + offset
    level = number / n
    cumulative = np.cumsum(weights)
    total = cumulative[-1]
    targets = level * total
    index = np.searchsorted(cumulative, targets, side="right")
    # Rounding may lift the last level to the total itself.
    last = len(weights) - 1
    index = index.clip(0, last)
    return rng.permutation(index)


def pairs_of(log_plan: ndarray, n: int, rng: Generator) -> tuple[ndarray, ndarray]:
    """Draw pairs from a plan, every row within two of its expected count."""
    plan = np.exp(log_plan)
    masses = plan.ravel()
    flat = spread(masses, n, rng, even=False)
    rows, columns = np.unravel_index(flat, plan.shape)
    return rows, columns


def pairs_from_both_ends(
    by_row: ndarray, by_column: ndarray, n: int, rng: Generator
) -> tuple[ndarray, ndarray]:
    """``2n`` pairs: half by the rows' partners, half by the columns'.

    No sample of either side is missed.
    """
    rows, columns = pairs_of(by_row, n, rng)
    more_columns, more_rows = pairs_of(by_column.T, n, rng)
    rows = np.concatenate([rows, more_rows])
    columns = np.concatenate([columns, more_columns])
    return rows, columns


def unbalanced_pairs(
    by_row: ndarray,
    by_column: ndarray,
    a: ndarray,
    b: ndarray,
    n: int,
    rng: Generator,
) -> Plan:
    """Draw pairs from a plan that changes mass.

    Half of the pairs are drawn from either end, and weighted by what they carry there: no weight is
    above two but for the luck of the draw.

    Parameters
    ----------
    by_row, by_column : arrays ``(n, m)``
        Logs of the plan with its rows normalised to ``a``, and with its columns to ``b``.
    a, b : arrays ``(n,)``, ``(m,)``
    n : int
        Pairs drawn from either end.
    rng : numpy.random.Generator
    """
    rows, columns = pairs_from_both_ends(by_row, by_column, n, rng)
    n_pairs = len(rows)
    mass = np.full(n_pairs, 1 / n_pairs)
    # Log-weight gained along the pair; it was drawn by the mean of the weights at its two ends.
    log_start = by_row[rows, columns]
    log_end = by_column[rows, columns]
    gain = log_end - log_start
    log_two = np.log(2)
    log_source = log_two - np.logaddexp(0, gain)
    excess = np.logaddexp(0, -gain)
    log_target = log_two - excess
    log_source = _corrected(log_source, rows, mass, a)
    log_target = _corrected(log_target, columns, mass, b)
    return Plan(rows, columns, mass, log_source, log_target)


def fit_margins(
    rows: ndarray,
    columns: ndarray,
    mass: ndarray,
    a: ndarray,
    b: ndarray,
    max_iterations: int = 100,
) -> tuple[ndarray, float]:
    """Scale the masses of listed pairs by rows and by columns until they reproduce ``a`` and ``b``.

    Returns
    -------
    array ``(pairs,)``, float
        Masses summing to one, and the mass of ``a`` that is still misplaced: the pairs may be too
        few to carry it.
    """
    row_share = _share_in_pairs(a, rows)
    column_share = _share_in_pairs(b, columns)
    n = len(a)
    m = len(b)
    # Relative to the largest share: the unit of the weights must not matter.
    tolerance = 1e-11 * row_share.max()
    row_mass = np.bincount(rows, mass, n)
    for _ in range(max_iterations):
        row_factor = row_share / np.maximum(row_mass, TINY)
        mass = mass * row_factor[rows]
        column_mass = np.bincount(columns, mass, m)
        column_factor = column_share / np.maximum(column_mass, TINY)
        mass = mass * column_factor[columns]
        row_mass = np.bincount(rows, mass, n)
        error = np.abs(row_mass - row_share)
        if error.max() < tolerance:
            break
    margin = row_mass / row_mass.sum()
    difference = np.abs(margin - a)
    # What one sample lacks another has too much of.
    misplaced = 0.5 * difference.sum()
    mass = mass / mass.sum()
    return mass, float(misplaced)


def _share_in_pairs(weights: ndarray, rows: ndarray) -> ndarray:
    """Weights of the samples that are in a pair; the others leave their share to these."""
    n_pairs = np.bincount(rows, minlength=len(weights))
    share = np.where(n_pairs > 0, weights, 0.0)
    return share / share.sum()


def _corrected(log_weight: ndarray, rows: ndarray, mass: ndarray, weights: ndarray) -> ndarray:
    """Correct log-weights for the luck of the draw: the weighted pairs reproduce ``weights``."""
    carried = mass * np.exp(log_weight)
    n = len(weights)
    row_mass = np.bincount(rows, carried, n)
    row_mass = np.maximum(row_mass, TINY)
    log_mass = np.log(row_mass)
    log_factor = np.log(weights) - log_mass
    corrected = log_weight + log_factor[rows]
    is_nothing = log_weight <= NOTHING
    corrected = np.where(is_nothing, NOTHING, corrected)
    # A sample too light to be drawn leaves its share to the rest.
    masses = mass * np.exp(corrected)
    total = np.sum(masses)
    corrected = corrected - np.log(total)
    return np.maximum(corrected, NOTHING)
