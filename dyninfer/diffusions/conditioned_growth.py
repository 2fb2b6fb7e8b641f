"""Growth under conditions: each has its own mean and bounds, and those of others are composed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.data.mixing import Mixing
from dyninfer.diffusions.growth import BoundedGrowth

# Cells by which the total of a new condition is settled: its error is some per cent.
N_START = 256

# Log-masses (K,) of a run of a process from cells (n, d) of equal weight, at the times of the data.
MassOfRun = Callable[[Any, Tensor], Tensor]


class GrowthByCondition(nn.Module):
    r"""A :class:`BoundedGrowth` for every condition of the data, and for those that are asked for.

    In the interval k, a condition c grows on average by what is known of its mass, and by what its
    total was off by:

    .. math:: r_k(c) = \frac{\log (M_{k+1}(c) / M_k(c))}{t_{k+1} - t_k} - \bar u_k(c)

    Both parts add up for a condition that was not in the data (:class:`Mixing`); then a run from
    cells of the first snapshot makes its total that of the sum.

    Parameters
    ----------
    knots : array ``(K,)``
        Scaled times of the snapshots.
    log_masses : array ``(C, K)``
        Logarithms of the masses of the conditions; NaN where a condition was not measured.
    mixing : Mixing
        Of the conditions, in the same order.
    n_features : int
    mass_of_run : callable
        Runs a process; see :data:`MassOfRun`.
    """

    start: Tensor

    def __init__(
        self,
        knots: Any,
        log_masses: ndarray,
        mixing: Mixing,
        n_features: int,
        mass_of_run: MassOfRun,
    ):
        super().__init__()
        self.mixing = mixing
        self.mass_of_run = mass_of_run
        gains = np.diff(log_masses, axis=1)
        self.is_measured = np.isfinite(gains)
        laws = []
        for number, name in enumerate(mixing.names):
            own_gains = self._completed(name, gains, number)
            log_mass = np.append(0.0, np.cumsum(own_gains))
            laws.append(BoundedGrowth(knots, log_mass))
        self.laws = nn.ModuleList(laws)
        # NaN until a fit is settled.
        start = torch.full((N_START, n_features), torch.nan)
        self.register_buffer("start", start)
        self.composed: dict[Any, BoundedGrowth] = {}

    def of(self, condition: Any) -> BoundedGrowth | None:
        """Law of a condition of the data; None for another one."""
        (asked,) = self.mixing.code.encode([condition])
        known = self.mixing.code.encode(self.mixing.names)
        is_same = (known == asked).all(1)
        if not is_same.any():
            return None
        return self._law(int(is_same.argmax()))

    def compose(self, condition: Any, process: Any) -> BoundedGrowth:
        """Law of a condition that was not in the data, set as that of ``process`` meanwhile.

        Parameters
        ----------
        condition : str or number
        process : ConditionedDiffusion
            Under that condition.
        """
        (asked,) = self.mixing.code.encode([condition])
        key = (asked.tobytes(), self.start.device, self.start.dtype)
        if key not in self.composed:
            law = self._sum(condition)
            process.law = law
            if bool(self.start.isfinite().all()):
                log_mass = self.mass_of_run(process, self.start)
                law.set_total(log_mass)
            self.composed[key] = law
        return self.composed[key]

    @torch.no_grad()
    def settle(self, time: Tensor, value: Tensor, weight: Tensor | None, code: Tensor) -> None:
        """Set mean and bounds of every condition; as :meth:`BoundedGrowth.settle`.

        Parameters
        ----------
        time, value, weight
            As there.
        code : Tensor ``(n, m)``
            Conditions of the samples.
        """
        self.composed.clear()
        known = self.mixing.code.encode(self.mixing.names)
        for number, row in enumerate(known):
            law = self._law(number)
            # Where a condition has no samples, those of all bound its growth.
            law.settle(time, value, weight)
            own_code = torch.as_tensor(row).to(code)
            is_own = (code == own_code).all(1)
            if not bool(is_own.any()):
                continue
            own_weight = None if weight is None else weight[is_own]
            law.settle(time[is_own], value[is_own], own_weight)

    def keep_start(self, cells: Tensor) -> None:
        """Keep cells ``(N_START, d)``, from which the totals of new conditions are settled."""
        self.start.copy_(cells)

    def _completed(self, name: str, gains: ndarray, number: int) -> ndarray:
        """Log-gains ``(K − 1,)`` of a condition, composed where it was not measured."""
        completed = gains[number].copy()
        for k in np.flatnonzero(np.isnan(completed)):
            is_known = self.is_measured[:, k]
            weights = self.mixing.weights(name, is_known)
            completed[k] = weights[is_known] @ gains[is_known, k]
        return completed

    def _sum(self, condition: Any) -> BoundedGrowth:
        """Sum of the laws of the data, by the weights of a new condition."""
        every = [self._law(number) for number in range(len(self.laws))]
        mix = [self.mixing.weights(condition, is_known) for is_known in self.is_measured.T]
        # Every interval has two nodes.
        at_nodes = np.repeat(mix, 2, axis=0)
        law = copy.deepcopy(every[0])
        rates = torch.stack([one.rate for one in every], 1)
        known_rates = torch.stack([one.known_rate for one in every], 1)
        lows = torch.stack([one.low for one in every])
        highs = torch.stack([one.high for one in every])
        weights = torch.as_tensor(at_nodes).to(rates)
        law.rate = (weights * rates).sum(1)
        law.known_rate = (weights * known_rates).sum(1)
        law.low = lows.amin(0)
        law.high = highs.amax(0)
        return law

    def _law(self, number: int) -> BoundedGrowth:
        return self.laws[number]  # type: ignore[return-value]
