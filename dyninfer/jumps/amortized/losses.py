"""What the network of jump processes is trained by: how surprised its belief is by the truth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dyninfer.jumps.amortized.network import JumpBelief

# A relative squared error above this says that a process was not read at all, not by how much.
_LARGEST_ERROR = 10.0


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
        True distribution of the first state.
    noise : Tensor, ``(batch,)``
        True chance of a wrong label.

    Returns
    -------
    dict
        ``link`` and ``rate`` in nats per jump, ``point`` the squared error of all rates over
        their mean square, ``initial`` in nats per process above the entropy, ``noise`` in nats.
    """
    off_diagonal = ~torch.eye(rates.shape[-1], dtype=torch.bool, device=rates.device)
    exists = rates > 0
    link = binary_cross_entropy_with_logits(belief.link, exists.to(rates), reduction="none")
    log_rate = torch.where(exists, rates, 1.0).log()
    rate = torch.where(exists, -belief.log_density(log_rate), 0.0)
    return {
        "link": link[:, off_diagonal].mean(),
        "rate": rate[:, off_diagonal].mean(),
        "point": _relative_error(belief.point_rates(), rates).mean(),
        "initial": _divergence(initial, belief.initial).mean(),
        "noise": _noise_loss(belief, noise).mean(),
    }


def _relative_error(rates: Tensor, truth: Tensor) -> Tensor:
    """Squared error of all rates of a process over the square of the true ones ``(batch,)``."""
    error = (rates - truth).square().sum((-1, -2))
    size = truth.square().sum((-1, -2)).clamp(min=1e-12)
    return (error / size).clamp(max=_LARGEST_ERROR)


def _divergence(truth: Tensor, log_belief: Tensor) -> Tensor:
    """``KL(truth | belief)`` of distributions over the states ``(batch,)``."""
    log_truth = torch.where(truth > 0, truth, 1.0).log()
    return (truth * (log_truth - log_belief)).sum(-1)


def _noise_loss(belief: JumpBelief, noise: Tensor) -> Tensor:
    """Surprise by the chance of a wrong label ``(batch,)``, up to a constant."""
    noisy = noise > 0
    logit = torch.logit(torch.where(noisy, noise, 0.5), eps=1e-6)
    z = (logit - belief.noise_mean) / belief.noise_log_std.exp()
    level = torch.where(noisy, 0.5 * z.square() + belief.noise_log_std, 0.0)
    clean = (~noisy).to(belief.clean)
    return level + binary_cross_entropy_with_logits(belief.clean, clean, reduction="none")
