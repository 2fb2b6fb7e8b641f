"""Drawing pairs from dense plans, and setting their masses right afterwards."""

from __future__ import annotations

import numpy as np

from dyninfer.transport.couplings.plan import NOTHING, Plan


def spread(
    weights: np.ndarray, n: int, rng: np.random.Generator, *, even: bool = True
) -> np.ndarray:
    """``n`` indices drawn by weight, one from each n-th of the whole, in random order.

    Evenly spaced draws give every index within one of its expected count; where the weights have a period (rows of a plan),
    each draw must fall at random within its part.
    """
    level = (np.arange(n) + (rng.random() if even else rng.random(n))) / n
    cumulative = np.cumsum(weights)
    index = np.searchsorted(cumulative, level * cumulative[-1], side="right").clip(
        0, len(weights) - 1
    )
    return rng.permutation(index)


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
    """``2n`` pairs: half by the rows' partners, half by the columns', so that no sample of either side is missed."""
    ends = zip(pairs_of(by_row, n, rng), pairs_of(by_column.T, n, rng)[::-1], strict=True)
    rows, columns = (np.concatenate(parts) for parts in ends)
    return rows, columns


def unbalanced_pairs(
    by_row: np.ndarray,
    by_column: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> Plan:
    """Pairs drawn from a plan that changes mass, given as logs with its rows normalised to ``a`` and its columns to ``b``.

    Half of the pairs are drawn from either end, and weighted by what they carry there: no weight is above two but for the luck
    of the draw.
    """
    rows, columns = pairs_from_both_ends(by_row, by_column, n, rng)
    mass = np.full(len(rows), 1 / len(rows))
    born = by_column[rows, columns] - by_row[rows, columns]  # log-weight gained on the way
    log_source, log_target = np.log(2) - np.logaddexp(0, born), np.log(2) - np.logaddexp(0, -born)
    return Plan(
        rows,
        columns,
        mass,
        _fitted(log_source, rows, mass, a),
        _fitted(log_target, columns, mass, b),
    )


def fit_margins(
    rows: np.ndarray,
    columns: np.ndarray,
    mass: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    most: int = 100,
) -> tuple[np.ndarray, float]:
    """Scale the masses of listed pairs by rows and by columns until they reproduce ``a`` and ``b``.

    Returns
    -------
    array ``(pairs,)``, float
        Masses summing to one, and the mass of ``a`` that is still misplaced: the pairs may be too few to carry it.
    """
    tiny = np.finfo(float).tiny
    inside = [np.bincount(index, minlength=len(w)) > 0 for index, w in ((rows, a), (columns, b))]
    wanted_a, wanted_b = (
        w * there / (w * there).sum() for w, there in zip((a, b), inside, strict=True)
    )
    found = np.bincount(rows, mass, len(a))
    for _ in range(most):
        mass = mass * (wanted_a / np.maximum(found, tiny))[rows]
        mass = mass * (wanted_b / np.maximum(np.bincount(columns, mass, len(b)), tiny))[columns]
        found = np.bincount(rows, mass, len(a))
        if np.abs(found - wanted_a).max() < 1e-11 * wanted_a.max():
            break
    return mass / mass.sum(), 0.5 * float(np.abs(found / found.sum() - a).sum())


def _fitted(
    log_weight: np.ndarray, rows: np.ndarray, mass: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Log-weights corrected for the luck of the draw, so that the weighted pairs reproduce ``wanted`` exactly."""
    drawn = np.bincount(rows, weights=mass * np.exp(log_weight), minlength=len(wanted))
    fitted = (
        log_weight + np.log(wanted[rows]) - np.log(np.maximum(drawn[rows], np.finfo(float).tiny))
    )
    fitted = np.where(log_weight <= NOTHING, NOTHING, fitted)
    # A sample too light to be drawn leaves its share to the rest.
    return np.maximum(fitted - np.log(np.sum(mass * np.exp(fitted))), NOTHING)
