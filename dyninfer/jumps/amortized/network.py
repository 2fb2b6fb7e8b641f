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
from dyninfer.jumps.process.chain import identity, is_diagonal

COMPONENTS = 3
_FEATURES_PER_BIN = 6
_FEATURES_PER_STATE = 3
# Of both states of a pair, of the whole process (2), and whether the two states are one.
_PAIR_FEATURES = _FEATURES_PER_BIN * COARSE_BINS + 2 * _FEATURES_PER_STATE + 2 + 1
# Outputs for a pair: its link; weight, mean, deviation of the components and trust in the classical
# estimate; trust and shift of the point estimate; a choice among the bins' classical estimates.
_PAIR_OUTPUTS = (1, COMPONENTS, COMPONENTS, COMPONENTS, COMPONENTS, 2, COARSE_BINS)
_LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)
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
        is_own = is_diagonal(self.point)
        return self.point.exp() * ~is_own

    def log_density(self, log_rate: Tensor) -> Tensor:
        """Log-density ``(..., S, S)`` of logarithms of rates times ``tau``, if jumps happen."""
        deviation = log_rate.unsqueeze(-1) - self.mean
        z = deviation / self.log_std.exp()
        exponent = -z.square() / 2
        log_normal = exponent - self.log_std - _LOG_ROOT_2_PI
        log_joint = self.log_weight + log_normal
        return log_joint.logsumexp(-1)


