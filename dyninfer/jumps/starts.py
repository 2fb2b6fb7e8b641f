"""Where fits of generators begin, and the prior that holds rates of which the data say nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dyninfer.jumps.panel import PanelCounts, panel_counts
from dyninfer.jumps.scheme import RateScheme
from dyninfer.paths import Paths


def crude_starts(labels: Paths, n_states: int, scheme: RateScheme) -> tuple[Tensor, PanelCounts]:
    """Generators ``(k, S, S)`` as if states changed only when seen, of all observations and of every so many.

    Wrong labels look like fast jumps between neighbouring times, and less so between times further apart.
    """
    counts = panel_counts(labels, n_states)
    crude = [counts.crude_generator(scheme.allowed, least=0.5)]
    every = max(2, int(np.median(labels.lengths)) // 20)
    if min(labels.lengths) > every:
        thinned = Paths(
            times=tuple(t[::every] for t in labels.times),
            states=tuple(x[::every] for x in labels.states),
            state_names=labels.state_names,
        )
        crude.append(panel_counts(thinned, n_states).crude_generator(scheme.allowed, least=0.5))
    return torch.stack(crude), counts


def log_rate_prior(
    counts: PanelCounts, scheme: RateScheme, width: float | None
) -> Callable[[Tensor], Tensor] | None:
    """Log-density, up to a constant, of independent normal log-rates ``(..., E)``.

    The centre is one jump per mean time between observed changes, shared out between the jumps out of a state.
    """
    if width is None:
        return None
    stayed = counts.pairs.diagonal(dim1=-2, dim2=-1).sum()
    changes = counts.n_observed - stayed + 1
    spent = (counts.pairs.sum((-1, -2)) * counts.gaps).sum()
    centre = float((changes / spent / (len(scheme.edges) / scheme.n_states)).log())
    return lambda log_rates: -0.5 * ((log_rates - centre) / width).square().sum(-1)
