"""A stand-in for alanine dipeptide: a chain of six states with published rates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps import LabelNoise
from dyninfer.jumps.process import MarkovJump
from dyninfer.simulators.base import System
from dyninfer.simulators.observed_jumps import observed_jumps

# Per nanosecond, from the row's state to the column's: Seifner and Sánchez 2023.
_RATES = (
    (0.0, 53.0, 0.19, 7.9, 0.06, 0.02),
    (47.0, 0.0, 0.05, 12.0, 0.04, 0.01),
    (0.28, 0.13, 0.0, 17.0, 0.02, 0.04),
    (36.0, 26.9, 41.0, 0.0, 0.3, 0.01),
    (0.17, 0.2, 0.4, 0.2, 0.0, 3.0),
    (1.2, 1.8, 0.5, 0.7, 19.0, 0.0),
)


@dataclass(frozen=True, kw_only=True)
class AlanineDipeptide(System):
    """A stand-in for alanine dipeptide: six states in equilibrium, read about every picosecond.

    Its rates are those that NeuralMJP (Seifner and Sánchez 2023, ICML) inferred from a molecular
    dynamics simulation of alanine dipeptide; they span more than three decades. What a Markov chain
    cannot show, such as recrossings at short lags, is not in its data. Times are in nanoseconds.

    Parameters
    ----------
    label_noise : float
        Share of wrong labels, spread evenly over the other states.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.simulators.AlanineDipeptide().process().n_states
    6
    """

    label_noise: float = 0.0

    def process(self) -> MarkovJump:
        """Return the true process (rates per ns), which starts in its stationary distribution."""
        rates = torch.tensor(_RATES, dtype=torch.float64)
        return MarkovJump.from_rates(rates)

    def paths(self, times: Iterable[float], n: int, seed: int = 0) -> Paths:
        """Observe ``n`` molecules at increasing times, in ns.

        ``0.001 * np.arange(100)`` are frames of 1 ps.
        """
        emission = LabelNoise.uniform(6, self.label_noise)
        process = self.process()
        return observed_jumps(process, emission, times, n, seed)
