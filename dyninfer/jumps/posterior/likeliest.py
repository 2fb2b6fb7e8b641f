"""Fits under a normal prior of the log-rates, from crude starts: of any structure and observation model."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.clones import ClonePaths
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.panel import panel_counts
from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.posterior.fitting import fit_panel
from dyninfer.jumps.posterior.fitting_hidden import fit_hidden
from dyninfer.jumps.posterior.learned import Learned, by_fit
from dyninfer.jumps.posterior.starts import (
    clone_starts,
    crude_starts,
    emission_start,
    log_rate_prior,
)


def by_panel(
    seen: Paths, scheme: RateScheme, exact: Sequence[int], width: float | None, max_steps: int
) -> Learned:
    """Fit to labels that are never wrong; entries into the states ``exact`` are seen when they happen."""
    n = scheme.n_states
    counts = panel_counts(seen, n, exact)
    start = counts.crude_generator(scheme.allowed, least=0.5)
    fit = fit_panel(counts, scheme, start, log_rate_prior(counts, scheme, width), max_steps)
    first = counts.starts + 0.5
    before = float(counts.log_likelihood(scheme.generator(scheme.parameters_of(start))))
    return by_fit(fit, [before], first / first.sum(), LabelNoise.perfect(n), fitted_emission=False)


def by_hidden(
    data: HiddenPaths | ClonePaths,
    seen: Paths,
    scheme: RateScheme,
    observation: str,
    width: float | None,
    ancestor_time: float | None,
    max_steps: int,
    seed: int,
) -> Learned:
    """Fit to states that are hidden: behind labels that may be wrong, behind numbers, or as ancestors of clones.

    ``data`` are the paths ``seen``, prepared.
    """
    n = scheme.n_states
    emission, labels = emission_start(observation, seen, n, seed)
    if ancestor_time is None:
        start, counts = crude_starts(labels, n, scheme)
    else:
        start, counts = clone_starts(labels, n, scheme, ancestor_time)
    prior, learned = log_rate_prior(counts, scheme, width), observation != "exact"
    fit = fit_hidden(
        data, emission, start, scheme, fit_emission=learned, prior=prior, max_iter=max_steps
    )
    law = torch.full((n,), 1 / n, dtype=torch.float64)
    before = data.log_likelihood(start, emission, law).sum(-1).tolist()
    return by_fit(fit, before, fit.initial, fit.emission, fitted_emission=learned)
