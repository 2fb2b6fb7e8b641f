"""A network that reads counts of transitions and says which generators may have made them, for any number of states."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dyninfer.jumps.likelihood.statistics import COARSE_BINS, CoarseStatistics

COMPONENTS = 3
_PAIR_FEATURES = 6 * COARSE_BINS + 9
_TERMS = 8  # of the series of a matrix logarithm
_LOG_STD = (-4.0, 1.0)  # of a logarithm of a rate: from 2 % to a factor of e


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
        Logarithm of the rate times ``tau`` with the least expected squared error, the chance that there is none included.
    initial : Tensor, ``(..., S)``
        Log-probabilities of the first state.
    noise_mean, noise_log_std : Tensor, ``(...)``
        Normal law of the logit of the chance of a wrong label, if there are wrong labels.
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
        n = self.point.shape[-1]
        return self.point.exp() * (1 - torch.eye(n, device=self.point.device))

    def log_density(self, log_rate: Tensor) -> Tensor:
        """Log-density ``(..., S, S)`` of the logarithms of rates times ``tau``, of jumps that happen."""
        z = (log_rate[..., None] - self.mean) / self.log_std.exp()
        log_normal = -0.5 * z.square() - self.log_std - 0.5 * math.log(2 * math.pi)
        return torch.logsumexp(self.log_weight + log_normal, dim=-1)


class PairNetwork(nn.Module):
    r"""Tokens of ordered pairs of states, updated by products of matrices of features.

    .. math:: e_{ij} \leftarrow e_{ij} + g\,W \tfrac1S \sum_k a_{ik} \odot b_{kj}, \qquad
        e_{ij} \leftarrow e_{ij} + \mathrm{MLP}[e_{ij}, e_{ji}, \bar e_{i\cdot}, \bar e_{\cdot j}]

    Products can form powers of a matrix, and so its logarithm. Nothing depends on the order of the states, so that
    relabelling them relabels the answer, and any number of states is read by the same weights.

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
        """Believe something of every process ``(...)`` of a batch that shares its number of states."""
        shape = statistics.steps.shape
        n = statistics.counts.shape[-1]
        features, classical = pair_features(statistics)
        token = self.embed(features.reshape(-1, n, n, _PAIR_FEATURES))
        for layer in self.layers:
            token = layer(token)
        token = self.norm(token)
        own = torch.diagonal(token, dim1=1, dim2=2).mT
        state = torch.cat([own, token.mean(2), token.mean(1)], dim=-1)
        pair = self.pair_head(token)
        sizes = (1, COMPONENTS, COMPONENTS, COMPONENTS, COMPONENTS, 2, COARSE_BINS)
        link, weight, mean, log_std, trust, point, choice = pair.split(sizes, dim=-1)
        held, estimates = (x.reshape(-1, *x.shape[-3:]) for x in classical)
        base = (choice.masked_fill(~held, -1e9).softmax(-1) * estimates).sum(-1, keepdim=True)
        start = torch.arange(COMPONENTS, device=mean.device) - (COMPONENTS + 1) / 2
        noise = self.noise_head(torch.cat([own.mean(1), token.mean((1, 2))], dim=-1))
        beliefs = JumpBelief(
            link=link[..., 0],
            log_weight=weight.log_softmax(-1),
            mean=trust.sigmoid() * base + mean + start,
            log_std=_between(log_std, *_LOG_STD),
            point=(point[..., :1].sigmoid() * base + point[..., 1:] - 1)[..., 0].clamp(-15, 6),
            initial=self.state_head(state)[..., 0].log_softmax(-1),
            noise_mean=noise[..., 0] - 4.0,
            noise_log_std=_between(noise[..., 1], -3.0, 1.5),
            clean=noise[..., 2],
        )
        return JumpBelief(**{k: v.reshape(shape + v.shape[1:]) for k, v in vars(beliefs).items()})


class PairLayer(nn.Module):
    """One update of all tokens by a product of matrices, and one by their neighbours in row and column."""

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
        rows, columns = x.mean(2, keepdim=True).expand_as(x), x.mean(1, keepdim=True).expand_as(x)
        return token + self.mlp(torch.cat([x, x.transpose(1, 2), rows, columns], dim=-1))


