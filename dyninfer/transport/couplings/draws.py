"""Drawing pairs from dense plans, and setting their masses right afterwards."""

from __future__ import annotations

import numpy as np

from dyninfer.transport.couplings.plan import NOTHING, Plan

TINY = np.finfo(float).tiny  # keeps a division by no mass finite


def spread(
    weights: np.ndarray, n: int, rng: np.random.Generator, *, even: bool = True
) -> np.ndarray:
    """``n`` indices drawn by weight, one from each n-th of the whole, in random order.

    Evenly spaced draws give every index within one of its expected count; where the weights have a
    period (rows of a plan), each draw must fall at random within its part.
    """
    # One offset for all, or one for each.
    offset = rng.random(1 if even else n)
    level = (np.arange(n) + offset) / n
    cumulative = np.cumsum(weights)
    index = np.searchsorted(cumulative, level * cumulative[-1], side="right")
    return rng.permutation(index.clip(0, len(weights) - 1))


def pairs_of(
    log_plan: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs from a plan, every row within two of its expected count."""
    flat = spread(np.exp(log_plan).ravel(), n, rng, even=False)
    rows, columns = np.unravel_index(flat, log_plan.shape)
    return rows, columns


def pairs_from_both_ends(
    by_row: np.ndarray, by_column: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """``2n`` pairs: half by the rows' partners, half by the columns'.

    No sample of either side is missed.
    """
    rows, columns = pairs_of(by_row, n, rng)
    more_columns, more_rows = pairs_of(by_column.T, n, rng)
    rows = np.concatenate([rows, more_rows])
    columns = np.concatenate([columns, more_columns])
    return rows, columns


def unbalanced_pairs(
    by_row: np.ndarray,
    by_column: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    n: int,
    rng: np.random.Generator,
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
    mass = np.full(len(rows), 1 / len(rows))
    # Log-weight gained along the pair; it was drawn by the mean of the weights at its two ends.
    gain = by_column[rows, columns] - by_row[rows, columns]
    log_two = np.log(2)
    log_source = log_two - np.logaddexp(0, gain)
    log_target = log_two - np.logaddexp(0, -gain)
    log_source = _corrected(log_source, rows, mass, a)
    log_target = _corrected(log_target, columns, mass, b)
    return Plan(rows, columns, mass, log_source, log_target)


def fit_margins(
    rows: np.ndarray,
    columns: np.ndarray,
    mass: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    max_iterations: int = 100,
) -> tuple[np.ndarray, float]:
    """Scale the masses of listed pairs by rows and by columns until they reproduce ``a`` and ``b``.

    Returns
    -------
    array ``(pairs,)``, float
        Masses summing to one, and the mass of ``a`` that is still misplaced: the pairs may be too
        few to carry it.
    """
    row_share = _share_in_pairs(a, rows)
    column_share = _share_in_pairs(b, columns)
    row_mass = np.bincount(rows, mass, len(a))
    for _ in range(max_iterations):
        row_factor = row_share / np.maximum(row_mass, TINY)
        mass = mass * row_factor[rows]
        column_mass = np.bincount(columns, mass, len(b))
        column_factor = column_share / np.maximum(column_mass, TINY)
        mass = mass * column_factor[columns]
        row_mass = np.bincount(rows, mass, len(a))
        error = np.abs(row_mass - row_share).max()
        if error < 1e-11 * row_share.max():
            break
    margin = row_mass / row_mass.sum()
    misplaced = 0.5 * np.abs(margin - a).sum()
    return mass / mass.sum(), float(misplaced)


def _share_in_pairs(weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Weights of the samples that are in a pair; the others leave their share to these."""
    n_pairs = np.bincount(rows, minlength=len(weights))
    share = np.where(n_pairs > 0, weights, 0.0)
    return share / share.sum()


def _corrected(
    log_weight: np.ndarray, rows: np.ndarray, mass: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Correct log-weights for the luck of the draw: the weighted pairs reproduce ``weights``."""
    carried = mass * np.exp(log_weight)
    row_mass = np.bincount(rows, carried, len(weights))
    row_mass = np.maximum(row_mass, TINY)
    log_mass = np.log(row_mass)
    log_factor = np.log(weights) - log_mass
    corrected = log_weight + log_factor[rows]
    corrected = np.where(log_weight <= NOTHING, NOTHING, corrected)
    # A sample too light to be drawn leaves its share to the rest.
    total = np.sum(mass * np.exp(corrected))
    return np.maximum(corrected - np.log(total), NOTHING)
