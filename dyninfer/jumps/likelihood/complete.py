"""Paths of which every jump is observed when it happens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.data.paths.checks import is_missing
from dyninfer.data.words import quoted
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.hidden import Exponential, HiddenPaths
from dyninfer.jumps.likelihood.panel import crude_rates
from dyninfer.jumps.process.chain import diagonal, off_diagonal


@dataclass(frozen=True, eq=False)
class JumpRecord:
    """Jumps and dwell times of paths of which every jump is observed.

    Attributes
    ----------
    jumps : Tensor, ``(S, S)`` float64
        Number of jumps; 0 on the diagonal.
    dwell_times : Tensor, ``(S,)`` float64
        Time in each state.
    starts : Tensor, ``(S,)`` float64
        First states.
    """

    jumps: Tensor
    dwell_times: Tensor
    starts: Tensor

    @classmethod
    def of(cls, paths: Paths, n_states: int) -> JumpRecord:
        """Count the jumps of paths.

        Raises
        ------
        ValueError
            If a label is missing, or no time passes in any path.
        """
        for name, states in zip(paths.names, paths.states, strict=True):
            if is_missing(states).any():
                raise ValueError(
                    f"path {quoted(name)} lacks a label, so that not every jump of it is "
                    "observed; drop that row if nothing jumped, or use ExactLabels()"
                )
        flat = FlatLabels.of(paths)
        has_next = flat.has_next
        if not has_next.any():
            raise ValueError("no path has two rows, so that no time passes; give longer paths")
        source = flat.labels[:-1][has_next]
        target = flat.labels[1:][has_next]
        wait = np.diff(flat.times)[has_next]
        place = source * n_states + target
        counts = np.bincount(place, minlength=n_states**2)
        pairs = torch.from_numpy(counts).double()
        dwell_times = np.bincount(source, weights=wait, minlength=n_states)
        starts = torch.from_numpy(flat.count_first(n_states))
        return cls(
            jumps=off_diagonal(pairs.reshape(n_states, n_states)),
            dwell_times=torch.from_numpy(dwell_times),
            starts=starts.double(),
        )

    @property
    def n_observed(self) -> Tensor:
        """Number of jumps."""
        return self.jumps.sum()

    @property
    def n_stays(self) -> Tensor:
        """0: every entry is a jump."""
        return torch.zeros_like(self.n_observed)

    @property
    def total_time(self) -> Tensor:
        """Time in all states."""
        return self.dwell_times.sum()

    def crude_generator(self, jumps: Tensor, least: float) -> Tensor:
        """Jumps over dwell times ``(S, S)``, each at least ``least``."""
        longest = self.dwell_times.max()
        return crude_rates(self.jumps, self.dwell_times, longest, jumps, least)

    def log_likelihood(self, generator: Tensor) -> Tensor:
        """``Σ N_ij log Q_ij + Σ T_i Q_ii`` ``(...)``, given the first states."""
        is_counted = self.jumps > 0
        rates = torch.where(is_counted, generator, 1.0)
        of_jumps = (self.jumps * rates.log()).sum((-1, -2))
        of_stays = (self.dwell_times * diagonal(generator)).sum(-1)
        return of_jumps + of_stays


@dataclass(frozen=True, eq=False, kw_only=True)
class CompletePaths(HiddenPaths):
    """Observed paths that stay in a state until the next observation, where they may jump."""

    def _transitions(self, generator: Tensor, exponential: Exponential) -> Tensor:
        """Chances to stay so long, and densities of a jump after it ``(..., G, S, S)``."""
        exits = diagonal(generator).unsqueeze(-2)
        stay = (exits * self.gaps.unsqueeze(-1)).exp()
        # Past the end of a path no time passes, and nothing jumps.
        passes = (self.gaps > 0).to(stay)
        jumps = off_diagonal(generator).unsqueeze(-3) * passes[:, None, None]
        eye = torch.eye(generator.shape[-1], dtype=stay.dtype)
        return stay.unsqueeze(-1) * (jumps + eye)
