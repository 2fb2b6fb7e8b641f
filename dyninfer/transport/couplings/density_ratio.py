"""Growth told from motion by the ratio of two densities, counted among nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from dyninfer.transport.couplings.base import require_positive
from dyninfer.transport.couplings.reweighting import Ends, Halfway, Reweighting, log_normalised


@dataclass(kw_only=True, repr=False, eq=False)
class DensityRatio(Reweighting):
    r"""Growth from the ratio of densities: cells grow where the second sample is denser.

    Let ``r = p/(1−p)`` be the odds of the second sample at the position of a cell, with equal
    weight for both samples. A pair then grows by ``(r_i r_j)^(exponent/2)``. Halfway, the weights
    are ``a r^(exponent/2)`` and ``b r^(−exponent/2)``: with exponent 1 and nothing moving, the
    Fisher-Rao curve ``√(ρ₀ρ₁)``. The odds are counted among nearest neighbours, without the cell
    itself.

    The odds mistake any drift for growth: between normal samples d standard deviations apart,
    weights with exponent 1 keep a share ``exp(−d²/4)`` of the sample as effective size.

    Parameters
    ----------
    exponent : float
        Power of the odds; lowered until both samples keep ``least_sample``.
    least_sample : float
        Smallest effective size ``(Σw)²/Σw²`` of either sample halfway, as a share of the sample.
    neighbors : int
        Neighbours among which the odds are counted; fewer if the samples are smaller.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.GrowthFirstCoupling(weigh=di.DensityRatio(neighbors=30)).weigh
    DensityRatio(neighbors=30)
    """

    exponent: float = 1.0
    least_sample: float = 0.8
    # Counts among thirty are so noisy that growth appears where nothing grows.
    neighbors: int = 50

    def check(self) -> None:
        """Raise a ValueError that names an invalid setting."""
        self.check_kinds("DensityRatio.")
        require_positive(self, exponent=self.exponent, neighbors=self.neighbors)
        if not 0 < self.least_sample < 1:
            raise ValueError(
                f"DensityRatio.least_sample must lie between 0 and 1, found {self.least_sample}"
            )

    def halfway(self, ends: Ends) -> Halfway:
        """See :meth:`Reweighting.halfway`."""
        if ends.expected_growth is not None:
            raise ValueError(
                "the density ratio takes no expected growth; use weigh=UnbalancedWeights(), or "
                "leave the growth out"
            )
        log_odds_x, log_odds_y = log_odds(ends, self.neighbors)
        exponent = self._exponent(ends, log_odds_x, log_odds_y)
        log_source = 0.5 * exponent * log_odds_x
        log_target = 0.5 * exponent * log_odds_y
        log_a = np.log(ends.a) + log_source
        log_b = np.log(ends.b) - log_target
        return Halfway(
            log_a=log_normalised(log_a),
            log_b=log_normalised(log_b),
            log_source=log_source,
            log_target=log_target,
        )

    def _exponent(self, ends: Ends, log_odds_x: ndarray, log_odds_y: ndarray) -> float:
        """Largest exponent up to the one asked for that leaves both samples large enough."""

        def smaller_share(exponent: float) -> float:
            half = 0.5 * exponent
            first = effective_share(ends.a, half * log_odds_x)
            change = -half * log_odds_y
            second = effective_share(ends.b, change)
            return min(first, second)

        if smaller_share(self.exponent) >= self.least_sample:
            return self.exponent
        low = 0.0
        high = self.exponent
        # Thirty halves leave a billionth of the exponent.
        for _ in range(30):
            middle = 0.5 * (low + high)
            if smaller_share(middle) >= self.least_sample:
                low = middle
            else:
                high = middle
        return low


def log_odds(ends: Ends, neighbors: int) -> tuple[ndarray, ndarray]:
    """Log-odds of the second sample around every cell of the first ``(n,)`` and second ``(m,)``.

    Each sample weighs one in all.
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(ends.a)
    n_cells = n + len(ends.b)
    points = np.concatenate([ends.x, ends.y])
    k = min(neighbors, n_cells - 1)
    search = NearestNeighbors(n_neighbors=k)
    search.fit(points)
    # Not asked about new points, it leaves every point out of its own neighbours.
    around = search.kneighbors(return_distance=False)
    first = np.zeros(n_cells)
    first[:n] = ends.a
    second = np.zeros(n_cells)
    second[n:] = ends.b
    # Half a neighbour more of either sample: a count of none would make the odds infinite.
    pseudo = 1 / n_cells
    share = _share_around(first, around, pseudo)
    log_share = np.log(share)
    other = _share_around(second, around, pseudo)
    log_other = np.log(other)
    odds = log_other - log_share
    return odds[:n], odds[n:]


def _share_around(weights: ndarray, around: ndarray, pseudo: float) -> ndarray:
    """Share of a sample that is among the neighbours ``(cells, neighbors)`` of every cell."""
    inside = weights[around].sum(1)
    # Without the cell itself, the rest of its sample stands for the whole.
    rest = np.maximum(1 - weights, pseudo)
    return inside / rest + pseudo


def effective_share(weights: ndarray, log_factor: ndarray) -> float:
    """Effective size of a sample whose weights are multiplied, as a share of what it was.

    Parameters
    ----------
    weights : array ``(n,)``
        Summing to one.
    log_factor : array ``(n,)``
    """
    log_product = np.log(weights) + log_factor
    log_weights = log_normalised(log_product)
    after = np.exp(log_weights)
    square = weights @ weights
    return float(square / (after @ after))
