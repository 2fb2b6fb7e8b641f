"""A gene network that branches: which genes regulate the fate, and which do not, is known."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.learning.random import stream, subseed
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import SRA1
from dyninfer.simulators.base import Simulator, check_draw

if TYPE_CHECKING:
    from dyninfer.data.snapshots import Snapshots

# Positions of the four genes that others follow, and that follow none of those.
A, B, FALLING, RISING = range(4)


@dataclass(frozen=True, kw_only=True)
class BranchingNetwork(Simulator):
    """A network in which two master regulators decide between two fates; targets follow.

    Masters A and B activate themselves and repress each other, as in
    :class:`~dyninfer.simulators.ToggleWithGrowth`: ``dA = [2.5 (A² + ½) / (3/2 + A² + 4 B²) − A] dt
    + σ dW``. Targets of A rise with it, ``dT = [2 A² / (1 + A²) − T] dt + σ dW``, and so for B. Two
    clocks, one falling and one rising, tell time equally in all cells. Bystanders follow them, or
    wander by themselves more widely than any target. So many genes vary or change with time, but
    only the masters and their targets go with a fate.

    Parameters
    ----------
    n_targets : int
        Targets of each master.
    n_bystanders : int
        Number of genes of each of three kinds: following the falling clock, following the rising
        one, wandering.
    sigma : float
        Noise of all but the wandering genes, in level units per square root of time; positive.
    wandering : float
        Standard deviation of the wandering genes.
    pace : float
        Rate of the clocks, per unit of time.
    initial_std : float
        Both masters of the founders are ``N(0.3, initial_std²)``.
    dt : float
        Time step of the simulation.

    Examples
    --------
    >>> from dyninfer.simulators import BranchingNetwork
    >>> network = BranchingNetwork(n_targets=1, n_bystanders=1)
    >>> network.genes
    ('A', 'B', 'falling', 'rising', 'A1', 'B1', 'falling1', 'rising1', 'wandering1')
    >>> network.regulated_by("A")
    ('A', 'A1')
    """

    n_targets: int = 6
    n_bystanders: int = 6
    sigma: float = 0.15
    wandering: float = 1.0
    pace: float = 0.4
    initial_std: float = 0.1
    dt: float = 0.02

    def _check(self) -> None:
        self._check_positive("n_targets", "n_bystanders", "sigma", "wandering", "pace", "dt")
        self._check_not_negative("initial_std")

    @property
    def genes(self) -> tuple[str, ...]:
        """Names of all genes, in the order of the states."""
        names = ["A", "B", "falling", "rising"]
        for stem in ("A", "B"):
            names += _numbered(stem, self.n_targets)
        for stem in ("falling", "rising", "wandering"):
            names += _numbered(stem, self.n_bystanders)
        return tuple(names)

    def regulated_by(self, master: str) -> tuple[str, ...]:
        """Genes of a fate: its master, which activates itself, and the targets of the master."""
        if master not in ("A", "B"):
            raise ValueError(f"master must be 'A' or 'B', found {master!r}")
        return (master, *_numbered(master, self.n_targets))

    def fates(self, x: Tensor) -> ndarray:
        """Fate of cells ``(n,)`` after the split: the higher of the two masters."""
        of_a = x[:, A]
        of_b = x[:, B]
        is_a = of_a > of_b
        is_a_on_cpu = is_a.cpu().numpy()
        return np.where(is_a_on_cpu, "A", "B")

    def process(self) -> Diffusion:
        """Return the drift and the noise of every gene."""
        n_genes = len(self.genes)
        noise = torch.full((n_genes,), self.sigma, dtype=torch.float64)
        # At a decay of one, noise √2 s spreads a gene over s.
        wandering = 2**0.5 * self.wandering
        noise[-self.n_bystanders :] = wandering
        return Diffusion(
            drift=self.drift,
            diffusion=lambda t, x: noise.to(x),
        )

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """Production minus decay of every gene, ``(n, gene)``."""
        masters = x[:, :FALLING]
        square = masters**2
        other_square = square.flip(1)
        activation = square + 0.5
        inhibition = 4 * other_square
        share = activation / (1 + activation + inhibition)
        of_masters = 2.5 * share - masters
        falling = x[:, FALLING : FALLING + 1]
        rising = x[:, RISING : RISING + 1]
        of_falling = -self.pace * falling
        of_rising = self.pace * (1 - rising)
        # Half of the most at a master of one, between its two stable levels.
        response = 2 * square / (1 + square)
        # Wandering genes return to one, whatever the others do.
        level = torch.ones_like(rising)
        columns = [response, falling, rising, level]
        levels = torch.cat(columns, dim=1)
        followers = x[:, RISING + 1 :]
        of_leaders = levels[:, self._leaders()]
        of_followers = of_leaders - followers
        return torch.cat([of_masters, of_falling, of_rising, of_followers], dim=1)

    def _leaders(self) -> Tensor:
        """Number of the level that each gene after the first four follows."""
        of_targets = [self.n_targets] * 2
        of_bystanders = [self.n_bystanders] * 3
        counts = of_targets + of_bystanders
        every_level = torch.arange(5)
        return every_level.repeat_interleave(torch.tensor(counts))

    def founders(self, n: int, seed: int = 0) -> Tensor:
        """Draw ``n`` cells from the initial distribution, ``(n, gene)`` float32."""
        check_draw(n, seed)
        n_genes = len(self.genes)
        g = stream(seed, "founders")
        noise = torch.randn(n, n_genes, generator=g, dtype=torch.float32)
        # The falling clock and what follows it start high, the rising ones at zero.
        is_high = [name.startswith(("falling", "wandering")) for name in self.genes]
        # In double precision, which holds every parameter that is allowed.
        mean = torch.tensor(is_high).double()
        deviation = self.sigma / 2**0.5
        spread = torch.full_like(mean, deviation)
        spread[-self.n_bystanders :] = self.wandering
        spread[:FALLING] = self.initial_std
        mean[:FALLING] = 0.3
        cells = mean + spread * noise
        return cells.float()

    def sample(self, t: float, n: int, seed: int = 0) -> Tensor:
        """Cells at time ``t``, ``(n, gene)`` float32."""
        check_draw(n, seed, t)
        own_seed = subseed(seed, "cells")
        start = self.founders(n, own_seed)
        # No time to simulate.
        if t == 0:
            return start
        solver = SRA1(dt=self.dt)
        path_seed = subseed(seed, "noise")
        process = self.process()
        times = [0.0, t]
        run = simulate(process, start, times, solver=solver, seed=path_seed)
        return run.states[:, -1]

    def snapshots(self, times: Iterable[float], n: int, seed: int = 0) -> Snapshots:
        """Sample ``n`` cells at each time, with the names of the genes."""
        plain = super().snapshots(times, n, seed)
        return replace(plain, features=self.genes)


def _numbered(stem: str, n: int) -> list[str]:
    return [f"{stem}{i}" for i in range(1, n + 1)]
