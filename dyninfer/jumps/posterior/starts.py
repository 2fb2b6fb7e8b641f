"""Where fits of generators begin, and the prior of rates of which the data say nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.complete import JumpRecord
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.gaps import group_gaps
from dyninfer.jumps.likelihood.pairs import PanelPairs
from dyninfer.jumps.likelihood.panel import PanelCounts, panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme

# Transitions that a jump counts at least: a rate of 0 has no logarithm.
LEAST_JUMPS = 0.5
# Changes in a mean gap, by crude rates, from which on many are missed, so that those are too low.
OFTEN_MISSED = 0.2
# Of three and four states whose rates are one to two a gap, fits from crude rates ended up to 14
# below the maximum in 8 of 12 panels, and fits from rates four times as high in none.
FASTER = 4.0
# A path of the median length is thinned to about so many observations.
_THINNED_LENGTH = 20


@dataclass(frozen=True, eq=False)
class Starts:
    """Generators to start a fit from.

    Attributes
    ----------
    generators : Tensor, ``(k, S, S)``
        The starts.
    counts : PanelCounts
        Observed transitions, from which the scale of the rates is known.
    """

    generators: Tensor
    counts: PanelCounts


def exact_starts(counts: PanelCounts | PanelPairs, allowed: Tensor) -> Tensor:
    """Generators ``(k, ..., S, S)`` to start from where labels are never wrong.

    Crude ones, and faster ones where gaps are so long that changes are missed: the likelihood then
    has several maxima, and crude rates lie before a lower one.

    Parameters
    ----------
    counts : PanelCounts or PanelPairs
        One panel, or a batch of them.
    allowed : Tensor, ``(S, S)`` bool
        Which jumps can happen.
    """
    crude = counts.crude_generator(allowed, least=LEAST_JUMPS)
    fastest = -crude.diagonal(dim1=-2, dim2=-1).min()
    mean_gap = counts.total_time / counts.n_observed.sum()
    if fastest * mean_gap < OFTEN_MISSED:
        return crude.unsqueeze(0)
    return torch.stack([crude, FASTER * crude])


def crude_starts(labels: Paths, n_states: int, scheme: RateScheme) -> Starts:
    """Generators as if states changed only when observed, of all observations and of every few.

    Wrong labels look like fast jumps between neighbouring times, and less so between times further
    apart.
    """
    counts = panel_counts(labels, n_states)
    generators = [counts.crude_generator(scheme.allowed, least=LEAST_JUMPS)]
    # Missing labels are left out first: every second frame may be one.
    observed = [states >= 0 for states in labels.states]
    rows = [np.flatnonzero(is_observed) for is_observed in observed]
    lengths = [len(of_path) for of_path in rows]
    median_length = int(np.median(lengths))
    stride = max(2, median_length // _THINNED_LENGTH)
    # A path that is thinned to one label would show no jump.
    if min(lengths) > stride:
        some_rows = [of_path[::stride] for of_path in rows]
        thinned = Paths(
            times=tuple(map(np.take, labels.times, some_rows)),
            states=tuple(map(np.take, labels.states, some_rows)),
            state_names=labels.state_names,
        )
        sparse = panel_counts(thinned, n_states)
        generators.append(sparse.crude_generator(scheme.allowed, least=LEAST_JUMPS))
    return Starts(torch.stack(generators), counts)


def clone_starts(labels: Paths, n_states: int, scheme: RateScheme, ancestor_time: float) -> Starts:
    """One crude generator of clones, as if ancestors were equally likely in every state."""
    flat = FlatLabels.of(labels)
    # A cell may be as old as its ancestor, but for rounding.
    ages = torch.from_numpy(flat.times - ancestor_time)
    gaps, group = group_gaps(ages.clamp(min=0))
    labels_of = torch.from_numpy(flat.labels)
    n_cells = len(gaps) * n_states
    cell = group * n_states + labels_of
    observed = torch.bincount(cell, minlength=n_cells)
    # Each observation is shared out between all states that its ancestor may have had.
    share = observed.double() / n_states
    per_ancestor = share.reshape(-1, 1, n_states)
    counts = PanelCounts(
        gaps=gaps,
        pairs=per_ancestor.expand(-1, n_states, -1),
        starts=torch.ones(n_states, dtype=torch.float64),
    )
    generator = counts.crude_generator(scheme.allowed, least=LEAST_JUMPS)
    return Starts(generator.unsqueeze(0), counts)


@dataclass(frozen=True)
class LogRatePrior:
    """Independent normal log-rates ``(..., E)``.

    Parameters
    ----------
    centre, width : float
        Mean and standard deviation of every log-rate.
    """

    centre: float
    width: float

    def __call__(self, log_rates: Tensor) -> Tensor:
        """Log-density ``(...)``, up to a constant."""
        z = (log_rates - self.centre) / self.width
        square = z.square().sum(-1)
        return -square / 2


def log_rate_prior(
    counts: PanelCounts | PanelPairs | JumpRecord, scheme: RateScheme, width: float | None
) -> LogRatePrior | None:
    """Prior around one jump per mean time between observed changes.

    That rate is shared out between the jumps out of a state, so that the prior moves with the unit
    of time. A ``width`` of None is no prior.
    """
    if width is None:
        return None
    # One change more than there were: no change at all leaves an upper bound of the rate.
    n_changes = counts.n_observed - counts.n_stays + 1
    changes_per_time = n_changes / counts.total_time
    n_targets = scheme.n_edges / scheme.n_states
    centre = float((changes_per_time / n_targets).log())
    return LogRatePrior(centre, width)