def pair_features(statistics: CoarseStatistics) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Features ``(..., S, S, feature)`` of ordered pairs of states; none depends on the unit of time.

    With them, for every bin of gaps, whether there are any and the logarithm of the classical estimate of the rate
    times ``tau``, by the logarithm of the matrix of shares: each ``(..., S, S, bin)``.
    """
    counts, n = statistics.counts, statistics.counts.shape[-1]
    row = counts.sum(-1, keepdim=True)
    log_gap = statistics.log_gap[..., None, None].expand_as(counts)
    held = (counts.sum((-1, -2), keepdim=True) > 0).to(counts).expand_as(counts)
    share = counts / row.clamp(min=1)
    log_share = ((counts + 0.5) / (row + 0.5 * n)).log()
    logarithm = _series_logarithm((counts + 0.5 / n) / (row + 0.5))
    classical = (torch.maximum(logarithm, 0.2 / (row + 1)).log() - log_gap) * held
    by_bin = torch.stack(
        [
            torch.log1p(counts) / 4,
            share,
            log_share * held / 2,
            (log_share - log_gap) * held / 4,
            classical / 4,
            log_gap / 2 + held,
        ],
        dim=-1,
    )
    occupied = counts.sum((-1, -3))
    first = statistics.starts / statistics.starts.sum(-1, keepdim=True).clamp(min=1)
    paths = statistics.starts.sum(-1)
    of_state = torch.stack(
        [
            occupied / occupied.sum(-1, keepdim=True).clamp(min=1),
            first,
            torch.log1p(occupied) / 4,
        ],
        dim=-1,
    )
    shape = (*counts.shape[:-3], n, n)
    whole = torch.stack([torch.log1p(statistics.changes) / 4, torch.log1p(paths) / 4], dim=-1)[
        ..., None, None, :
    ].expand(*shape, 2)
    same = torch.eye(n, device=counts.device, dtype=counts.dtype)[..., None].expand(*shape, 1)
    features = torch.cat(
        [
            by_bin.movedim(-4, -2).flatten(-2),
            of_state[..., :, None, :].expand(*shape, 3),
            of_state[..., None, :, :].expand(*shape, 3),
            whole,
            same,
        ],
        dim=-1,
    )
    return features, (held.movedim(-3, -1) > 0, classical.movedim(-3, -1))


def _series_logarithm(p: Tensor) -> Tensor:
    """First terms of ``log P = −Σ_k (I − P)^k / k``."""
    away = torch.eye(p.shape[-1], device=p.device, dtype=p.dtype) - p
    total = away / _TERMS
    for k in range(_TERMS - 1, 0, -1):
        total = away / k + away @ total
    return -total


def belief_loss(
    belief: JumpBelief, rates: Tensor, initial: Tensor, noise: Tensor
) -> dict[str, Tensor]:
    """Negative log-likelihoods of the truth, each a mean over the batch.

    Parameters
    ----------
    belief : JumpBelief
        Of a batch ``(batch,)``.
    rates : Tensor, ``(batch, S, S)``
        True rates in units of ``1 / tau``.
    initial : Tensor, ``(batch, S)``
        True law of the first state.
    noise : Tensor, ``(batch,)``
        True chance of a wrong label.

    Returns
    -------
    dict
        ``link`` and ``rate`` in nats per jump, ``point`` the squared error of all rates over their mean square,
        ``initial`` in nats per process above the entropy, ``noise`` in nats.
    """
    n = rates.shape[-1]
    off = ~torch.eye(n, dtype=torch.bool, device=rates.device)
    exists = rates > 0
    log_rate = torch.where(exists, rates, 1.0).log()
    link = nn.functional.binary_cross_entropy_with_logits(
        belief.link, exists.to(rates), reduction="none"
    )
    rate = torch.where(exists, -belief.log_density(log_rate), 0.0)
    error = (belief.point_rates() - rates).square().sum((-1, -2)) / rates.square().sum(
        (-1, -2)
    ).clamp(min=1e-12)
    surprise = (initial * (torch.where(initial > 0, initial, 1.0).log() - belief.initial)).sum(-1)
    noisy = noise > 0
    logit = torch.logit(torch.where(noisy, noise, 0.5), eps=1e-6)
    z = (logit - belief.noise_mean) / belief.noise_log_std.exp()
    level = torch.where(noisy, 0.5 * z.square() + belief.noise_log_std, 0.0)
    is_clean = nn.functional.binary_cross_entropy_with_logits(
        belief.clean, (~noisy).to(rates), reduction="none"
    )
    return {
        "link": link[:, off].mean(),
        "rate": rate[:, off].mean(),
        "point": error.clamp(max=10).mean(),
        "initial": surprise.mean(),
        "noise": (level + is_clean).mean(),
    }


def _head(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, inputs), nn.SiLU(), nn.Linear(inputs, outputs))


def _between(x: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * torch.sigmoid(x)
