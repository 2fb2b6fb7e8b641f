"""A network that reads counts of transitions and says which generators may have made them.

The same weights read any number of states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.jumps.likelihood.statistics import COARSE_BINS, CoarseStatistics

COMPONENTS = 3
_FEATURES_PER_BIN, _FEATURES_PER_STATE = 6, 3
# Of both states of a pair, of the whole process (2), and whether the two states are one.
_PAIR_FEATURES = _FEATURES_PER_BIN * COARSE_BINS + 2 * _FEATURES_PER_STATE + 2 + 1
# Of the series of a matrix logarithm.
_TERMS = 8
# Range of the standard deviation of the logarithm of a rate: from 2 % to a factor of e.
_LOG_STD = (-4.0, 1.0)
# Range of the standard deviation of the logit of the chance of a wrong label.
_NOISE_LOG_STD = (-3.0, 1.5)
# Where the logit of that chance starts: 2 % wrong labels.
_NOISE_START = -4.0
# Range of the logarithm of a rate times `tau`, beyond which the exponential would drown all others.
_LOG_POINT = (-15.0, 6.0)


@dataclass(frozen=True, eq=False)
class JumpBelief:
    """What the network believes of a batch of processes, in units of ``tau``.

    Attributes
    ----------
    link : Tensor, ``(..., S, S)``
        Logit of the probability that the jump happens at all.
    log_weight, mean, log_std : Tensor, ``(..., S, S, component)``
        Gaussian mixture of the logarithm of its rate times ``tau``, if it does.
    point : Tensor, ``(..., S, S)``
        Logarithm of the rate times ``tau`` with the least expected squared error, the chance that
        there is none included.
    initial : Tensor, ``(..., S)``
        Log-probabilities of the first state.
    noise_mean, noise_log_std : Tensor, ``(...)``
        Normal distribution of the logit of the chance of a wrong label, if there are wrong labels.
    clean : Tensor, ``(...)``
        Logit of the probability that no label is wrong.
    """

    link: Tensor
    log_weight: Tensor
    mean: Tensor
    log_std: Tensor
    point: Tensor
    initial: Tensor
    noise_mean: Tensor
    noise_log_std: Tensor
    clean: Tensor

    def point_rates(self) -> Tensor:
        """Rates times ``tau`` ``(..., S, S)`` with the least expected squared error; diagonal 0."""
        n_states = self.point.shape[-1]
        return self.point.exp() * (1 - torch.eye(n_states, device=self.point.device))

    def log_density(self, log_rate: Tensor) -> Tensor:
        """Log-density ``(..., S, S)`` of logarithms of rates times ``tau``, if jumps happen."""
        z = (log_rate[..., None] - self.mean) / self.log_std.exp()
        log_normal = -0.5 * z.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weight + log_normal, dim=-1)


class PairFeatures(NamedTuple):
    """What the network is told of ordered pairs of states."""

    features: Tensor  # (..., S, S, feature)
    observed: Tensor  # (..., S, S, bin) whether there are any pairs a gap of this bin apart
    log_rate: Tensor  # (..., S, S, bin) classical estimate of the logarithm of the rate times `tau`


class PairNetwork(nn.Module):
    r"""Tokens of ordered pairs of states, updated by products of matrices of features.

    .. math:: e_{ij} \leftarrow e_{ij} + g\,W \tfrac1S \sum_k a_{ik} \odot b_{kj}, \qquad
        e_{ij} \leftarrow e_{ij} + \mathrm{MLP}[e_{ij}, e_{ji}, \bar e_{i\cdot}, \bar e_{\cdot j}]

    Products can form powers of a matrix, and so its logarithm. Nothing depends on the order of
    the states, so that relabelling them relabels the answer, and any number of states is read by
    the same weights.

    Parameters
    ----------
    width : int
        Features of a token.
    depth : int
        Number of layers.
    """

    def __init__(self, width: int = 40, depth: int = 4):
        super().__init__()
        self.width, self.depth = width, depth
        self.embed = nn.Sequential(
            nn.Linear(_PAIR_FEATURES, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.layers = nn.ModuleList(PairLayer(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pair_head = _head(width, 3 + 4 * COMPONENTS + COARSE_BINS)
        self.state_head = _head(3 * width, 1)
        self.noise_head = _head(2 * width, 3)

    def forward(self, statistics: CoarseStatistics) -> JumpBelief:
        """Beliefs of the processes ``(...)`` of a batch that shares its number of states."""
        shape, n_states = statistics.steps.shape, statistics.counts.shape[-1]
        pairs = pair_features(statistics)
        token = self.embed(pairs.features.reshape(-1, n_states, n_states, _PAIR_FEATURES))
        for layer in self.layers:
            token = layer(token)
        token = self.norm(token)
        own = torch.diagonal(token, dim1=1, dim2=2).mT
        state = torch.cat([own, token.mean(2), token.mean(1)], dim=-1)
        whole = torch.cat([own.mean(1), token.mean((1, 2))], dim=-1)
        parts = self._belief_of_pairs(token, pairs) | self._belief_of_noise(whole)
        parts["initial"] = self.state_head(state)[..., 0].log_softmax(-1)
        return JumpBelief(**{k: v.reshape(shape + v.shape[1:]) for k, v in parts.items()})

    def _belief_of_pairs(self, token: Tensor, pairs: PairFeatures) -> dict[str, Tensor]:
        sizes = (1, COMPONENTS, COMPONENTS, COMPONENTS, COMPONENTS, 2, COARSE_BINS)
        outputs = self.pair_head(token).split(sizes, dim=-1)
        link, weight, mean, log_std, trust, point, choice = outputs
        # A mixture of classical estimates, corrected as far as the network does not trust it.
        observed = pairs.observed.reshape(-1, *pairs.observed.shape[-3:])
        log_rate = pairs.log_rate.reshape(-1, *pairs.log_rate.shape[-3:])
        share = choice.masked_fill(~observed, -1e9).softmax(-1)
        classical = (share * log_rate).sum(-1, keepdim=True)
        # Components start apart, or they would all learn the same.
        start = torch.arange(COMPONENTS, device=mean.device) - (COMPONENTS + 1) / 2
        point_trust, point_shift = point.split(1, dim=-1)
        log_point = point_trust.sigmoid() * classical + point_shift - 1
        return {
            "link": link[..., 0],
            "log_weight": weight.log_softmax(-1),
            "mean": trust.sigmoid() * classical + mean + start,
            "log_std": _between(log_std, *_LOG_STD),
            "point": log_point[..., 0].clamp(*_LOG_POINT),
        }

    def _belief_of_noise(self, whole: Tensor) -> dict[str, Tensor]:
        mean, log_std, clean = self.noise_head(whole).unbind(-1)
        return {
            "noise_mean": mean + _NOISE_START,
            "noise_log_std": _between(log_std, *_NOISE_LOG_STD),
            "clean": clean,
        }


class PairLayer(nn.Module):
    """An update of tokens by a product of matrices, and one by those of row and column."""

    def __init__(self, width: int):
        super().__init__()
        self.before_product, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.factors = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.gate = nn.Parameter(torch.full((width,), 0.5))
        self.mlp = nn.Sequential(
            nn.Linear(4 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, token: Tensor) -> Tensor:
        """Update tokens ``(batch, S, S, width)``."""
        a, b = self.factors(self.before_product(token)).movedim(-1, 1).chunk(2, dim=1)
        product = (a.contiguous() @ b.contiguous()) / token.shape[1]
        token = token + self.gate * self.out(product.movedim(1, -1))
        x = self.before_mlp(token)
        rows = x.mean(2, keepdim=True).expand_as(x)
        columns = x.mean(1, keepdim=True).expand_as(x)
        return token + self.mlp(torch.cat([x, x.transpose(1, 2), rows, columns], dim=-1))


def pair_features(statistics: CoarseStatistics) -> PairFeatures:
    """Features of ordered pairs of states; none depends on the unit of time.

    With them, for every bin of gaps, the classical estimate of the rate times ``tau``: the
    logarithm of the matrix of shares.
    """
    counts, n_states = statistics.counts, statistics.counts.shape[-1]
    shape = (*counts.shape[:-3], n_states, n_states)
    log_gap = statistics.log_gap[..., None, None].expand_as(counts)
    observed = (counts.sum((-1, -2), keepdim=True) > 0).to(counts).expand_as(counts)
    log_rate = _classical_log_rate(counts, log_gap) * observed
    by_bin = _features_of_bins(counts, log_gap, observed, log_rate)
    by_state = _features_of_states(statistics)
    whole = _features_of_process(statistics)[..., None, None, :]
    same = torch.eye(n_states, device=counts.device, dtype=counts.dtype)[..., None]
    parts = [
        by_bin.movedim(-4, -2).flatten(-2),
        by_state[..., :, None, :].expand(*shape, _FEATURES_PER_STATE),
        by_state[..., None, :, :].expand(*shape, _FEATURES_PER_STATE),
        whole.expand(*shape, 2),
        same.expand(*shape, 1),
    ]
    return PairFeatures(
        torch.cat(parts, dim=-1), observed.movedim(-3, -1) > 0, log_rate.movedim(-3, -1)
    )


def _classical_log_rate(counts: Tensor, log_gap: Tensor) -> Tensor:
    """Logarithm of the estimate ``log(P) / gap`` ``(..., bin, S, S)``."""
    n_states, row = counts.shape[-1], counts.sum(-1, keepdim=True)
    # Half a count is spread over a row, so that no share is zero.
    logarithm = _series_logarithm((counts + 0.5 / n_states) / (row + 0.5))
    # Where none was counted, a fifth of a jump: the logarithm of the share may be negative there.
    return torch.maximum(logarithm, 0.2 / (row + 1)).log() - log_gap


def _features_of_bins(
    counts: Tensor, log_gap: Tensor, observed: Tensor, log_rate: Tensor
) -> Tensor:
    """Features ``(..., bin, S, S, 6)``; the divisors bring each to size one over the training."""
    n_states, row = counts.shape[-1], counts.sum(-1, keepdim=True)
    log_share = ((counts + 0.5) / (row + 0.5 * n_states)).log()
    features = [
        torch.log1p(counts) / 4,
        counts / row.clamp(min=1),
        log_share * observed / 2,
        (log_share - log_gap) * observed / 4,
        log_rate / 4,
        log_gap / 2 + observed,
    ]
    return torch.stack(features, dim=-1)


def _features_of_states(statistics: CoarseStatistics) -> Tensor:
    """Share and number of visits, and share of starts: ``(..., S, 3)``."""
    visits = statistics.counts.sum((-1, -3))
    starts = statistics.starts
    features = [
        visits / visits.sum(-1, keepdim=True).clamp(min=1),
        starts / starts.sum(-1, keepdim=True).clamp(min=1),
        torch.log1p(visits) / 4,
    ]
    return torch.stack(features, dim=-1)


def _features_of_process(statistics: CoarseStatistics) -> Tensor:
    """Numbers of changes and of paths ``(..., 2)``."""
    n_paths = statistics.starts.sum(-1)
    features = [torch.log1p(statistics.changes) / 4, torch.log1p(n_paths) / 4]
    return torch.stack(features, dim=-1)


def _series_logarithm(p: Tensor) -> Tensor:
    """First terms of ``log P = −Σ_k (I − P)^k / k``."""
    away = torch.eye(p.shape[-1], device=p.device, dtype=p.dtype) - p
    total = away / _TERMS
    for k in range(_TERMS - 1, 0, -1):
        total = away / k + away @ total
    return -total


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.SiLU(), nn.Linear(inputs, outputs))


def _between(x: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.sigmoid(x)
