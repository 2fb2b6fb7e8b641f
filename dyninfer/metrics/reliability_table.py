"""Whether what is said to be likely is: predicted shares beside observed ones, bin by bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy import ndarray

from dyninfer.data.arrays import as_array
from dyninfer.learning.settings import brief, check_count

N_BINS = 10
# From fewer groups, how much their shares differ is not known.
ENOUGH_GROUPS = 10
# Normal quantile of an interval of 95 %.
Z = 1.96
# Mean absolute value of a standard normal number.
MEAN_ABSOLUTE = np.sqrt(2 / np.pi)


def reliability(
    predicted: Any,
    observed: Any,
    *,
    groups: Any = None,
    n_bins: int = N_BINS,
) -> pd.DataFrame:
    """Mean prediction and mean observation in bins of equal width from 0 to 1.

    If predictions are calibrated, events predicted with probability 0.7 happen in 70 of 100 cases.

    Parameters
    ----------
    predicted : array ``(n,)``
        Probabilities or shares.
    observed : array ``(n,)``
        The outcome, 0 or 1, or a share of several.
    groups : array ``(n,)``, optional
        Labels of observations that belong together, such as clones or paths: only groups are
        independent. By default every observation is its own group.
    n_bins : int

    Returns
    -------
    DataFrame
        One row per non-empty bin: its ends ``low`` and ``high``; the means ``predicted`` and
        ``observed``; ``observed_low`` and ``observed_high``, Wilson's 95 % interval with as many
        observations as there are groups (more if shares of groups differ less than single
        observations would); ``n``, the number of predictions; ``n_groups``; and ``error``, the mean
        error of ``observed`` under calibrated predictions.

    Raises
    ------
    ValueError
        If lengths differ, a number is missing, there are none, or a prediction or an observation is
        not between 0 and 1.

    References
    ----------
    Wilson. Probable inference, the law of succession, and statistical inference. J. Am. Stat.
    Assoc. 22, 1927.

    Examples
    --------
    >>> table = reliability([0.8, 0.8, 0.8, 0.8, 0.8], [1, 1, 0, 1, 1])
    >>> table[["predicted", "observed", "n"]].values.tolist()
    [[0.8, 0.8, 5.0]]
    """
    predicted = _shares(predicted, "predicted")
    observed = _shares(observed, "observed")
    n_bins = check_count(n_bins, "n_bins")
    if groups is None:
        groups = np.arange(len(predicted))
    _check_lengths(predicted, observed, groups)
    # The last bin holds 1 too.
    bins = np.minimum((predicted * n_bins).astype(int), n_bins - 1)
    codes, _ = pd.factorize(np.asarray(groups))
    rows = []
    for number in np.unique(bins):
        is_here = bins == number
        here = _Bin.of(predicted[is_here], observed[is_here], codes[is_here])
        edges = {"low": number / n_bins, "high": (number + 1) / n_bins}
        rows.append(edges | here.row())
    return pd.DataFrame(rows)


class CalibrationError(NamedTuple):
    """How far predicted shares are from observed ones.

    Attributes
    ----------
    error : float
        Expected calibration error.
    floor : float
        What it is on average for a calibrated prediction with as few observations.
    """

    error: float
    floor: float


def expected_calibration_error(table: pd.DataFrame) -> CalibrationError:
    r"""Mean distance between observed and predicted shares in a table of :func:`reliability`.

    .. math:: \sum_b n_b\, |\bar o_b - \bar p_b| \,/\, \sum_b n_b

    Parameters
    ----------
    table : DataFrame

    References
    ----------
    Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017.

    Examples
    --------
    >>> table = reliability([0.8, 0.8, 0.8, 0.8], [1, 1, 0, 1])
    >>> round(expected_calibration_error(table).error, 3)
    0.05
    """
    weights = table["n"] / table["n"].sum()
    distance = (table["observed"] - table["predicted"]).abs()
    error = (weights * distance).sum()
    floor = (weights * table["error"]).sum()
    return CalibrationError(float(error), float(floor))


@dataclass(frozen=True)
class _Bin:
    """Predictions of about one size, and what was observed of them.

    Attributes
    ----------
    predicted, observed : float
        Means.
    n, n_groups : int
    effective : float
        Number of independent observations that say as much.
    """

    predicted: float
    observed: float
    n: int
    n_groups: int
    effective: float

    @classmethod
    def of(cls, predicted: ndarray, observed: ndarray, codes: ndarray) -> _Bin:
        """Means of some predictions and observations, by their groups ``(n,)``."""
        _, group = np.unique(codes, return_inverse=True)
        sizes = np.bincount(group)
        sums = np.bincount(group, observed)
        share = float(observed.mean())
        effective = _effective(sizes, sums, share)
        return cls(float(predicted.mean()), share, len(observed), len(sizes), effective)

    def interval(self) -> tuple[float, float]:
        """Wilson's interval of the observed share, at 95 %."""
        n = self.effective
        square = Z**2 / n
        middle = (self.observed + square / 2) / (1 + square)
        variance = self.observed * (1 - self.observed) / n + square / (4 * n)
        half = Z * np.sqrt(variance) / (1 + square)
        return max(middle - half, 0.0), min(middle + half, 1.0)

    def row(self) -> dict[str, float]:
        """Columns of a table."""
        low, high = self.interval()
        variance = self.predicted * (1 - self.predicted) / self.effective
        return {
            "predicted": self.predicted,
            "observed": self.observed,
            "observed_low": low,
            "observed_high": high,
            "n": self.n,
            "n_groups": self.n_groups,
            "error": float(MEAN_ABSOLUTE * np.sqrt(variance)),
        }


def _effective(sizes: ndarray, sums: ndarray, share: float) -> float:
    """Effective number of single observations behind a mean over groups ``(group,)``."""
    total = sizes.sum()
    # Of groups of unequal sizes, the largest count most (Kish).
    n_groups = total**2 / (sizes**2).sum()
    alone = share * (1 - share)
    residuals = sums - share * sizes
    variance = (residuals**2).sum() / total**2
    if len(sizes) < ENOUGH_GROUPS or alone == 0 or variance == 0:
        return float(n_groups)
    # A share of many cells is known better than one cell is.
    by_variance = alone / variance
    return float(max(n_groups, by_variance))


def _shares(values: Any, name: str) -> ndarray:
    shares = as_array(values, name).astype(np.float64)
    if shares.ndim != 1:
        raise ValueError(f"{name} must be one number for each case, found shape {shares.shape}")
    if len(shares) == 0:
        raise ValueError(f"{name} is empty; give at least one number")
    # NaN is in no range.
    is_share = (shares >= 0) & (shares <= 1)
    if not is_share.all():
        wrong = shares[~is_share][0]
        raise ValueError(f"{name} must lie between 0 and 1, found {brief(float(wrong))}")
    return shares


def _check_lengths(predicted: ndarray, observed: ndarray, groups: Any) -> None:
    lengths = {len(predicted), len(observed), len(groups)}
    if len(lengths) > 1:
        raise ValueError(
            f"predicted, observed and groups must have one length, found {len(predicted)}, "
            f"{len(observed)} and {len(groups)}"
        )
