"""The population along a learned curve, where energies depend on its density."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.learning.random import stream
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch
from dyninfer.transport.lagrangians.curve_density import DensityPotential

# Parts of an interval: between their ends the logarithm of the density is linear, and a width that
# changes by a factor of two within an interval is then off by a hundredth.
_PARTS = 8
# Pairs at every time: a width is known to three hundredths.
_PAIRS = 512


class Population:
    """Shows the energies of the density what the curve is like now.

    The first variation of an energy is linear in the density only about one curve, so it is taken
    at the curve of the moment; its slope is then that of the energy. The pairs stay the same, so
    that the density changes with the curve alone.

    Parameters
    ----------
    curve : LearnedCurve
    seed : int
    every : int
        Calls of :meth:`follow` between two looks.
    """

    def __init__(self, curve: LearnedCurve, seed: int, every: int = 10):
        self.curve = curve
        self.every = every
        self.calls = 0
        potential = curve.lagrangian.potential
        self.potential = potential if isinstance(potential, DensityPotential) else None
        if self.potential is None:
            return
        samples = curve.samples
        generator = stream(seed, "density", device=samples.states.device)
        n_intervals = len(samples.log_mass) - 1
        self.batches: list[PairBatch] = []
        for k in range(n_intervals):
            interval = torch.full((_PAIRS,), k, device=samples.states.device)
            pairs = samples.draw(interval, generator)
            start, gap = samples.span(interval)
            # An inner snapshot is the first part of the interval after it.
            n_parts = _PARTS + (k == n_intervals - 1)
            for part in range(n_parts):
                time = start + part / _PARTS * gap
                density = torch.ones_like(time)
                batch = PairBatch(time=time, density=density, pairs=pairs, noise=None, probe=None)
                self.batches.append(batch)
        self.look()

    def follow(self) -> None:
        """Look at the curve, if it is time."""
        self.calls += 1
        if self.calls % self.every == 0:
            self.look()

    @torch.no_grad()
    def look(self) -> None:
        """Take the density of the curve for what it is now."""
        if self.potential is None:
            return
        states = [self.curve.point(batch).state for batch in self.batches]
        times = torch.stack([_moment(batch.time) for batch in self.batches])
        self.potential.density.update(times, states)

    def warn_of_collapse(self) -> None:
        """Warn where the curve has shrunk to nothing between two snapshots."""
        if self.potential is not None:
            ends = range(0, len(self.batches), _PARTS)
            self.potential.warn_of_collapse(ends)


def _moment(time: Tensor) -> Tensor:
    """The one time of a batch."""
    return time[0]
