"""Generators at first sight, as a result like that of a fit."""

from __future__ import annotations

import pandas as pd
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.zero_shot import infer
from dyninfer.jumps.likelihood.observation import LabelNoise
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.posterior.network_prior import ABSENT, dwell_times
from dyninfer.jumps.posterior.result import N_DRAWS, DrawnPosterior, JumpResult
from dyninfer.jumps.process import with_diagonal
from dyninfer.learning.random import subseed


def read_by_network(paths: Paths, n_states: int, noisy: bool, seed: int) -> JumpResult:
    """One pass of the network over counted transitions; nothing is fitted.

    Parameters
    ----------
    paths : Paths
        Labels, with states numbered below ``n_states``.
    n_states : int
        Number of states S.
    noisy : bool
        Whether labels may be wrong.
    seed : int
        Fixes the draws.
    """
    statistics = JumpStatistics.of(paths, n_states)
    estimate = infer(statistics)
    dwell_time = dwell_times(statistics)
    error_rate = estimate.noise if noisy else 0.0
    # A rate of zero would cut states off from each other: an absent jump has one that no data could
    # tell from it.
    draws = estimate.sample(N_DRAWS, subseed(seed, "network"))
    draws = torch.maximum(draws, ABSENT / dwell_time[:, None])
    posterior = DrawnPosterior(
        estimate.generator, with_diagonal(draws), detectable=1 / dwell_time, kind="network"
    )
    return JumpResult(
        generator=estimate.generator,
        initial=estimate.initial / estimate.initial.sum(),
        emission=LabelNoise.uniform(n_states, error_rate),
        history=pd.DataFrame({"start": ["network"], "step": [0], "converged": [True]}),
        posterior=posterior,
    )
