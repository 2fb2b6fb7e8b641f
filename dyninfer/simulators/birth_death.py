"""Births and deaths up to a largest number: a jump process whose every property has a formula."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps import LabelNoise, observe
from dyninfer.jumps.process import MarkovJump, with_diagonal
from dyninfer.jumps.simulation import simulate_jumps
from dyninfer.simulators.base import check_positive, check_times, stream


@dataclass(frozen=True, kw_only=True)
class BirthDeath:
    """Numbers from 0 to ``largest``: up at ``birth``, down at ``death`` or, per individual, ``death · number``.

    With ``per_individual`` it is the transcription of a gene, stationary Poisson of mean ``birth / death`` cut at
    ``largest``; without, a queue, stationary geometric (M/M/1/K).

    Parameters
    ----------
    birth, death : float
        Rates per time unit; positive.
    largest : int
        Largest number, at least 1; births end there.
    per_individual : bool
        Whether deaths are proportional to the number.
    """

    birth: float = 4.0
    death: float = 1.0
    largest: int = 15
    per_individual: bool = True

    def __post_init__(self) -> None:
        check_positive(birth=self.birth, death=self.death, largest=self.largest)

    def process(self) -> MarkovJump:
        """Return the true process, which starts in its stationary law."""
        up, down = self._rates
        return MarkovJump(with_diagonal(torch.diag(up, 1) + torch.diag(down, -1)))

    def stationary(self) -> np.ndarray:
        """Stationary law ``(largest + 1,)``: products of births over deaths, by detailed balance."""
        up, down = (rates.numpy() for rates in self._rates)
        weight = np.concatenate([[1.0], np.cumprod(up / down)])
        return weight / weight.sum()

    def mean_passage_time(self, start: int = 0, target: int | None = None) -> float:
        """Mean time from ``start`` up to ``target > start`` for the first time; by default to the largest number.

        ``Σ_{k=start}^{target−1} Σ_{j≤k} π_j / (π_k birth_k)`` (Karlin and Taylor 1975, chapter 4).

        Raises
        ------
        ValueError
            If ``target`` does not lie above ``start``, within the numbers.
        """
        target = self.largest if target is None else target
        if not 0 <= start < target <= self.largest:
            raise ValueError(
                f"target must lie above start, up to {self.largest}, found {start!r} to {target!r}"
            )
        law, up = self.stationary(), self._rates[0].numpy()
        return float(sum(law[: k + 1].sum() / (law[k] * up[k]) for k in range(start, target)))

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Observe ``n`` individuals at increasing times, without error."""
        check_positive(n=n)
        runs = simulate_jumps(self.process(), n, check_times(times), seed=stream(seed, 0))
        return observe(runs, LabelNoise.perfect(self.largest + 1))

    @property
    def _rates(self) -> tuple[Tensor, Tensor]:
        number = torch.arange(1, self.largest + 1, dtype=torch.float64)
        each = number if self.per_individual else torch.ones_like(number)
        return self.birth * torch.ones_like(number), self.death * each
