"""Where fits of generators begin, and the prior that holds rates of which the data say nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.discretize import MixtureStates, moments
from dyninfer.jumps.likelihood.gaps import group_gaps
from dyninfer.jumps.likelihood.observation import Confusion, Emission, GaussianEmission, LabelNoise
from dyninfer.jumps.likelihood.panel import PanelCounts, panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme


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


def emission_start(
    observation: str, seen: Paths, n_states: int, seed: int
) -> tuple[Emission, Paths]:
    """Observation model to begin a fit with, and the labels that go with it."""
    if observation == "exact":
        return LabelNoise.perfect(n_states), seen
    if observation == "gaussian":
        rule = MixtureStates(n_states=n_states)
        table = rule.learn(seen, seed)
        centre, spread = moments(table, seen.n_features)
        return GaussianEmission.of(centre, spread), rule.label(seen, table)
    noise = LabelNoise.uniform(n_states, 0.02)
    return Confusion(noise.confusion) if observation == "confusion" else noise, seen


def clone_starts(
    labels: Paths, n_states: int, scheme: RateScheme, ancestor_time: float
) -> tuple[Tensor, PanelCounts]:
    """The same ``(1, S, S)`` of clones, as if a cell's ancestor was in any state alike."""
    states = torch.from_numpy(np.concatenate(labels.states))
    known = states >= 0
    gaps, group = group_gaps(torch.from_numpy(np.concatenate(labels.times) - ancestor_time)[known])
    seen = torch.zeros(len(gaps), n_states, dtype=torch.float64)
    seen.index_put_(
        (group, states[known]), torch.ones(len(group), dtype=torch.float64), accumulate=True
    )
    pairs = (seen / n_states)[:, None].expand(-1, n_states, -1)
    counts = PanelCounts(gaps=gaps, pairs=pairs, starts=torch.ones(n_states, dtype=torch.float64))
    return counts.crude_generator(scheme.allowed, least=0.5)[None], counts


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
