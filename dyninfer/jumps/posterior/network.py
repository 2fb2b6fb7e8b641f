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
    least = ABSENT / dwell_time
    rates = torch.maximum(draws, least.unsqueeze(1))
    posterior = DrawnPosterior(
        generator=estimate.generator,
        draws=with_diagonal(rates),
        detectable=1 / dwell_time,
        kind="network",
    )
    one_row = {"start": "network", "step": 0, "converged": True}
    history = pd.DataFrame([one_row])
    # The network works in single precision: its shares sum to one but for that.
    initial = estimate.initial / estimate.initial.sum()
    return JumpResult(
        generator=estimate.generator,
        initial=initial,
        emission=LabelNoise.uniform(n_states, error_rate),
        history=history,
        posterior=posterior,
    )