class PairFeatures(NamedTuple):
    """What the network reads about ordered pairs of states."""

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
    reads_exact : bool
        Whether it can be told that no label is wrong.
    """

    def __init__(self, width: int = 40, depth: int = 4, reads_exact: bool = False):
        super().__init__()
        self.width = width
        self.depth = depth
        self.reads_exact = reads_exact
        if reads_exact:
            # Zero at first, so that weights of a network that is told nothing can be gone on from.
            self.told = nn.Parameter(torch.zeros(width))
        self.embed = _perceptron(_PAIR_FEATURES, 2 * width, width)
        layers = [PairLayer(width) for _ in range(depth)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        n_outputs = sum(_PAIR_OUTPUTS)
        self.pair_head = _perceptron(width, width, n_outputs)
        self.state_head = _perceptron(3 * width, 3 * width, 1)
        self.noise_head = _perceptron(2 * width, 2 * width, 3)

    def forward(self, statistics: CoarseStatistics, exact: Tensor | None = None) -> JumpBelief:
        """Beliefs of the processes ``(...)`` of a batch that shares its number of states.

        ``exact`` ``(...)`` bool says of which it is known that no label is wrong.
        """
        batch_shape = statistics.steps.shape
        pairs = pair_features(statistics)
        own_shape = pairs.features.shape[-3:]
        features = pairs.features.reshape(-1, *own_shape)
        token = self.embed(features)
        if exact is not None:
            is_told = exact.reshape(-1, 1, 1, 1).to(token)
            token = token + is_told * self.told
        for layer in self.layers:
            token = layer(token)
        token = self.norm(token)
        of_pairs = self._belief_of_pairs(token, pairs)
        of_states = self._belief_of_states(token)
        fields = of_pairs | of_states
        for name, value in fields.items():
            shape = batch_shape + value.shape[1:]
            fields[name] = value.reshape(shape)
        return JumpBelief(**fields)

    def _belief_of_pairs(self, token: Tensor, pairs: PairFeatures) -> dict[str, Tensor]:
        outputs = self.pair_head(token)
        parts = outputs.split(_PAIR_OUTPUTS, dim=-1)
        link, weight, shift, log_std, trust, point, choice = parts
        # A mixture of classical estimates, corrected as far as the network does not trust it.
        classical = _mixed_log_rate(choice, pairs)
        # Components start apart, or they would all learn the same.
        number = torch.arange(COMPONENTS, device=token.device)
        start = number - (COMPONENTS + 1) / 2
        trusted = trust.sigmoid() * classical
        mean = trusted + shift + start
        point_trust, point_shift = point.split(1, dim=-1)
        trusted_point = point_trust.sigmoid() * classical
        log_point = trusted_point + point_shift - 1
        log_point = log_point.clamp(*_LOG_POINT)
        return {
            "link": link.squeeze(-1),
            "log_weight": weight.log_softmax(-1),
            "mean": mean,
            "log_std": _between(log_std, *_LOG_STD),
            "point": log_point.squeeze(-1),
        }

    def _belief_of_states(self, token: Tensor) -> dict[str, Tensor]:
        """Belief about the first state, and about the noise of the whole process."""
        own = torch.diagonal(token, dim1=1, dim2=2).mT
        leaving = token.mean(2)
        entering = token.mean(1)
        state = torch.cat([own, leaving, entering], dim=-1)
        initial = self.state_head(state).squeeze(-1)
        of_states = own.mean(1)
        of_pairs = token.mean((1, 2))
        whole = torch.cat([of_states, of_pairs], dim=-1)
        outputs = self.noise_head(whole)
        mean, log_std, clean = outputs.unbind(-1)
        return {
            "initial": initial.log_softmax(-1),
            "noise_mean": mean + _NOISE_START,
            "noise_log_std": _between(log_std, *_NOISE_LOG_STD),
            "clean": clean,
        }


class PairLayer(nn.Module):
    """Updates tokens by a product of matrices, then from the tokens of their row and column."""

    def __init__(self, width: int):
        super().__init__()
        self.before_product = nn.LayerNorm(width)
        self.before_mlp = nn.LayerNorm(width)
        self.factors = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        half = torch.full((width,), 0.5)
        self.gate = nn.Parameter(half)
        self.mlp = _perceptron(4 * width, 2 * width, width)

    def forward(self, token: Tensor) -> Tensor:
        """Update tokens ``(batch, S, S, width)``."""
        product = self._product(self.before_product(token))
        change = self.out(product)
        token = token + self.gate * change
        x = self.before_mlp(token)
        rows = x.mean(2, keepdim=True).expand_as(x)
        columns = x.mean(1, keepdim=True).expand_as(x)
        reverse = x.transpose(1, 2)
        neighbours = torch.cat([x, reverse, rows, columns], dim=-1)
        return token + self.mlp(neighbours)

    def _product(self, x: Tensor) -> Tensor:
        """``1/S Σ_k a_ik ⊙ b_kj`` of linear maps ``a`` and ``b`` of the tokens."""
        n_states = x.shape[1]
        # Features first: a product of matrices for each of them.
        every_factor = self.factors(x)
        factors = every_factor.movedim(-1, 1)
        a, b = factors.chunk(2, dim=1)
        product = a.contiguous() @ b.contiguous()
        return product.movedim(1, -1) / n_states


def pair_features(statistics: CoarseStatistics) -> PairFeatures:
    """Features of ordered pairs of states; none depends on the unit of time.

    With them, for every bin of gaps, the classical estimate of the rate times ``tau``: the
    logarithm of the matrix of shares.
    """
    counts = statistics.counts
    bins = _bins_of(statistics)
    of_bins = _features_of_bins(bins)
    by_bin = of_bins.movedim(-4, -2)
    by_bin = by_bin.flatten(-2)
    by_state = _features_of_states(statistics)
    of_process = _features_of_process(statistics)
    is_same = identity(counts)
    others = [
        by_state.unsqueeze(-2),
        by_state.unsqueeze(-3),
        of_process[..., None, None, :],
        is_same.unsqueeze(-1),
    ]
    pair_shape = by_bin.shape[:-1]
    parts = [by_bin]
    for part in others:
        parts.append(part.expand(*pair_shape, -1))
    return PairFeatures(
        features=torch.cat(parts, dim=-1),
        observed=bins.observed.movedim(-3, -1) > 0,
        log_rate=bins.log_rate.movedim(-3, -1),
    )


class _Bins(NamedTuple):
    """Pairs of states in bins of gaps, ``(..., bin, S, S)`` each."""

    counts: Tensor
    log_gap: Tensor
    observed: Tensor  # 1 where the bin has any pair, else 0
    log_rate: Tensor  # 0 where it has none


def _bins_of(statistics: CoarseStatistics) -> _Bins:
    counts = statistics.counts
    log_gap = statistics.log_gap[..., None, None].expand_as(counts)
    pairs_in_bin = counts.sum((-1, -2), keepdim=True)
    has_pairs = pairs_in_bin > 0
    observed = has_pairs.to(counts).expand_as(counts)
    log_rate = _classical_log_rate(counts, log_gap)
    return _Bins(counts, log_gap, observed, log_rate * observed)


def _classical_log_rate(counts: Tensor, log_gap: Tensor) -> Tensor:
    """Logarithm of the estimate ``log(P) / gap`` ``(..., bin, S, S)``."""
    n_states = counts.shape[-1]
    row = counts.sum(-1, keepdim=True)
    # Half a count is spread over a row, so that no share is zero.
    smoothed = counts + 0.5 / n_states
    share = smoothed / (row + 0.5)
    # Where none was counted, a fifth of a jump: the logarithm of the share may be negative there.
    least = 0.2 / (row + 1)
    log_p = _series_logarithm(share)
    bounded = torch.maximum(log_p, least)
    return bounded.log() - log_gap


def _features_of_bins(bins: _Bins) -> Tensor:
    """Features ``(..., bin, S, S, 6)``; the divisors bring each to size one over the training."""
    counts = bins.counts
    n_states = counts.shape[-1]
    row = counts.sum(-1, keepdim=True)
    # Half a count for every state: a state without a count is not an impossible one.
    smoothed_row = row + 0.5 * n_states
    share = (counts + 0.5) / smoothed_row
    log_share = share.log() * bins.observed
    log_gap = bins.log_gap * bins.observed
    log_share_per_time = log_share - log_gap
    features = [
        torch.log1p(counts) / 4,
        _shares(counts),
        log_share / 2,
        log_share_per_time / 4,
        bins.log_rate / 4,
        bins.log_gap / 2 + bins.observed,
    ]
    return torch.stack(features, dim=-1)


def _features_of_states(statistics: CoarseStatistics) -> Tensor:
    """Share and number of visits, and share of starts: ``(..., S, 3)``."""
    visits = statistics.counts.sum((-1, -3))
    features = [
        _shares(visits),
        _shares(statistics.starts),
        torch.log1p(visits) / 4,
    ]
    return torch.stack(features, dim=-1)


def _shares(counts: Tensor) -> Tensor:
    """Shares ``(..., S)`` of counts; zeros where nothing was counted."""
    total = counts.sum(-1, keepdim=True)
    return counts / total.clamp(min=1)


def _features_of_process(statistics: CoarseStatistics) -> Tensor:
    """Numbers of changes and of paths ``(..., 2)``."""
    n_paths = statistics.starts.sum(-1)
    numbers = torch.stack([statistics.changes, n_paths], dim=-1)
    return torch.log1p(numbers) / 4


def _series_logarithm(p: Tensor) -> Tensor:
    """First terms of ``log P = −Σ_k (I − P)^k / k``."""
    away = identity(p) - p
    # Horner's rule, from the last term on.
    total = away / _TERMS
    for k in reversed(range(1, _TERMS)):
        power = away @ total
        total = away / k + power
    return -total


def _mixed_log_rate(choice: Tensor, pairs: PairFeatures) -> Tensor:
    """Mean of the bins' classical estimates with weights from ``choice``, ``(..., S, S, 1)``."""
    observed = pairs.observed.reshape(choice.shape)
    log_rate = pairs.log_rate.reshape(choice.shape)
    # Bins without any pair have no estimate.
    logits = choice.masked_fill(~observed, -1e9)
    weighted = logits.softmax(-1) * log_rate
    return weighted.sum(-1, keepdim=True)


def _perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden),
        nn.SiLU(),
        nn.Linear(hidden, outputs),
    )


def _between(x: Tensor, low: float, high: float) -> Tensor:
    """Any number, mapped into a range."""
    share = torch.sigmoid(x)
    return low + (high - low) * share
