"""What a run keeps: states, weights and failures at the requested times."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from dyninfer.simulation.weights import effective_sample_size, systematic_resample


@dataclass
class Record:
    """The paths of a run at the requested times.

    A state may have more coordinates than are kept, such as the memory of fractional noise:
    ``current`` has all of them, ``states`` the first ``d``.

    Attributes
    ----------
    states : Tensor, ``(n, time, d)``
    current : Tensor, ``(n, D)``
        Full states at the time that the run has reached.
    log_weights : Tensor, ``(n, time)``, or None
    diverged : Tensor, ``(n, time)`` bool
    parents : Tensor, ``(n, time)`` int64
    replaced : list of int, ``(time,)``
        Diverged paths that resampling replaced.
    ess : list of float, ``(time,)``
        Effective sample sizes before resampling; empty where nothing is resampled.
    """

    states: Tensor
    current: Tensor
    log_weights: Tensor | None
    diverged: Tensor
    parents: Tensor
    replaced: list[int]
    ess: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, start: Tensor, states: Tensor, grows: bool) -> Record:
        """Enter the start ``(n, D)`` into empty states ``(n, time, d)``, wherever they lie."""
        n, n_times, n_features = states.shape
        device = start.device
        states[:, 0] = start[:, :n_features]
        log_weights = None
        if grows:
            log_weights = torch.zeros(n, n_times, dtype=torch.float64, device=device)
        diverged = torch.zeros(n, n_times, dtype=torch.bool, device=device)
        # Every path is its own parent until something is resampled.
        numbers = torch.arange(n, device=device)
        parents = numbers[:, None].expand(n, n_times)
        return cls(
            states=states,
            current=start,
            log_weights=log_weights,
            diverged=diverged,
            parents=parents,
            replaced=[0] * n_times,
        )

    def enter(
        self, rows: range, intervals: range, states: Tensor, log_weights: Tensor | None
    ) -> None:
        """Write the ends of ``intervals`` for ``rows``, and which of them failed.

        Nothing here waits for the device, unless the states lie in a file.
        """
        paths = slice(rows.start, rows.stop)
        # Time 0 is the start, so interval k ends at time k + 1.
        times = slice(intervals.start + 1, intervals.stop + 1)
        n_features = self.states.shape[2]
        kept = states[..., :n_features].to(self.states.dtype)
        self.states[paths, times] = kept.to(self.states.device)
        # The largest is finite only if all are; their sum may overflow where none of them does.
        sizes = states.detach().abs()
        largest = sizes.amax(-1)
        is_finite = largest.isfinite()
        if states.dtype != self.states.dtype:
            # What overflows in the precision of the results has failed as well.
            is_finite &= kept.detach().isfinite().all(-1)
        if self.log_weights is not None and log_weights is not None:
            self.log_weights[paths, times] = log_weights
            # A weight of 0, whose logarithm is −inf, is no failure; NaN is below nothing.
            is_finite &= log_weights.detach() < torch.inf
        self.diverged[paths, times] = ~is_finite

    def resample(self, k: int, threshold: float, generator: torch.Generator) -> None:
        """Draw the paths anew at output ``k`` if weights are too uneven or a path has diverged."""
        n = len(self.states)
        diverged = self.diverged[:, k]
        n_diverged = int(diverged.sum())
        w = torch.zeros(n, dtype=torch.float64, device=diverged.device)
        if self.log_weights is not None:
            w = self.log_weights[:, k]
        w = torch.where(diverged, -torch.inf, w)
        ess = float(effective_sample_size(w.detach()))
        self.ess.append(ess)
        is_uneven = ess < threshold * n
        # Nothing to draw from is left if all paths have diverged; the size is then NaN.
        if not ess > 0:
            return
        if not is_uneven and n_diverged == 0:
            return
        rows, mean_log_weight = systematic_resample(w, generator)
        self.replaced[k] = n_diverged
        states = self.states[:, k]
        self.states[:, k] = states[rows]
        self.current = self.current[rows]
        self.parents[:, k] = rows
        self.diverged[:, k] = False
        if self.log_weights is not None:
            self.log_weights[:, k] = mean_log_weight

    def failed(self) -> Tensor:
        """Whether a path had failed by each time ``(n, time)`` bool.

        One that failed once has failed for good, whatever a solver returned later.
        """
        return self.diverged.cummax(dim=1).values
