"""What the network believes, as a distribution of log-rates that leaves every jump a chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.zero_shot import JumpEstimate
from dyninfer.jumps.likelihood.flat import FlatLabels
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.posterior.distributions import NormalMixtures
from dyninfer.jumps.process.chain import is_diagonal

ABSENT = 0.1  # jumps that one that never happens is taken to have made in all data
_WIDE_WEIGHT = 0.2  # of the wide component beside the network's belief
# The wide component of the logit of the chance of a wrong label: 2 %, within a factor of 50 or so.
_NOISE_CENTRE = math.log(0.02 / 0.98)
_NOISE_WIDTH = 2.0
# A state is given the time of so many changes at least, and counts as known from so many on.
_LEAST_CHANGES = 10.0


@dataclass(frozen=True, eq=False)
class NetworkBelief:
    """What a network believes of one process, and how much data there are in all.

    Attributes
    ----------
    estimate : JumpEstimate
        Of one process, perhaps from a part of the data.
    dwell_time : Tensor, ``(S,)``
        Time in every state, in all data.
    n_labels : int
        Labels in all data.
    noisy : bool
        Whether the logit of the label noise is one of the numbers, the last.
    """

    estimate: JumpEstimate
    dwell_time: Tensor
    n_labels: int
    noisy: bool

    @property
    def least_rates(self) -> Tensor:
        """Rates ``(S,)`` out of each state that the data could not tell from zero."""
        return ABSENT / self.dwell_time

    def rates(self) -> Tensor:
        """Estimated rates ``(S, S)``; an absent jump has one that no data could tell from zero."""
        least = self.least_rates.unsqueeze(1)
        return torch.maximum(self.estimate.rates, least)

    def distribution(self) -> NormalMixtures:
        """Belief of the log-rates of all jumps, row by row, and of the logit of the label noise.

        That a jump never happens, or that no label is wrong, is a narrow component at a rate that
        the data could not tell from zero: a tenth of a jump, or of a wrong label, in all of them.
        """
        rates = self._of_rates()
        if not self.noisy:
            return rates
        noise = self._of_noise(n_components=rates.mean.shape[1])
        return NormalMixtures(
            log_weight=torch.cat([rates.log_weight, noise.log_weight]),
            mean=torch.cat([rates.mean, noise.mean]),
            std=torch.cat([rates.std, noise.std]),
        )

    def soft_prior(self, width: float) -> NormalMixtures:
        """The belief mixed with a wide normal distribution, for what the network never saw.

        Outside of what the network was trained on the wide one stands alone: one jump per ``tau``
        shared out between the targets, with the standard deviation ``width``.
        """
        belief = self.distribution()
        n_targets = len(self.dwell_time) - 1
        n_numbers = len(belief.mean)
        centre = -(self.estimate.tau * n_targets).log()
        mean = centre.repeat(n_numbers)
        std = torch.full_like(mean, width)
        if self.noisy:
            mean[-1] = _NOISE_CENTRE
            std[-1] = _NOISE_WIDTH
        weight = _WIDE_WEIGHT
        if self.estimate.outside:
            weight = 1.0
        return belief.mixed(weight, mean, std)

    def doubtful(self, margin: float = 0.02) -> Tensor:
        """Jumps ``(E,)`` bool, row by row, of which the network is unsure whether they happen."""
        chance = self.estimate.link_probability[_off_diagonal(self.dwell_time)]
        return (chance > margin) & (chance < 1 - margin)

    def _of_rates(self) -> NormalMixtures:
        """Log-rates ``(E,)``: the components of a jump that happens, and one that it does not."""
        belief = self.estimate.belief
        off = _off_diagonal(self.dwell_time)
        link = belief.link[off].unsqueeze(1)
        log_weight = belief.log_weight[off] + logsigmoid(link)
        # The network believes in rates times tau, the mean time between observed changes.
        log_tau = self.estimate.tau.log()
        mean = belief.mean[off] - log_tau
        std = belief.log_std[off].exp()
        source, _ = off.nonzero(as_tuple=True)
        log_least = self.least_rates.log()
        absent_mean = log_least[source].unsqueeze(1)
        absent_std = torch.ones_like(absent_mean)
        return NormalMixtures(
            log_weight=torch.cat([log_weight, logsigmoid(-link)], dim=1),
            mean=torch.cat([mean, absent_mean], dim=1),
            std=torch.cat([std, absent_std], dim=1),
        )

    def _of_noise(self, n_components: int) -> NormalMixtures:
        """Logit of the label noise: the first component if there is any, the last if none."""
        belief = self.estimate.belief
        shape = 1, n_components
        log_weight = self.dwell_time.new_full(shape, -torch.inf)
        mean = torch.zeros_like(log_weight)
        std = torch.ones_like(log_weight)
        log_weight[0, 0] = logsigmoid(-belief.clean)
        log_weight[0, -1] = logsigmoid(belief.clean)
        log_absent = math.log(ABSENT / self.n_labels)
        mean[0, 0] = belief.noise_mean
        mean[0, -1] = log_absent
        std[0, 0] = belief.noise_log_std.exp()
        return NormalMixtures(log_weight, mean, std)


def dwell_times(statistics: JumpStatistics) -> Tensor:
    """Observed time ``(S,)`` shared out by the labels observed.

    A state hardly ever observed is given the time of ten changes.
    """
    n_labels = statistics.counts.sum((-1, -3))
    share = n_labels / n_labels.sum()
    least = _LEAST_CHANGES * statistics.tau
    return torch.maximum(statistics.span * share, least)


def hardly_left(paths: Paths, n_states: int, error_rate: float) -> Tensor:
    """States ``(S,)`` bool left less than ten times, not counting what wrong labels explain."""
    flat = FlatLabels.of(paths)
    n_departures = np.bincount(flat.departures(), minlength=n_states)
    # A wrong label is left again; each state is the wrong one alike.
    n_others = n_states - 1
    n_labels = len(flat.labels)
    n_wrong = error_rate * n_labels / n_others
    is_hardly_left = n_departures - n_wrong < _LEAST_CHANGES
    return torch.from_numpy(is_hardly_left)


def _off_diagonal(of_states: Tensor) -> Tensor:
    """Which entries ``(S, S)`` bool are jumps between two states."""
    return ~is_diagonal(of_states)
