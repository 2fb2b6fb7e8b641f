"""Apparent dwell times: those of a record in which short visits are missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from dyninfer.data.arrays import as_tensor
from dyninfer.data.words import as_text
from dyninfer.jumps.dwell.idealise import open_numbers
from dyninfer.jumps.dwell.law import ApparentLaw, DwellData
from dyninfer.jumps.dwell.records import DwellTimes
from dyninfer.jumps.dwell.survivor import Ages
from dyninfer.jumps.process import MarkovJump
from dyninfer.jumps.process.chain import reachable
from dyninfer.learning.settings import brief, check_word
from dyninfer.learning.surroundings import own_surroundings

_KINDS = ("open", "shut")


class ApparentDwellTimes:
    r"""Open and shut times of a process as they appear in a record with dead time τ.

    An apparent open time begins with an opening longer than τ and ends when the first shutting
    longer than τ begins; shorter visits of either class are missed. Its density is

    .. math:: f(t) = \phi_A R(t - \tau) Q_{AF} e^{Q_{FF} \tau} 1,

    exact up to six dead times, and by the slowest roots beyond.

    Parameters
    ----------
    process : MarkovJump
        One process, constant in time.
    open_states : sequence of str
        Names of the open states; all others are shut.
    dead_time : float
        In the unit of time of the process; 0 if nothing is missed.

    Raises
    ------
    ValueError
        If no state is open or none is shut, a state cannot be reached from another, or a rate is
        above ten per dead time.

    References
    ----------
    Hawkes, Jalali, Colquhoun. The distributions of the apparent open times and shut times in a
    single channel record when brief events cannot be detected. Phil. Trans. R. Soc. A 332, 1990.

    Colquhoun, Hawkes, Srodzinski. Joint distributions of apparent open and shut times of single-ion
    channels and maximum likelihood fitting of mechanisms. Phil. Trans. R. Soc. A 354, 1996.

    Examples
    --------
    >>> import dyninfer as di
    >>> from dyninfer.jumps.dwell import ApparentDwellTimes
    >>> gate = di.MarkovJump([[-2.0, 2.0], [5.0, -5.0]], state_names=["open", "shut"])
    >>> round(ApparentDwellTimes(gate, ["open"], dead_time=0.1).mean("open"), 4)
    0.9541
    """

    def __init__(self, process: MarkovJump, open_states: Sequence[str], dead_time: float):
        generator = process.generator
        if generator.ndim != 2:
            raise ValueError(
                "process must be one process, constant in time; take one of a batch, or process.at"
            )
        self.is_open = torch.zeros(process.n_states, dtype=torch.bool)
        self.is_open[open_numbers(open_states, process.state_names)] = True
        self.dead_time = float(dead_time)
        if not 0 <= self.dead_time < np.inf:
            raise ValueError(f"dead_time must be a time of 0 or more, found {brief(dead_time)}")
        if not bool(reachable(generator).all()):
            raise ValueError(
                "process has states that cannot be reached from others, so that dwell times have "
                "no lasting distribution; leave such states out"
            )
        self._law = ApparentLaw(generator, self.is_open, self.dead_time)
        if self._law.n_pieces == 0:
            fastest = as_text(float(-generator.diagonal().min()))
            raise ValueError(
                f"a state is left {fastest} times per unit of time, more than ten times per "
                f"dead_time={as_text(dead_time)}; give a shorter dead time"
            )

    @own_surroundings()
    def mean(self, kind: str) -> float:
        """Mean apparent dwell time, ``kind`` being "open" or "shut"."""
        is_open = self._is_open(kind)
        mean = self._law.survivor(is_open).mean
        return float(self._law.entry(is_open) @ mean)

    @own_surroundings()
    def density(self, times: Any, kind: str) -> ndarray:
        """Density ``(n,)`` of apparent dwell times; 0 below the dead time."""
        return self._at(times, kind, is_density=True)

    @own_surroundings()
    def survival(self, times: Any, kind: str) -> ndarray:
        """Probability ``(n,)`` that a dwell time is longer than each time."""
        return self._at(times, kind, is_density=False)

    @own_surroundings()
    def log_likelihoods(self, dwell_times: DwellTimes) -> ndarray:
        """Log-density of every record ``(n,)``.

        Raises
        ------
        ValueError
            If the records have a different dead time.
        """
        if dwell_times.dead_time != self.dead_time:
            raise ValueError(
                f"the records have dead_time={as_text(dwell_times.dead_time)} and this law "
                f"{as_text(self.dead_time)}; make one of them again"
            )
        return DwellData(dwell_times).log_likelihoods(self._law).numpy()

    def _at(self, times: Any, kind: str, is_density: bool) -> ndarray:
        is_open = self._is_open(kind)
        survivor = self._law.survivor(is_open)
        durations = as_tensor(times, "times").reshape(-1).numpy()
        ages = durations - self.dead_time
        prepared = Ages.of(np.maximum(ages, 0.0), self.dead_time, self._law.n_pieces)
        values = self._law.entry(is_open) @ survivor.at(prepared)
        if is_density:
            values = values @ survivor.exit
        total = values.sum(-1).numpy()
        # A dwell time that is shorter is none, and every one is longer than that.
        before = 0.0 if is_density else 1.0
        return np.where(ages >= 0, total, before)

    def _is_open(self, kind: str) -> bool:
        check_word(kind, "kind", _KINDS)
        return kind == "open"
