"""Births and deaths up to a largest number: a jump process whose every property has a formula."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps import LabelNoise
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulators.base import System
from dyninfer.simulators.observed_jumps import observed_jumps


@dataclass(frozen=True, kw_only=True)
class BirthDeath(System):
    """A number between 0 and ``largest`` that goes up and down by one.

    Up at ``birth``, down at ``death`` or, with ``per_individual``, at ``death · number``. With it,
    this models transcription of a gene (stationary Poisson with mean ``birth / death``, truncated
    at ``largest``); without, a queue (M/M/1/K, stationary geometric).

    Parameters
    ----------
    birth, death : float
        Rates per unit of time; positive.
    largest : int
        Largest number, at least 1; no births happen there.
    per_individual : bool
        Whether deaths are proportional to the number.

    Examples
    --------
    >>> import dyninfer as di
    >>> queue = di.simulators.BirthDeath(birth=1.0, death=2.0, largest=2, per_individual=False)
    >>> queue.stationary().round(3).tolist()  # every number half as likely as the one below
    [0.571, 0.286, 0.143]
    >>> paths = queue.paths([0, 1, 2], 10)
    """

    birth: float = 4.0
    death: float = 1.0
    largest: int = 15
    per_individual: bool = True

    def _check(self) -> None:
        self._check_positive("birth", "death", "largest")

    def process(self) -> MarkovJump:
        """Return the true process, which starts in its stationary distribution."""
        up, down = self._rates
        jumps_up = torch.diag(up, 1)
        jumps_down = torch.diag(down, -1)
        return MarkovJump.from_rates(jumps_up + jumps_down)

    def stationary(self) -> ndarray:
        """Stationary distribution ``(largest + 1,)``.

        From products of birth over death rates, by detailed balance.
        """
        up, down = self._rates
        ratios = (up / down).numpy()
        products = np.cumprod(ratios)
        weight = np.concatenate([[1.0], products])
        return weight / weight.sum()

    def mean_passage_time(self, start: int = 0, target: int | None = None) -> float:
        """Mean first-passage time from ``start`` up to ``target > start``.

        ``Σ_{k=start}^{target−1} Σ_{j≤k} π_j / (π_k birth_k)`` (Karlin and Taylor 1975, chapter 4).

        Parameters
        ----------
        start, target : int
            Numbers; the target is by default the largest.

        Raises
        ------
        ValueError
            If ``target`` is not above ``start``, or one of them is out of range.
        """
        if target is None:
            target = self.largest
        if not 0 <= start < target <= self.largest:
            raise ValueError(
                f"target must lie above start, up to {self.largest}, found {start!r} to {target!r}"
            )
        stationary = self.stationary()
        birth = self._rates[0].numpy()
        # From each number to the next: on the way up, none is left out.
        time = 0.0
        for k in range(start, target):
            up_to_k = stationary[: k + 1]
            at_most_k = up_to_k.sum()
            flux = stationary[k] * birth[k]
            time += at_most_k / flux
        return float(time)

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Observe ``n`` individuals at increasing times, without error."""
        n_states = self.largest + 1
        emission = LabelNoise.perfect(n_states)
        process = self.process()
        return observed_jumps(process, emission, times, n, seed)

    @property
    def _rates(self) -> tuple[Tensor, Tensor]:
        """Rates up from 0, 1, ..., and down to them, each ``(largest,)``."""
        counts = torch.arange(self.largest, dtype=torch.float64)
        number = counts + 1
        up = torch.full_like(number, self.birth)
        if self.per_individual:
            return up, self.death * number
        down = torch.full_like(number, self.death)
        return up, down
