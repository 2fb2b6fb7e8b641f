"""The density of a curve as it is now, and the potential that follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.learning.scaling import Scaling
from dyninfer.learning.warn import warn
from dyninfer.transport.lagrangians.kernels import KernelDensity

if TYPE_CHECKING:
    from dyninfer.transport.lagrangians.hamiltonian import Potential
    from dyninfer.transport.lagrangians.of_density import DensityEnergy

# Width of a curve, relative to that at the snapshots around, below which it is taken to collapse.
# At the largest strength that has a solution, a normal population is as narrow as 0.43.
COLLAPSE = 0.25


class CurveDensity:
    """Density of a curve as it is now, from samples at some times and linear between them."""

    def __init__(self) -> None:
        self.times = torch.empty(0)
        self.densities: list[KernelDensity] = []

    def update(self, times: Tensor, states: Sequence[Tensor]) -> None:
        """Take samples ``(n, d)`` of the curve at increasing scaled times for what it is now."""
        self.times = times
        self.densities = [KernelDensity(sample) for sample in states]

    def log_density(self, t: Tensor, x: Tensor) -> Tensor:
        """``log ρ`` ``(n,)`` in scaled units, at times ``(n,)`` and states ``(n, d)``."""
        times = self.times.to(t)
        last = len(times) - 2
        after = torch.searchsorted(times, t.contiguous(), right=True)
        before = (after - 1).clamp(0, last)
        result = x.new_zeros(len(x))
        for k in before.unique().tolist():
            rows = torch.nonzero(before == k)[:, 0]
            states = x[rows]
            early = self.densities[k].log_density(states)
            late = self.densities[k + 1].log_density(states)
            gap = times[k + 1] - times[k]
            elapsed = t[rows] - times[k]
            part = elapsed / gap
            between = torch.lerp(early, late, part.to(x))
            result = result.index_copy(0, rows, between)
        return result

    def least_width(self, ends: Sequence[int]) -> float:
        """Least width between two snapshots, relative to the mean of theirs in logarithms.

        Parameters
        ----------
        ends : sequence of int
            Which of the times are those of snapshots.
        """
        d = len(self.densities[0].mean)
        spreads = torch.tensor([density.log_spread for density in self.densities])
        widths = spreads / d
        least = 0.0
        starts = ends[:-1]
        for start, end in zip(starts, ends[1:], strict=True):
            mean = 0.5 * (widths[start] + widths[end])
            between = widths[start : end + 1]
            fall = between.min() - mean
            least = min(least, float(fall))
        return math.exp(least)


class DensityPotential:
    """What cells feel: the first variations of the energies of the density, and a potential.

    Parameters
    ----------
    terms : sequence of DensityEnergy
    density : CurveDensity
    scaling : Scaling
    beside : callable or None
        Potential ``V(t, x)`` in scaled units that is felt as well.
    """

    def __init__(
        self,
        terms: Sequence[DensityEnergy],
        density: CurveDensity,
        scaling: Scaling,
        beside: Potential | None,
    ):
        self.terms = terms
        self.density = density
        self.scaling = scaling
        self.beside = beside

    def __call__(self, t: Tensor, x: Tensor) -> Tensor:
        """Potential ``(n,)`` in scaled units."""
        log_density = self._log_density(t, x)
        energies = [term.first_variation(log_density) for term in self.terms]
        return self._total(energies, t, x)

    def felt(self, t: Tensor, x: Tensor) -> Tensor:
        """Energy of a unit of mass ``(n,)``, with the slope of the potential.

        The slope of the total energy in the places of cells is that of the first variation with
        the density held still.
        """
        log_density = self._log_density(t, x)
        energies = []
        for term in self.terms:
            variation = term.first_variation(log_density)
            value = term.energy(log_density).detach()
            energies.append(value + variation - variation.detach())
        return self._total(energies, t, x)

    def warn_of_collapse(self, ends: Sequence[int]) -> None:
        """Warn where the curve has shrunk between two snapshots, as it does without a minimum."""
        width = self.density.least_width(ends)
        if width < COLLAPSE:
            names = " + ".join(map(repr, self.terms))
            warn(
                f"between two snapshots the population shrinks to {width:.0%} of its width: with "
                f"{names} no curve has the least action; take a smaller strength, a negative one "
                "(density is then costly), or closer snapshots"
            )

    def _log_density(self, t: Tensor, x: Tensor) -> Tensor:
        log_density = self.density.log_density(t, x)
        return self.scaling.user_log_densities(log_density)

    def _total(self, energies: Sequence[Tensor], t: Tensor, x: Tensor) -> Tensor:
        user_total = torch.stack(list(energies)).sum(0)
        total = user_total / self.scaling.energy_unit
        if self.beside is not None:
            total = total + self.beside(t, x)
        return total
