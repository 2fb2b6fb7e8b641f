"""Continuous times, of which hardly two cells share one: binned on request, else refused."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from dyninfer.data.words import quoted
from dyninfer.learning.settings import check_count

# Snapshots with more times than these, and fewer cells at each, were never sampled at one time: the
# longest real series here have 39 times, and below 20 cells a distribution is mostly noise.
MOST_TIMES = 100
FEWEST_CELLS = 20


def binned(times: ndarray, n_bins: int) -> ndarray:
    """Times ``(n,)`` in bins of about equally many cells, each at the mean of its times.

    Parameters
    ----------
    times : array ``(n,)``
        NaN stays.
    n_bins : int
        At least two.

    Raises
    ------
    ValueError
        If there are not more distinct times than bins, or so many cells share a time that a bin
        would be empty.

    Examples
    --------
    >>> binned(np.array([0.0, 1.0, 5.0, 7.0]), 2).tolist()
    [0.5, 0.5, 6.0, 6.0]
    """
    if check_count(n_bins, "n_bins") < 2:
        raise ValueError("n_bins must be at least 2: one time shows no change")
    is_known = np.isfinite(times)
    present = times[is_known]
    distinct = np.unique(present)
    if len(distinct) <= n_bins:
        raise ValueError(
            f"there are {len(distinct)} distinct times, which {n_bins} bins leave as they are; "
            "leave n_bins out"
        )
    shares = np.linspace(0, 1, n_bins + 1)[1:-1]
    edges = np.quantile(present, shares)
    # A time on an edge belongs to the bin that it ends, whichever cell has it.
    number = np.searchsorted(edges, present, side="left")
    size = np.bincount(number, minlength=n_bins)
    if (size == 0).any():
        raise ValueError(
            f"many cells share a time, so that {int((size == 0).sum())} of {n_bins} bins would be "
            f"empty; take fewer than {n_bins}"
        )
    # About the least: means of large numbers would lose the digits of their differences.
    least = present.min()
    excess = present - least
    total = np.bincount(number, weights=excess, minlength=n_bins)
    middle = least + total / size
    result = times.astype(np.float64)
    result[is_known] = middle[number]
    return result


def refuse_continuous(column: ndarray, times: ndarray, key: str | None) -> None:
    """Raise a ValueError where a column of times ``(n,)`` has so many that it looks continuous.

    The distinct ``times`` ``(K,)`` are those of its snapshots.
    """
    n_cells = len(column)
    n_times = len(times)
    if n_times <= MOST_TIMES or n_cells >= FEWEST_CELLS * n_times:
        return
    name = quoted(key)
    raise ValueError(
        f"adata.obs[{name}] holds {n_times} distinct times of {n_cells} cells: is it continuous? "
        "Snapshots need many cells at one time: adata.obs['bin'] = "
        f"dyninfer.read_times(adata.obs[{name}], n_bins=10), and time_key='bin'"
    )
