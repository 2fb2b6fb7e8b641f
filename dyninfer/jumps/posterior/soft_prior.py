"""Laws of log-rates that leave every jump a chance: what a network believes, as a prior or to draw from."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dyninfer.jumps.amortized.zero_shot import JumpEstimate

ABSENT = 0.1  # jumps that one that never happens is taken to have made in all data
_WIDE_WEIGHT = 0.2
_NOISE_CENTRE, _NOISE_WIDTH = math.log(0.02 / 0.98), 2.0


@dataclass(frozen=True, eq=False)
class MixtureLaw:
    """Independent numbers, each with a mixture of normal laws.

    Attributes
    ----------
    log_weight, mean, std : Tensor, ``(p, component)`` float64
        Log-weights sum to one in their exponentials; −inf leaves a component out.
    """

    log_weight: Tensor
    mean: Tensor
    std: Tensor

    def log_density(self, x: Tensor) -> Tensor:
        """Log-density ``(...)`` of ``x`` ``(..., p)``."""
        z = (x[..., None] - self.mean) / self.std
        log_normal = -0.5 * z.square() - (self.std * math.sqrt(2 * math.pi)).log()
        return torch.logsumexp(self.log_weight + log_normal, dim=-1).sum(-1)

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws ``(n, p)``."""
        p = len(self.mean)
        chosen = torch.multinomial(
            self.log_weight.exp(), n, replacement=True, generator=generator
        ).T
        z = torch.randn(n, p, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        row = torch.arange(p, device=z.device)
        return self.mean[row, chosen] + self.std[row, chosen] * z

    def part(self, chosen: Tensor) -> MixtureLaw:
        """Law of the numbers at ``chosen`` ``(p,)`` bool."""
        return MixtureLaw(self.log_weight[chosen], self.mean[chosen], self.std[chosen])

    def mixed(self, weight: float, mean: Tensor, std: Tensor) -> MixtureLaw:
        """The same with another component, ``mean`` and ``std`` ``(p,)``, of this weight between 0 and 1."""
        share = torch.tensor([1 - weight, weight], dtype=mean.dtype, device=mean.device).log()
        added = share[1].expand(len(mean), 1)
        return MixtureLaw(
            torch.cat([self.log_weight + share[0], added], dim=1),
            torch.cat([self.mean, mean[:, None]], dim=1),
            torch.cat([self.std, std[:, None]], dim=1),
        )


def belief_law(estimate: JumpEstimate, spent: Tensor, n_labels: int, noisy: bool) -> MixtureLaw:
    """What a network believes of the log-rates of all jumps, row by row, and then of the logit of the label noise.

    That a jump never happens, or that no label is wrong, is a narrow component at a rate that the data could not
    tell from zero: a tenth of a jump, or of a wrong label, in all of them.

    Parameters
    ----------
    estimate : JumpEstimate
        Of one process.
    spent : Tensor, ``(S,)``
        Time in every state, in all data.
    n_labels : int
        Labels in all data.
    noisy : bool
        Whether the label noise is one of the numbers, the last.
    """
    b, n = estimate.belief, len(spent)
    off = ~torch.eye(n, dtype=torch.bool, device=spent.device)
    link, ones = (
        b.link[off][:, None],
        torch.ones(n * (n - 1), 1, dtype=torch.float64, device=spent.device),
    )
    absent = (ABSENT / spent).log()[:, None].expand(n, n)[off][:, None]
    weight = torch.cat([logsigmoid(link) + b.log_weight[off], logsigmoid(-link)], dim=1)
    mean = torch.cat([b.mean[off] - estimate.tau.log(), absent], dim=1)
    std = torch.cat([b.log_std[off].exp(), ones], dim=1)
    if noisy:
        unused = torch.full(
            (weight.shape[1] - 2,), -torch.inf, dtype=torch.float64, device=spent.device
        )
        clean = math.log(ABSENT / n_labels)
        ends = torch.stack([logsigmoid(-b.clean), logsigmoid(b.clean)])
        weight = torch.cat([weight, torch.cat([ends[:1], unused, ends[1:]])[None]])
        row = torch.zeros_like(mean[:1])
        row[0, 0], row[0, -1] = b.noise_mean, clean
        mean, row = torch.cat([mean, row]), torch.ones_like(row)
        row[0, 0] = b.noise_log_std.exp()
        std = torch.cat([std, row])
    return MixtureLaw(weight, mean, std)


def soft_prior(
    estimate: JumpEstimate, spent: Tensor, n_labels: int, noisy: bool, width: float
) -> MixtureLaw:
    """The belief of a network from a part of the data, mixed with a wide normal law for what it was never shown.

    Outside of what the network was trained on the wide law stands alone: one jump per ``tau`` shared out between the
    targets, with the standard deviation ``width``.
    """
    law, n = belief_law(estimate, spent, n_labels, noisy), len(spent)
    mean = torch.full_like(law.mean[:, 0], -float((estimate.tau * (n - 1)).log()))
    std = torch.full_like(mean, width)
    if noisy:
        mean[-1], std[-1] = _NOISE_CENTRE, _NOISE_WIDTH
    return law.mixed(1.0 if estimate.outside else _WIDE_WEIGHT, mean, std)
