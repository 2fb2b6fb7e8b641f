"""Whether observations remember the one before: without that they say little of the rates."""

from __future__ import annotations

import numpy as np
import torch
from numpy import ndarray
from scipy.special import xlogy
from scipy.stats import chi2

from dyninfer.data.paths import Paths
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.posterior.result import JumpResult
from dyninfer.learning.warn import warn

# Of data without any memory, one set in a thousand gains more by rates.
_CHANCE = 1e-3


def warn_without_memory(
    result: JumpResult, paths: Paths, data: HiddenPaths | None, is_exact: bool
) -> None:
    """Warn where a fit explains the data hardly better than independent observations do.

    Then the gaps are longer than the process remembers: its shares are known, and of its rates
    only that they are not much slower than that.

    Parameters
    ----------
    result : JumpResult
        The fit; of a network alone there is no likelihood to compare.
    paths : Paths
        Labels or numbers, those of the states numbered like the states.
    data : HiddenPaths, optional
        Numbers, prepared.
    is_exact : bool
        Whether labels are exact: their likelihood leaves out the first of every path.
    """
    if result.fit is None:
        return
    if paths.discrete:
        shares = _shares(FlatLabels.of(paths), is_exact)
        parts = shares / shares.sum()
        terms = xlogy(shares, parts)
        independent = float(terms.sum())
        n_seen = int(np.count_nonzero(shares))
    else:
        assert data is not None
        independent = _mixture_log_likelihood(result, data)
        n_seen = len(result.initial)
    # Of one label alone there is nothing to remember.
    if n_seen < 2:
        return
    n_shares = len(result.initial) - 1
    n_parameters = result.fit.theta.shape[-1]
    n_more = max(n_parameters - n_shares, 1)
    by_chance = chi2.isf(_CHANCE, n_more) / 2
    gain = float(result.fit.log_likelihood) - independent
    if gain < by_chance:
        warn(
            f"the observations are equally likely without any memory (rates gain "
            f"{gain:.1f} in log-likelihood, chance alone up to {by_chance:.1f}): the gaps are too "
            "long, or too few, to tell the rates, and their intervals are too narrow; observe at "
            "shorter gaps",
            UserWarning,
        )


def _shares(flat: FlatLabels, without_first: bool) -> ndarray:
    """How often each label was observed; without the first of every path where asked."""
    counts = flat.counts
    if without_first:
        counts = counts - flat.count_first(len(counts))
    return counts


@torch.no_grad()
def _mixture_log_likelihood(result: JumpResult, data: HiddenPaths) -> float:
    """Log-likelihood if every state was drawn anew, by the shares that the fit found."""
    model = result.generator, result.emission, result.initial
    chances = data.smooth(*model)
    is_observed = data.mask.flatten(2).any(-1)
    shares = chances[is_observed].mean(0)
    log_e = result.emission.log_prob(data.observed, data.mask)
    joint = log_e[is_observed] + shares.log()
    return float(joint.logsumexp(-1).sum())
